"""The pictures that pages show are there; those of the UI are what `make screenshots` makes, and small."""

import re
import struct
from pathlib import Path

import pytest

from showcase.pictures import COLOURS, DOCS, MOST_BYTES, PICTURES, Picture
from support.pages import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = re.compile(r'!\[([^\]]*)\]\(([^):\s]+)\)|<img alt="([^"]*)" src="([^":]+)"|srcset="([^":]+)"')


def shown(page: Path) -> dict[Path, str]:
    """The pictures that a page shows, each with what is said of it to whoever does not see it."""
    found = SHOWN.findall(page.read_text())
    return {(page.parent / (one or other or third)).resolve(): text or same for text, one, same, other, third in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pictures_that_a_page_shows_are_there(page: Path) -> None:
    assert [str(path.relative_to(ROOT)) for path in shown(page) if not path.is_file()] == []


def test_all_pictures_of_the_ui_are_made_by_the_script_and_shown() -> None:
    made = {DOCS / f"{each.name}.png" for each in PICTURES}
    assert set(DOCS.iterdir()) == made
    assert made == set(shown(ROOT / "docs" / "ui.md"))
    assert {path for path in shown(ROOT / "README.md") if path.parent == DOCS} <= made


def test_each_picture_is_described() -> None:
    described = {path for page in PAGES for path, text in shown(page).items() if len(text) > 20}
    assert {DOCS / f"{each.name}.png" for each in PICTURES} <= described


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_a_picture_has_the_size_of_its_window_and_few_colours(picture: Picture) -> None:
    data = (DOCS / f"{picture.name}.png").read_bytes()
    assert len(data) <= MOST_BYTES
    assert data[:16] == b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
    width, height, _, kind = struct.unpack(">IIBB", data[16:26])
    assert (width, height, kind) == (picture.view.width, picture.view.height, 3), "make screenshots"  # 3: a palette
    assert data.count(b"PLTE") == 1
    at = data.index(b"PLTE")
    assert int.from_bytes(data[at - 4 : at]) <= 3 * COLOURS
