"""What commands print, as whoever shows it gets it: the shell, a script's echo, or the web mode."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from swarmlearning.views.names import escaped

Kind: TypeAlias = Literal["text", "answer", "mark", "note", "error"]
"""`answer`: the shell shows it after a prompt; `mark`: a sign of progress, which stands beside the ones before; `note`:
for people at a terminal only; `error`: the line with which a command has failed."""


class Line(NamedTuple):
    """One line of output, safe to show: names that other organisations have chosen are escaped."""

    text: str
    kind: Kind = "text"


Lines: TypeAlias = AsyncGenerator[Line, None]
"""What a command yields while it works."""


def line(text: str, kind: Kind = "text") -> Line:
    """A line in which whatever is no printable character is escaped."""
    return Line(escaped(text), kind)


def fields(values: Mapping[str, object]) -> list[Line]:
    """A line `NAME : value` for each."""
    return [line(f"{name} : {value}") for name, value in values.items()]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Line]:
    """Rows below their headings, each column as wide as its longest cell."""
    cells = [tuple(map(escaped, row)) for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        Line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()) for row in cells
    ]
