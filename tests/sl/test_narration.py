"""The lines that people read of a training, and how often they are repeated."""

import asyncio
import logging
import time
from collections.abc import Iterator

import pytest

from support.play import Play
from support.virtual_time import run_in_virtual_time
from swarmlearning.ledger.chain import Chain
from swarmlearning.sl.narration import REPEATED, WAITING_SECONDS, Narrator
from swarmlearning.views.training import Waiting, waiting


def reported_while(seconds: float, facts: Iterator[Waiting | None], narrator: Narrator) -> None:
    """Lets a narrator report for so long what is waited for: each time the next of the facts."""

    async def work() -> None:
        reporting = asyncio.create_task(narrator.report_waiting(Chain, lambda: next(facts)))
        await asyncio.sleep(seconds)
        reporting.cancel()

    run_in_virtual_time(work())


def rounds(*counts: int) -> Iterator[Waiting | None]:
    """The facts of waiting as models come in; -1: nothing is waited for."""
    for count in counts:
        play = Play("a", "b", "c")
        if count > 0:
            play.submit(*"abc"[:count])
        yield waiting(play.state) if count >= 0 else None


def test_the_reason_of_waiting_is_logged_when_it_changes_and_otherwise_once_a_minute() -> None:
    shown = list[str]()
    counts = [0, 0, 1, 1, -1, 1, *[1] * REPEATED, 1]
    reported_while(WAITING_SECONDS * len(counts) + 1, rounds(*counts), Narrator(shown.append, True))
    assert ["1 models" in text for text in shown] == [False, True, True, True]


def test_a_line_that_the_script_prints_into_the_same_log_is_not_logged_as_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    for shared in (True, False):
        caplog.clear()
        reported_while(WAITING_SECONDS + 1, rounds(1), Narrator(lambda text: None, shared))
        assert len(caplog.messages) == (0 if shared else 1)


def test_an_unreachable_sn_is_logged_instead_of_the_sites_that_are_awaited() -> None:
    shown = list[str]()
    outage = (time.time() - 60, "the API at 10.0.0.1:30304 does not answer")
    narrator = Narrator(shown.append, True)
    narrator.outage = lambda: outage
    reported_while(WAITING_SECONDS + 1, rounds(1), narrator)
    (text,) = shown
    assert text.startswith("this node cannot reach any SN since ")
    assert text.endswith("Z: the API at 10.0.0.1:30304 does not answer")


def test_the_same_trouble_is_reported_once_and_an_obstacle_to_each_script() -> None:
    shown = list[str]()
    narrator = Narrator(shown.append, True)
    for free in range(3):
        narrator.local_failure(f"no room, the disk has {free} bytes free")
    assert shown == ["This site's SL node cannot do its part: no room, the disk has 0 bytes free"]
    narrator.warn("nobody reaches this node")
    shown.clear()
    narrator.greet()
    assert shown == ["nobody reaches this node"]


def test_text_from_other_sites_cannot_forge_log_lines_or_control_the_terminal(caplog: pytest.LogCaptureFixture) -> None:
    shown = list[str]()
    Narrator(shown.append, True).not_fetched("d" * 64, "x\n2026 : swarm.SL : INFO : forged\x1b[2J\u202e")
    assert shown == [f"Cannot get model {'d' * 16}: x\\n2026 : swarm.SL : INFO : forged\\x1b[2J\\u202e"]
