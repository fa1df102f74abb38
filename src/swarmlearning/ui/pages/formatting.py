"""Numbers and times as pages show them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from swarmlearning.views.sizes import size_text

SECOND: Final = 1000
STEPS: Final = ((86_400 * SECOND, "d"), (3_600 * SECOND, "h"), (60 * SECOND, "min"), (SECOND, "s"))
LONGEST_MS: Final = 253_402_300_799_000


def iso(time_ms: int | None) -> str:
    """A time for programs, and for the browser, which shows it in its own zone (`<time datetime>`)."""
    if time_ms is None or not 0 < time_ms <= LONGEST_MS:
        return ""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def when(time_ms: int | None) -> str:
    """A time for people, in UTC."""
    return iso(time_ms).replace("T", " ").replace("Z", " UTC") or "–"


def ago(time_ms: int | None, now_ms: int) -> str:
    """How long ago a time is, in its largest unit."""
    if time_ms is None:
        return "–"
    passed = max(0, now_ms - time_ms)
    return next((f"{passed // step} {unit}" for step, unit in STEPS if passed >= step), "0 s")


def number(value: float | None, digits: int = 4) -> str:
    """A measured value."""
    if value is None:
        return "–"
    return f"{value:.{digits}g}" if abs(value) >= 1000 else f"{value:.{digits}f}"


def size(count: int | None) -> str:
    """A number of bytes."""
    return "–" if count is None else size_text(count)


def short(digest: str, digits: int = 12) -> str:
    """The beginning of a digest or an ID."""
    return digest[:digits]


def shortened(text: str, letters: int) -> str:
    """A long text, cut."""
    return text if len(text) <= letters else text[: letters - 1] + "…"


def named(value: str, text: Callable[[str], str], prefix: str) -> tuple[str, str]:
    """A choice of a form: the value, and its text, whose key begins with `prefix`."""
    return value, text(prefix + value)
