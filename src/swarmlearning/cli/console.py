"""The terminal, whatever its encoding: what it cannot show is escaped, never an error."""

import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from rich.console import Console  # imported when one is made: nodes print plain lines
    from rich.table import Table


WIDEST: Final = 10_000
"""Characters of a line where no terminal is."""


def tolerate_any_encoding() -> None:
    """Standard output and error escape what their encoding lacks (`\\u25cf`), names and paths included."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def make_console(*, stderr: bool = False, soft_wrap: bool = False) -> "Console":
    """A console for plain text: square brackets in names and messages are no markup, and nothing is highlighted."""
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=soft_wrap, markup=False, highlight=False, emoji=False)


def make_table(*columns: str) -> "Table":
    """A table without lines, that wraps where it is too wide: nothing is cut off."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints rows below these headings: on a terminal wrapped to its width, else a line a row, as for `grep`."""
    table = make_table(*columns)
    for row in rows:
        table.add_row(*row)
    console = make_console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = console.measure(table, options=console.options.update(max_width=WIDEST)).maximum
    console.print(table)


def shows(console: "Console", text: str) -> bool:
    """True when the console's encoding has every character of `text`."""
    try:
        text.encode(console.encoding)
    except UnicodeEncodeError:
        return False
    return True


def working(console: "Console", what: str) -> AbstractContextManager[object]:
    """Shows inside the block that the command is at work: a spinner, or one line where no terminal is."""
    if not console.is_terminal:
        console.print(what, soft_wrap=True)
        return nullcontext()
    return console.status(what, spinner="dots" if shows(console, "⠋") else "line")


def short_uid(uid: str) -> str:
    """The beginning of a UID, which names a node well enough for a person and for `swarm node`; --json has it whole."""
    return uid[:8]


def print_json(data: object, *, indent: int | None = None) -> None:
    """Prints data as JSON in ASCII, which every encoding has."""
    print(json.dumps(msgspec.to_builtins(data), indent=indent))
