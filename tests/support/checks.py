"""Checks under names of their own within one test (fixture `check`); `make e2e-operate` reports each by its name."""

from collections.abc import Callable
from contextlib import AbstractContextManager

Check = Callable[[str], AbstractContextManager[None]]
"""Names what is checked inside a block."""

HELD, MISSED = "check held", "check missed"
"""Names of the properties by which a test reports its checks."""
