"""The metrics that the documentation lists."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def documented() -> set[str]:
    """All metrics in the tables of the page, by the names that Prometheus shows."""
    return set(re.findall(r"^\| `([a-z_]+)", PAGE.read_text(), re.MULTILINE))
