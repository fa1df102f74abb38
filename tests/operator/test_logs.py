"""An operator reads logs through SNs that it does not trust, from nodes that others run."""

import asyncio
import json
import re
from contextlib import suppress
from typing import Any

import pytest

from support.carried import CarryingSn
from support.network import Ledger
from support.organisations import three_organisations
from support.virtual_time import run_in_virtual_time
from swarmlearning.api.client import Refusal, Unavailable
from swarmlearning.identity.signing import Signer
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.node.sealing import MAX_PIECE, Piece, Wanted
from swarmlearning.operator.logs import (
    CURSOR,
    DEEPEST,
    LONGEST_LINE,
    LOST,
    LogsError,
    Whole,
    excerpt,
    log_lines,
    report_of,
    whole_log,
)


class Lost:
    """An SN that carries nothing, with this error."""

    def __init__(self, error: Exception, address: str = "sn:0") -> None:
        self.address = address
        self._error = error

    async def ask_logs(self, uid: str, jws: str) -> str:
        raise self._error


class Altering(CarryingSn):
    """An SN that changes a byte of what it carries."""

    async def ask_logs(self, uid: str, jws: str) -> str:
        answer = await super().ask_logs(uid, jws)
        return answer[:200] + ("A" if answer[200] != "A" else "B") + answer[201:]


class Operator:
    """The operator `op-2` with these SNs."""

    def __init__(self, ledger: Ledger, *clients: Any) -> None:
        self.ledger = ledger
        self.clients = list(clients)

    @property
    def chain(self) -> Chain:
        return self.ledger.chain

    @property
    def signer(self) -> Signer:
        return self.ledger.actors["op-2"].signer

    async def register(self) -> None:
        """It is registered."""


@pytest.fixture
def ledger() -> Ledger:
    return three_organisations()


async def read(ledger: Ledger, *clients: Any, most: int = 100, follow: bool = False) -> list[str]:
    node = network.node(ledger.chain.world, "sl-2")
    assert node is not None
    operator: Any = Operator(ledger, *clients)
    found = list[str]()
    async for line in log_lines(operator, node, Wanted(), follow=follow):
        found.append(line)
        if len(found) >= most:
            break
    return found


async def test_lines_that_come_in_pieces_are_whole_and_safe_to_show(ledger: Ledger) -> None:
    text = "größer\n\x1b[2J\ttab\r\nno end"
    data = text.encode()
    pieces = [Piece(data[at : at + 3], str(at), more=at + 3 < len(data)) for at in range(0, len(data), 3)]
    sn = CarryingSn(ledger, *pieces)
    assert await read(ledger, sn) == ["größer", "\\x1b[2J\ttab", "no end"]
    assert [wanted.cursor for wanted in sn.asked] == ["", *(str(at) for at in range(0, len(data) - 3, 3))]


async def test_a_long_line_is_cut_and_what_was_lost_is_said(ledger: Ledger) -> None:
    found = await read(ledger, CarryingSn(ledger, Piece(b"x" * (2 * LONGEST_LINE + 1), "1", lost=True)))
    assert [len(line) for line in found[1:]] == [LONGEST_LINE, LONGEST_LINE, 1]
    assert found[0] == LOST


async def test_whoever_follows_waits_for_more(ledger: Ledger) -> None:
    sn = CarryingSn(ledger, Piece(b"one\n", "1"), Piece(b"", "1"), Piece(b"two\n", "2"))
    assert await read(ledger, sn, most=2, follow=True) == ["one", "two"]
    assert all(wanted.wait for wanted in sn.asked)


async def test_excerpts_that_follow_one_another_are_the_log_whatever_a_piece_cuts(ledger: Ledger) -> None:
    data = "größer €\r\n\x1b[2J\t𝄞\xff\n".encode() + b"\xe2\x82"
    pieces = [Piece(data[at : at + 1], f"7:{at + 1}", more=at + 1 < len(data)) for at in range(len(data))]
    sn, node = CarryingSn(ledger, *pieces), network.node(ledger.chain.world, "sl-2")
    operator: Any = Operator(ledger, sn)
    assert node is not None
    text, wanted = "", Wanted(lines=7)
    for _ in pieces:
        found = await excerpt(operator, node, wanted)
        assert re.fullmatch(CURSOR, found.cursor)
        text, wanted = text + found.text, Wanted(cursor=found.cursor)
    assert text == "größer €\n\\x1b[2J\t𝄞ÿ\n"
    assert not found.more
    assert [asked.cursor for asked in sn.asked] == ["", *(f"7:{at}" for at in range(1, len(data)))]


async def test_the_sn_is_found_that_the_node_is_connected_to(ledger: Ledger) -> None:
    elsewhere = Lost(Refusal(Code.NOT_CONNECTED, "not here", 1))
    assert await read(ledger, elsewhere, Lost(Unavailable("gone")), CarryingSn(ledger, Piece(b"one\n", "1"))) == ["one"]
    with pytest.raises(LogsError, match="not connected to SN sn:0; gone"):
        await read(ledger, elsewhere, Lost(Unavailable("gone")))


async def test_a_false_sn_can_withhold_an_answer_and_no_more(ledger: Ledger) -> None:
    honest, piece = CarryingSn(ledger, Piece(b"one\n", "1")), Piece(b"forged\n", "1")
    forging = (CarryingSn(ledger, piece, signed_by=name) for name in ("sl-1", "op-3"))
    for false in (Altering(ledger, piece), *forging):
        with pytest.raises(LogsError, match="cannot be read"):
            await read(ledger, false)
        assert await read(ledger, false, honest) == ["one"]


async def test_why_a_site_withholds_its_log_is_shown_escaped(ledger: Ledger) -> None:
    with pytest.raises(LogsError) as refused:
        await read(ledger, CarryingSn(ledger, Piece(refused="not for you\x1b[2J")))
    assert str(refused.value) == "node sl-2 answers: not for you\\x1b[2J"


def test_a_node_that_answers_nothing_at_once_has_its_followers_ask_twice_a_second(ledger: Ledger) -> None:
    async def asked() -> int:
        sn = CarryingSn(ledger, Piece(b"x", "1", more=True))
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                await read(ledger, sn, follow=True)
        return len(sn.asked)

    assert run_in_virtual_time(asked()) <= 21


@pytest.mark.parametrize(
    "endless", [Piece(b"x" * MAX_PIECE, "1", more=True), Piece(b"x", "1", more=True), Piece(b"", "1", more=True)]
)
async def test_logs_without_end_are_given_up(ledger: Ledger, endless: Piece, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarmlearning.operator.logs.MOST_PIECES", 3)
    with pytest.raises(LogsError, match="does not end"):
        await read(ledger, CarryingSn(ledger, endless))


async def whole(ledger: Ledger, sn: Any, most: int = 1000, seconds: float = 60) -> Whole:
    node = network.node(ledger.chain.world, "sl-2")
    assert node is not None
    operator: Any = Operator(ledger, sn)
    return await whole_log(operator, node, Wanted(), most, seconds)


async def test_a_whole_log_is_its_newest_part_and_says_so(ledger: Ledger) -> None:
    pieces = [Piece(f"line {number}\x1b\n".encode() * 10, "1", more=number < 9) for number in range(10)]
    assert await whole(ledger, CarryingSn(ledger, *pieces), 10**6) == (
        "".join(f"line {number}\\x1b\n" * 10 for number in range(10)),
        "",
    )
    text, lacking = await whole(ledger, CarryingSn(ledger, *pieces), 250)
    assert (len(text), lacking) == (4 * 110, "only the newest 0 MB")
    assert text.endswith("line 9\\x1b\n")


async def test_a_whole_log_without_an_end_is_cut(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarmlearning.operator.logs.MOST_PIECES", 3)
    endless = CarryingSn(ledger, Piece(b"x" * MAX_PIECE, "1", more=True))
    text, lacking = await whole(ledger, endless, MAX_PIECE)
    assert lacking == "the node sends a log that does not end"
    assert MAX_PIECE < len(text) < 2 * MAX_PIECE + 100
    assert (await whole(ledger, CarryingSn(ledger, Piece(b"", "1", more=True)))).lacking


def test_a_node_that_trickles_is_waited_for_only_so_long(ledger: Ledger) -> None:
    class Trickling(CarryingSn):
        async def ask_logs(self, uid: str, jws: str) -> str:
            await asyncio.sleep(10)
            return await super().ask_logs(uid, jws)

    found = run_in_virtual_time(whole(ledger, Trickling(ledger, Piece(b"x\n", "1", more=True)), seconds=35))
    assert found == ("x\nx\nx\n", "only what came within 35 s")


def deep(levels: int) -> bytes:
    """A report with lists in it, so many levels below the report itself."""
    return b'{"a":' + b"[" * levels + b"1" + b"]" * levels + b"}"


async def test_what_is_no_report_is_refused(ledger: Ledger) -> None:
    node = network.node(ledger.chain.world, "sl-2")
    assert node is not None
    for data in (b"", b"[1]", b"\xff", b'{"a":' * 50_000, deep(DEEPEST), deep(500)):
        operator: Any = Operator(ledger, CarryingSn(ledger, Piece(data[:MAX_PIECE])))
        with pytest.raises(LogsError, match="sends what is no report"):
            await report_of(operator, node, 5)
    operator = Operator(ledger, CarryingSn(ledger, Piece(deep(DEEPEST - 1))))
    assert len(json.dumps(await report_of(operator, node, 5), indent=2)) > DEEPEST
