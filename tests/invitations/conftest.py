"""Tests on uvloop, and the identities of nodes."""

from support.uvloops import identities_of, pytest_asyncio_loop_factories, workspace

__all__ = ["identities", "pytest_asyncio_loop_factories", "workspace"]

identities = identities_of("SN-1", "SL-1", "SWCI-1")
