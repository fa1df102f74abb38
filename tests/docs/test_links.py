"""Links between files of the repository lead somewhere, and so do the names of pages in code and messages."""

import re
import subprocess
from pathlib import Path

from support.pages import ROOT

LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def tracked(*patterns: str) -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [ROOT / name for name in names if (ROOT / name).exists()]


def anchors(path: Path) -> set[str]:
    """Those of a page's headings, as GitHub and MyST make them."""
    heads = re.findall(r"^#+ +(.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_links_in_documents_lead_somewhere() -> None:
    wrong = []
    for path in tracked("*.md"):
        for target, anchor in LINK.findall(re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)):
            place = (path.parent / target).resolve() if target else path
            if "docs/reference" in str(place):
                continue  # written by make docs, which checks them
            if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
                wrong.append(f"{path.relative_to(ROOT)}: {target}#{anchor}")
    assert wrong == []


def test_pages_that_code_and_messages_name_are_there() -> None:
    wrong = []
    for path in tracked("*.py", "*.yaml", "Makefile", "*.toml", "*.sh"):
        for name, anchor in re.findall(r"\bdocs/([a-z_-]+\.md)(?:#([\w-]+))?", path.read_text()):
            page = ROOT / "docs" / name
            if not page.exists() or (anchor and anchor not in anchors(page)):
                wrong.append(f"{path.relative_to(ROOT)}: docs/{name}#{anchor}")
    assert wrong == []
