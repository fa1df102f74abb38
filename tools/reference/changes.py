"""The page of changes: CHANGELOG.md of the repository, its links those of the site."""

from pathlib import Path


def page() -> str:
    """The page."""
    text = (Path(__file__).parents[2] / "CHANGELOG.md").read_text()
    return text.replace("](docs/", "](../")
