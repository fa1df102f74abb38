"""Tables as CSV, safe to open in a spreadsheet. Pure."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from swarmlearning.views.names import escaped

FORMULA: Final = ("=", "+", "-", "@")
"""Beginnings of what a spreadsheet takes for a formula."""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV; no text in it is a formula to a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([cell(each) if isinstance(each, str) else each for each in row] for row in rows)
    return text.getvalue()


def cell(text: str) -> str:
    """A text that others may have chosen, which must not become a formula."""
    shown = escaped(text)
    return f"'{shown}" if shown.startswith(FORMULA) else shown
