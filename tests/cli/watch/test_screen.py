"""The dashboard's screens, kept as text: `UPDATE_SCREENS=1` writes them anew, to be read before they are kept."""

import os
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from support.manysites import MINUTE, NOW_MS, site, status, voter
from swarmlearning.cli.watch.drawing import ASCII, UNICODE, Marks
from swarmlearning.cli.watch.screen import Size, lines
from swarmlearning.operator.asking import Seen
from swarmlearning.views.alerts import Alert

SCREENS = Path(__file__).parents[2] / "data" / "watch"
SMALL, LARGE = Size(80, 24), Size(200, 60)

STUCK = Alert(
    "round-waits",
    "critical",
    "mnist",
    "training mnist has waited for 14 min (its rounds take about 42 s) for site-63 (lost since 2026-11-18 10:52:40Z), "
    "site-64 (lost since 2026-11-18 10:52:40Z) in round 12: 41 models in, minPeers 63",
    "site-63: check its process, its host and its network, then start it again",
    (site(63), site(64)),
    NOW_MS - 14 * MINUTE,
)
DISK = Alert(
    "disk",
    "warning",
    f"SL {site(40)}",
    "SL site-40 has 3.1 GB of 42 GB left on the disk of its data directory",
    "make room there before it is full",
    (site(40),),
    NOW_MS - MINUTE,
)
AWAY = Alert("node-away", "warning", "SL site-4", "SL site-4 is lost: it sends no heartbeats", "check it", (site(4),))
VOTER = Alert("voter-away", "critical", "SN-2", "SN SN-2 is a voter and does not run", "start it again", ("sn-2",))
MANY = [
    Alert("clock", "warning", site(at), f"the clock of SL {site(at)} is 3.0 s behind the SNs'", "set it right (NTP)")
    for at in range(1, 31)
]
CASES: dict[str, dict[str, Any]] = {
    "well": status(64, 0, 41),
    "trouble": status(64, 2, 41, STUCK, DISK),
    "many-alerts": status(64, 2, 41, STUCK, DISK, *MANY),
    "sn-gone": status(64, 0, 41, VOTER, sns=[voter(1), voter(2, present=False), voter(3, lag=80)]),
    "few": status(4, 1, 2, AWAY),
    "many-trainings": {**status(8, 0, 3), "trainings": status(8, 0, 3)["trainings"] * 12},
    "empty": status(0, 0, 0, trainings=[], nodes=[], sns=[], ordering="local"),
}


def screen(found: dict[str, Any], size: Size, marks: Marks = UNICODE, outage: str = "") -> list[str]:
    seen = Seen(found, "10.1.1.1:30304", 0.0, (NOW_MS - MINUTE, outage) if outage else None)
    return [line.plain for line in lines(seen, size, NOW_MS, marks)]


def kept(name: str, shown: list[str]) -> list[str]:
    """The screen that is kept under this name; with UPDATE_SCREENS the one shown, which is kept from now on."""
    path = SCREENS / f"{name}.txt"
    if os.environ.get("UPDATE_SCREENS"):
        path.write_text("\n".join(shown) + "\n")
    return path.read_text().splitlines()


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "200x60"])
@pytest.mark.parametrize("name", CASES)
def test_a_screen_is_as_it_was_kept(name: str, size: Size) -> None:
    shown = screen(CASES[name], size)
    assert shown == kept(f"{name}-{size.width}x{size.height}", shown)


@pytest.mark.parametrize("name", ["well", "trouble"])
def test_without_an_sn_the_last_screen_stays_and_says_since_when(name: str) -> None:
    shown = screen(CASES[name], SMALL, outage="SN 10.1.1.1:30304 cannot be reached: Connection refused")
    assert shown == kept(f"{name}-outage-80x24", shown)


@pytest.mark.parametrize("marks", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("height", [1, 3, 5, 8, 10, 24, 60, 100])
@pytest.mark.parametrize("width", [10, 40, 60, 80, 119, 160, 200, 400])
def test_a_screen_fits_whatever_the_size_and_shows_the_worst_first(width: int, height: int, marks: Marks) -> None:
    for name, found in CASES.items():
        shown = screen(found, Size(width, height), marks, outage="no\x1b[2J way" if width == 60 else "")
        assert len(shown) <= height
        assert max(map(cell_len, shown)) <= max(width, 40)
        assert marks is UNICODE or "".join(shown).isascii()
        assert "\x1b" not in "".join(shown)
        if name == "trouble" and height >= 5 and width != 60:
            assert shown[1].startswith("ALARM training mnist")


def test_in_a_small_terminal_every_site_is_named_or_counted() -> None:
    for size in (SMALL, LARGE):
        shown = screen(CASES["trouble"], size)
        named = sum(line.count("epoch") + line.count("is lost") + line.count("waits for the") for line in shown[5:])
        more = [int(line.split()[1]) for line in shown if line.startswith("+ ") and "more:" in line]
        assert named + sum(more) == 64
    rows = [line for line in screen(CASES["trouble"], SMALL) if line.startswith("site-") and line.endswith(" d")]
    assert [row.split()[0] for row in rows[:3]] == ["site-63", "site-64", "site-40"]


def test_trainings_that_are_over_or_left_by_all_are_named_in_one_line_behind_the_others() -> None:
    found = status(3)
    [working] = found["trainings"]
    left = working | {"name": "left", "activities": dict.fromkeys(working["activities"], "left")}
    found["trainings"] = [working | {"name": "done", "over": True}, left, working]
    shown = screen(found, SMALL)
    assert shown[1].startswith("mnist  round 12")
    assert "at rest: done (12 rounds, over), left (12 rounds, left by all sites)" in shown


def test_names_of_others_are_escaped_and_wide_ones_kept_in_their_column() -> None:
    found = status(3)
    for node, name in zip(found["nodes"][3:], ("\u202eevil\x1b[31m", "病院" * 20, "[red]a[/red]"), strict=True):
        node["name"] = name
    shown = screen(found, SMALL)
    assert "\\u202eevil" in "".join(shown)
    assert "\x1b" not in "".join(shown)
    assert max(map(cell_len, shown)) <= 80


def test_the_status_of_an_earlier_release_is_shown_as_far_as_it_goes() -> None:
    found = status(4, 1, 2)
    found |= {"alerts": None, "time_ms": None, "alarms": ["SN SN-2 is a voter and does not run"]}
    for node in found["nodes"]:
        node |= {"vitals": None, "expires_ms": None}
    for training in found["trainings"]:
        training |= {"activities": {}, "taken_ms": [], "missed": {}}
    shown = screen(found, SMALL)
    assert shown == kept("earlier-80x24", shown)
    assert shown[1] == "ALARM SN SN-2 is a voter and does not run"
