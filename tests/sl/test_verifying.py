"""Requests to check a round, over the socket in an SL's data directory."""

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from support.play import merged
from support.slicing import InSlices, frozen, opened, publish_and_hold
from swarmlearning.channel.address import connect
from swarmlearning.cli.verifyround import _text
from swarmlearning.ledger.bodies import Check, Checked
from swarmlearning.ledger.chain import Chain
from swarmlearning.node.errors import NodeError
from swarmlearning.sl.verifying import SOCKET, Answer, Asked, Verifying, answering, ask

RESULT = merged(0)


class Ledger:
    """A follower of a ledger that is played by hand."""

    def __init__(self, play: InSlices) -> None:
        self.play = play
        self._moved = asyncio.Event()

    @property
    def chain(self) -> Chain:
        return self.play.ledger.chain

    def moved(self) -> None:
        self._moved.set()

    async def chains(self) -> AsyncIterator[Chain]:
        while True:
            yield self.chain
            await self._moved.wait()
            self._moved.clear()


class Desk:
    """Requests of site b's operator; `wanted`: the results that its node is to check."""

    def __init__(self, play: InSlices) -> None:
        self.play, self.wanted = play, list[str]()
        self.ledger = Ledger(play)
        self.verifying = Verifying(
            "b",
            cast("Any", self.ledger),
            lambda: play.state.name,
            self.wanted.append,
            lambda digest: 64 if digest else 0,
        )

    def send(self, body: object) -> None:
        self.play.send("b", body)  # type: ignore[arg-type]
        self.ledger.moved()

    async def all(self, asked: Asked) -> list[Answer]:
        return [answer async for answer in self.verifying.answer(asked)]


def standing() -> InSlices:
    play = frozen()
    publish_and_hold(play)
    play.report()
    return play


async def test_the_operator_is_told_what_is_waited_for_and_in_the_end_what_was_found() -> None:
    desk = Desk(standing())
    lines = desk.verifying.answer(Asked())
    assert await anext(lines) == Answer(say="merging a part of round 0 again")
    assert desk.wanted == [RESULT]
    desk.verifying.failed(RESULT, "the model of c: unreachable")
    assert await anext(lines) == Answer(say="round 0 cannot be checked yet: the model of c: unreachable")
    desk.send(Check(0, RESULT))
    checks = desk.play.state.checks
    assert checks is not None
    wrong = min(checks.slices_of("b"))
    desk.send(Checked(0, RESULT, (wrong,)))
    (last,) = [line async for line in lines]
    assert last.outcome is not None
    assert (last.outcome.round, last.outcome.share, last.outcome.wrong) == (0, 0.25, (wrong,))
    text = _text(last.outcome)
    assert "are not all right: 25 % of round 0\nIn all 25 % of round 0 have been checked, by 1 member; 3 mem" in text
    merger = checks.slices[wrong].merger
    assert f"\nSlice {wrong + 1}, merged by {merger}, has other bytes" in f"\n{text.splitlines()[-1].capitalize()}"
    assert desk.wanted == [RESULT], "once"


async def test_what_is_too_late_or_cannot_be_is_said_at_once() -> None:
    play = standing()
    play.submit()
    (late,) = await Desk(play).all(Asked())
    assert late.failed.startswith("round 0 can no longer be checked: sites keep their models of a round until")
    (early,) = await Desk(opened()).all(Asked())
    assert early.failed.startswith("there is no result yet that could be checked")


async def test_a_round_that_one_leader_has_merged_cannot_be_checked() -> None:
    play = opened("a", "b", "c", size=1000)
    play.complete()
    assert play.state.checks is None
    (answer,) = await Desk(play).all(Asked())
    assert answer.failed.startswith("round 0 cannot be checked: one leader has merged it")


async def test_a_check_that_fails_when_contributions_are_not_kept_any_more_has_failed() -> None:
    play = standing()
    desk = Desk(play)
    lines = desk.verifying.answer(Asked())
    await anext(lines)
    desk.send(Check(0, RESULT))
    play.submit()
    desk.verifying.failed(RESULT, "the model of c: unreachable")
    (last,) = [line async for line in lines]
    assert "can no longer be checked" in last.failed
    assert last.failed.endswith("Before that: the model of c: unreachable")


async def test_the_next_result_is_waited_for() -> None:
    play = frozen()
    desk = Desk(play)
    lines = desk.verifying.answer(Asked(next=True))
    assert await anext(lines) == Answer(say="waiting for the result of a round that several sites merge in slices")
    publish_and_hold(play)
    desk.ledger.moved()
    assert await anext(lines) == Answer(say="merging a part of round 0 again")
    await lines.aclose()


async def test_only_the_sl_s_user_may_ask_and_what_is_no_request_gets_no_answer(tmp_path: Path) -> None:
    desk = Desk(opened())
    async with answering(tmp_path, desk.verifying):
        assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) == 0o700
        (answer,) = await asyncio.to_thread(lambda: list(ask(tmp_path, Asked())))
        assert answer.failed
        for nonsense in (b"{}x\n", b'{"next": 1}\n', b'{"all": true}\n', b"x" * 10_000 + b"\n"):
            assert await asyncio.to_thread(_sent, tmp_path, nonsense) == b""
        assert await asyncio.to_thread(lambda: len(list(ask(tmp_path, Asked())))) == 1
    with pytest.raises(NodeError, match="no SL runs with this data directory"):
        next(ask(tmp_path, Asked()))


def _sent(folder: Path, line: bytes) -> bytes:
    """What comes back for these bytes until the connection ends."""
    with connect(folder / SOCKET) as connection:
        connection.settimeout(10)
        try:
            connection.sendall(line)
            return connection.recv(1000)
        except ConnectionError:
            return b""
