"""Programs that real tests need: what each is for, and how to get it. Nothing is skipped silently (see conftest)."""

import shutil

import pytest

PACKAGES = {"etcd": "etcd-server"}
"""Program to Debian package."""

missing: dict[str, list[str]] = {}
"""Programs that were asked for and are not there, with the tests that did not run for it."""


def needs(program: str) -> pytest.MarkDecorator:
    """Marks tests that need a program."""
    return pytest.mark.needs(program)


def lacks(program: str) -> str | None:
    """Why a test that needs the program cannot run, None when it can."""
    if shutil.which(program):
        return None
    return f"{program} is missing: apt-get install {PACKAGES[program]}"
