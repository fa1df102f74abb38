"""The catalogue: every text that is used is there, in both languages, with the same values in it, and none is idle."""

import re
from pathlib import Path

import pytest

import swarmlearning.ui
from swarmlearning.ui.security.roles import ROLES
from swarmlearning.ui.texts.catalogue import LANGUAGES, PLACE, catalogue, chosen, text

UI = Path(swarmlearning.ui.__file__).parent
KEY = re.compile(r"""["']([a-z]+\.(?:[a-z][a-z0-9-]*[a-z0-9]|[A-Z]+))["']""")
STEMS = re.compile(
    r"""["']([a-z]+\.(?:[a-z]+-)*)["'] *(?:~|\+|,)|map\("named", t, "([a-z]+\.(?:[a-z]+-)?)"|f"([a-z]+\.)\{"""
)
"""Beginnings of keys that are made complete by a value."""


def sources() -> str:
    """All that can use a text."""
    files = [*UI.rglob("*.py"), *UI.rglob("*.html")]
    return "\n".join(path.read_text() for path in files)


def used() -> set[str]:
    """The keys that are written out."""
    areas = {key.partition(".")[0] for key in catalogue()}
    return {key for key in KEY.findall(sources()) if key.partition(".")[0] in areas and not key.endswith(".html")}


def test_every_text_that_is_used_is_there() -> None:
    missing = {key for key in used() if key not in catalogue() and not key.endswith((".html", ".svg", ".json", ".js"))}
    assert missing == set()


def test_no_text_is_idle() -> None:
    stems = {stem for found in STEMS.findall(sources()) for stem in found if stem}
    known = used()
    idle = {key for key in catalogue() if key not in known and not any(key.startswith(stem) for stem in stems)}
    assert {key for key in idle if not key.startswith("charts.")} == set()  # those are JavaScript's


def test_every_text_has_both_languages_with_the_same_values() -> None:
    for key, both in catalogue().items():
        assert set(both) == set(LANGUAGES), key
        assert all(each.strip() == each and each for each in both.values()), key
        places = [sorted(PLACE.findall(both[language])) for language in LANGUAGES]
        assert places[0] == places[1], key


def test_values_stand_in_their_places_and_one_that_is_missing_is_a_defect() -> None:
    assert text("de", "users.taken", name="<b>") == (
        "Einen Benutzer <b> gibt es bereits. Bitte einen anderen Namen wählen."
    )
    with pytest.raises(KeyError):
        text("en", "users.taken")
    with pytest.raises(KeyError):
        text("en", "users.none-such")


@pytest.mark.parametrize(
    ("preferred", "accepted", "expected"),
    [
        ("", "", "en"),
        ("", "fr-FR, de;q=0.8, en;q=0.5", "de"),
        ("en", "de", "en"),
        ("", "DE-at", "de"),
        ("xx", ";;,,", "en"),
        ("", "x" * 100_000, "en"),
    ],
)
def test_the_language_is_the_chosen_one_else_the_first_known_of_the_browser(
    preferred: str, accepted: str, expected: str
) -> None:
    assert chosen(preferred, accepted) == expected


def test_each_role_has_a_name() -> None:
    assert all(f"users.{role}" in catalogue() for role in ROLES)
