"""`swarm doctor` before real set-ups, some of those that `make gallery` shows."""

import pytest

import gallery.exhibits
from gallery.__main__ import shown
from gallery.stage import EXHIBITS, Exhibit
from support.tools import needs

SHORT = [
    pytest.param(each, id=each.name, marks=[needs(tool) for tool in each.needs]) for each in EXHIBITS if each.short
]
assert gallery.exhibits.__all__


@pytest.mark.parametrize("exhibit", SHORT)
def test_the_doctor_names_the_cause_and_finds_nothing_in_what_is_healthy(exhibit: Exhibit) -> None:
    verdict = shown(exhibit)
    assert exhibit.misjudged(verdict) == "", verdict.output


def test_the_gallery_is_as_large_as_is_promised() -> None:
    healthy = [each for each in EXHIBITS if not each.codes]
    assert len(healthy) >= 5
    assert len(EXHIBITS) - len(healthy) >= 20
    assert len({each.name for each in EXHIBITS}) == len(EXHIBITS)
