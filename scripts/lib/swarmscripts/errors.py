"""Errors that a user can cause."""

from __future__ import annotations


class ScriptError(Exception):
    """What is wrong and, where that is not obvious, what to do; printed as `<script>: <text>`, with exit status 1."""
