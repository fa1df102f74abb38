"""One row of the table of attacks."""

from typing import NamedTuple


class Row(NamedTuple):
    """One kind of attack; `checks` are IDs of tests, without parameters."""

    number: str
    attack: str
    checks: tuple[str, ...]


def checks_in(file: str, *tests: str) -> tuple[str, ...]:
    """IDs of tests of one file."""
    return tuple(f"tests/{file}.py::test_{test}" for test in tests)
