"""The page of a contract whose rounds are merged in slices: who merges what, what went wrong, what was checked."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.browser import LAPTOP, PHONE, Chromium, View, barriers, overflows
from support.ledgerui import ledger_ui
from support.network import CONTRACT
from support.slicing import InSlices, frozen, opened, publish_and_hold
from support.uirecords import recorder_of, recording
from support.uiserver import served_ui
from swarmlearning.ledger.bodies import Check, Checked

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHARTS = 4
PATH = f"/training/{CONTRACT}"


async def page(play: InSlices, folder: Path, language: str = "en") -> str:
    async with ledger_ui(folder, play.ledger) as ui:
        recording(ui, recorder_of(play.ledger))
        async with ui.visitor("viewer", language) as visitor:
            return await visitor.page(PATH)


def troubled() -> InSlices:
    """Round 0 of five sites: some slices are merged, a site is left out, one is lost, two contradict each other."""
    play = frozen("a", "b", "c", "d", "e")
    play.fault(play.of("a")[0], "c")
    play.fault(play.of("b")[0], "c")
    play.lose("d")
    former = next(uid for uid in ("a", "b") if uid != play.leader)
    index = play.of(former)[0]
    play.reassign(index)
    play.merge(index, by=former, root_of="lies")
    play.merge(index)
    return play


def checked() -> InSlices:
    """The result of round 0 stands: a has found its part right, b has not, c is at it."""
    play = frozen("a", "b", "c", "d")
    publish_and_hold(play)
    for uid in "abc":
        play.send(uid, Check(0, play.result.digest))
    assert play.state.checks is not None
    play.send("a", Checked(0, play.result.digest))
    play.send("b", Checked(0, play.result.digest, (min(play.state.checks.slices_of("b")),)))
    return play


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("Merged in slices", "is left out of all slices: unreachable.", "From d to ", "one of them lies")),
        ("de", ("In Scheiben zusammengeführt", "nicht erreichbar.", "Von d an ", "Eines von ihnen lügt")),
    ],
)
async def test_a_round_in_slices_shows_who_merges_what_and_what_went_wrong(
    tmp_path: Path, language: str, words: tuple[str, ...]
) -> None:
    text = await page(troubled(), tmp_path / "ui", language)
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("Checks of round 0", "right", "other bytes", "is checking", "not checked", "swarm verify-round")),
        ("de", ("Prüfung von Runde 0", "richtig", "andere Bytes", "prüft", "nicht geprüft", "swarm verify-round")),
    ],
)
async def test_checks_show_which_part_is_whose_and_what_was_found(
    tmp_path: Path, language: str, words: tuple[str, ...]
) -> None:
    text = await page(checked(), tmp_path / "ui", language)
    assert [word for word in words if word not in text] == []


async def test_the_reason_for_one_leader_is_shown_with_what_was_measured(tmp_path: Path) -> None:
    play = opened("a", "b", "c", size=1000)
    play.submit("a")
    text = await page(play, tmp_path / "ui")
    assert "Merged by one leader" in text
    assert "Nothing is measured yet, and there is little to fetch." in text


@pytest.mark.parametrize(
    ("made", "view"),
    [(troubled, LAPTOP), (checked, PHONE._replace(scheme="dark", language="de-DE"))],
    ids=["slices-laptop", "checks-phone-dark-german"],
)
def test_the_page_keeps_nobody_out_and_fits_its_window(
    made: Callable[[], InSlices], view: View, chromium: Chromium, tmp_path: Path
) -> None:
    play = made()
    with served_ui(tmp_path / "ui", play.ledger, recorder_of(play.ledger)) as served:

        def story(page: "Page") -> list[object]:
            page.context.add_cookies(served.cookies("viewer"))
            page.goto(f"{served.address}{PATH}", wait_until="domcontentloaded")
            page.locator("#slices").wait_for()
            charts = page.locator("canvas[role=slider][aria-label]")
            charts.nth(CHARTS - 1).wait_for(state="attached")  # all have their names, which come with their data
            chromium.shoot(page, f"{made.__name__}-{view.width}")
            return [*barriers(page), *([overflows(page)] if overflows(page) else [])]

        assert chromium.run(story, view) == []
