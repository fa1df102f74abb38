"""What a line of a terminal is made of: bars, sparklines, and cells of a fixed width. Pure."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len, set_cell_size


class Marks(NamedTuple):
    """The characters to draw with: what is in, what is awaited, what is away; heights from low to high; what stands
    for a text that goes on."""

    full: str
    open: str
    away: str
    heights: str
    more: str


UNICODE: Final = Marks("█", "░", "x", "▁▂▃▄▅▆▇█", "…")
ASCII: Final = Marks("#", "-", "x", "_.:-=+*#", "~")
"""For terminals whose encoding lacks the others."""


def bar(parts: tuple[int, int, int], width: int, marks: Marks) -> str:
    """A bar of so many cells for how many are in, awaited and away; each that is more than none has a cell at least,
    as long as there are cells."""
    total = sum(parts)
    if not total or width <= 0:
        return marks.open * max(0, width)
    cells = [max(1, part * width // total) if part else 0 for part in parts]
    while sum(cells) > width:
        cells[cells.index(max(cells))] -= 1
    cells[max(range(3), key=lambda at: parts[at])] += width - sum(cells)
    return "".join(mark * count for mark, count in zip(marks[:3], cells, strict=True))


def sparkline(values: Sequence[int], width: int, marks: Marks) -> str:
    """The last values, one cell each, from nothing to their largest."""
    last = values[-width:] if width > 0 else []
    top = max(last, default=0) or 1
    steps = len(marks.heights) - 1
    return "".join(marks.heights[round(steps * value / top)] for value in last)


def cell(text: str, width: int, marks: Marks, *, right: bool = False) -> str:
    """The text in so many cells, cut where it is longer."""
    size = cell_len(text)
    if size > width:
        return set_cell_size(text, width - 1) + marks.more if width > 0 else ""
    return " " * (width - size) + text if right else text + " " * (width - size)


def wrapped(text: str, width: int, most: int, marks: Marks) -> list[str]:
    """The text in lines of so many cells, `most` of them, the last one cut where there would be more."""
    lines, line = list[str](), ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if line and cell_len(longer) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    lines.append(line)
    if len(lines) > most:
        lines = [*lines[: most - 1], " ".join(lines[most - 1 :])]
    return [each if cell_len(each) <= width else cell(each, width, marks) for each in lines]
