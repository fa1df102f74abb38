"""A point of time as people write it on a command line."""

import re
from datetime import datetime
from typing import Final

from swarmlearning.errors import UserError

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def since_of(text: str, now: float) -> int:
    """Unix time in milliseconds of a time as people write it, or so long before `now`. Raises `UserError`."""
    if ago := re.fullmatch(r"([0-9]{1,6})([smhd])", text):
        return max(0, round((now - int(ago[1]) * UNITS[ago[2]]) * 1000))
    try:
        return max(0, round(datetime.fromisoformat(text).timestamp() * 1000))
    except (ValueError, OverflowError, OSError):
        raise UserError(f"--since {text}: write a time such as 2026-11-29T12:30, or 30s, 10m, 2h, 1d ago") from None
