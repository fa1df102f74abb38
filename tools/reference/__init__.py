"""The pages of the reference, written from the code so that they cannot be out of date.

`write(folder)` writes one Markdown page for each entry of `PAGES`; `docs/conf.py` calls it before Sphinx looks for
pages. Each module here reads one part of the code: its tables and parsers, and the source where a table is only there.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from reference import apis, changes, codes, commands, contracts, files, metrics, phases, variables

PAGES: Final[dict[str, Callable[[], str]]] = {
    "cli": commands.page,
    "environment": variables.page,
    "apis": apis.page,
    "yaml": files.page,
    "codes": codes.page,
    "metrics": metrics.page,
    "transactions": contracts.page,
    "phases": phases.page,
    "changes": changes.page,
}


def write(folder: Path) -> None:
    """Writes all pages to the folder, and leaves alone those that would not change."""
    folder.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        path, text = folder / f"{name}.md", page()
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for stale in {each.stem for each in folder.glob("*.md")} - PAGES.keys():
        (folder / f"{stale}.md").unlink()
