"""Who may read a node's logs, and that each request is carried out once, whoever carries it."""

import asyncio
import logging
from collections.abc import Collection
from pathlib import Path
from typing import cast

import msgspec
import pytest

from support.network import Ledger
from support.organisations import AUTHORITIES, three_organisations
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.bodies import Revoke, SetPolicy
from swarmlearning.ledger.world import World
from swarmlearning.node import reading
from swarmlearning.node.checkup import Checkup
from swarmlearning.node.logfile import FILE
from swarmlearning.node.reading import FRESH_MS, Carried, OwnShelf, Reading, Shelf
from swarmlearning.node.sealing import Asked, Part, Piece, SealError, Wanted, ask
from swarmlearning.operator.logs import opened
from swarmlearning.views.times import Times

NOW = 1_000_000
LOG = b"one line\n"
REPORT = b'{"node": "sl-2"}'
OWN_LOG = Wanted()


class Site:
    """The node `sl-2` of the organisation `org-2`, in a network of three."""

    def __init__(self, folder: Path) -> None:
        self.ledger = three_organisations()
        (folder / FILE).write_bytes(LOG)
        self.shelf: Shelf = OwnShelf(folder / FILE)
        self._advanced = asyncio.Condition()

    @property
    def chain(self) -> Chain:
        return self.ledger.chain

    async def reached(self, height: int) -> None:
        async with self._advanced:
            await self._advanced.wait_for(lambda: self.chain.height >= height)

    async def advance(self) -> None:
        async with self._advanced:
            self._advanced.notify_all()

    def reading(self) -> Reading:
        return Reading("sl-2", self.ledger.actors["sl-2"].signer, self, self.shelf, self.report, lambda: NOW)

    @staticmethod
    async def report() -> bytes:
        return REPORT

    def ask(self, who: str, wanted: Wanted = OWN_LOG, *, time_ms: int = NOW, node: str = "sl-2") -> Asked:
        return ask(self.ledger.actors[who].signer, self.chain.network_id, node, wanted, time_ms=time_ms)

    async def piece(self, who: str, wanted: Wanted = OWN_LOG) -> Piece:
        asked = self.ask(who, wanted)
        return opened(self.chain, "sl-2", asked, await self.reading().answer(asked.jws))


class Shared:
    """A site that has said who reads its logs."""

    def __init__(self, folder: Path, readers: Collection[str]) -> None:
        self._own = OwnShelf(folder / FILE)
        self._readers = readers

    def shares(self, part: Part, reader: str, own: str) -> bool | None:
        return reader in self._readers

    def path(self, world: World, wanted: Wanted) -> Path:
        return self._own.path(world, wanted)

    async def times(self, wanted: Wanted) -> Times:
        return Times(NOW)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def readers(site: Site) -> set[str]:
    """The operators whom the site answers with its log; the others learn why not."""
    found = set()
    for who in ("op-1", "op-2", "op-3"):
        piece = await site.piece(who)
        if piece.data == LOG:
            found.add(who)
        else:
            assert piece.data == b""
            assert f"does not share its own log with org-{who[-1]}" in piece.refused
    return found


async def test_a_node_s_log_is_for_operators_of_its_own_organisation(site: Site) -> None:
    assert await readers(site) == {"op-2"}


async def test_the_network_may_open_logs_and_a_site_s_own_word_goes_before_that(site: Site, tmp_path: Path) -> None:
    for operator in ("op-1", "op-3"):
        site.ledger.send(operator, SetPolicy("read-logs", "one"), network.CONTRACT)
    assert await readers(site) == {"op-1", "op-2", "op-3"}
    site.shelf = Shared(tmp_path, {"org-2", "org-3"})
    assert await readers(site) == {"op-2", "op-3"}
    site.shelf = Shared(tmp_path, ())
    assert await readers(site) == set()


async def test_how_a_node_spends_its_rounds_is_for_those_who_read_its_log(site: Site, tmp_path: Path) -> None:
    wanted = Wanted("TIMES", contract="contract", round=3)
    assert (await site.piece("op-2", wanted)).refused == "this node has no part in rounds: SLs have"
    asked = list[Wanted]()

    async def times(wanted: Wanted) -> Times:
        asked.append(wanted)
        return Times(NOW)

    site.shelf = OwnShelf(tmp_path, times)
    assert msgspec.json.decode((await site.piece("op-2", wanted)).data, type=Times) == Times(NOW)
    assert asked == [wanted]
    refused = (await site.piece("op-1", wanted)).refused
    assert "does not share how it spends its rounds with org-1 (shareLogs" in refused
    site.shelf = Shared(tmp_path, {"org-1"})
    assert (await site.piece("op-1", wanted)).data
    assert "does not share how it spends its rounds with org-2" in (await site.piece("op-2", wanted)).refused


async def test_a_report_of_a_node_is_for_those_who_read_its_log_or_whom_the_site_names(
    site: Site, tmp_path: Path
) -> None:
    wanted = Wanted("REPORT")
    assert (await site.piece("op-2", wanted)).data == REPORT
    refused = (await site.piece("op-1", wanted)).refused
    assert "does not share its versions, settings and stacks with org-1 (shareLogs" in refused
    site.shelf = Shared(tmp_path, {"org-1"})
    assert (await site.piece("op-1", wanted)).data == REPORT
    assert (await site.piece("op-2", wanted)).data == b""


async def test_nobody_but_an_operator_whom_the_ledger_trusts_is_answered(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LEARN_SECONDS", 0.0)
    with pytest.raises(SealError, match="not by an operator"):
        await site.reading().answer(site.ask("sl-1").jws)
    site.ledger.actor("op-9", "SWCI", AUTHORITIES["org-2"])
    with pytest.raises(SealError, match="not by an operator"):
        await site.reading().answer(site.ask("op-9").jws)
    revoked = site.ledger.join("op-8", "SWCI", AUTHORITIES["org-2"])
    site.ledger.send("op-2", Revoke(revoked.signer.thumbprint), network.CONTRACT)
    with pytest.raises(SealError, match="not by an operator"):
        await site.reading().answer(site.ask("op-8").jws)


async def test_who_asks_again_and_again_in_vain_does_not_fill_the_log(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "swarm.logs")
    answering = site.reading()
    for operator in ("op-1", "op-3"):
        for _ in range(5):
            asked = site.ask(operator)
            assert "does not share" in opened(site.chain, "sl-2", asked, await answering.answer(asked.jws)).refused
    said = [record.getMessage() for record in caplog.records]
    assert ["of org-1 may not read" in said[0], "of org-3 may not read" in said[1], len(said)] == [True, True, 2]


async def test_an_operator_that_registers_at_this_moment_is_answered_once_it_has(site: Site) -> None:
    site.ledger.actor("op-9", "SWCI", AUTHORITIES["org-2"])
    asked = site.ask("op-9")
    answering = asyncio.create_task(site.reading().answer(asked.jws))
    await asyncio.sleep(0)
    site.ledger.register("op-9")
    await site.advance()
    assert opened(site.chain, "sl-2", asked, await answering).data == LOG


async def test_a_request_for_another_node_or_network_is_not_answered(site: Site) -> None:
    other = ask(site.ledger.actors["op-2"].signer, "f" * 64, "sl-2", Wanted(), time_ms=NOW)
    for asked in (other, site.ask("op-2", node="sl-1")):
        with pytest.raises(SealError, match="for another node or network"):
            await site.reading().answer(asked.jws)


async def test_a_request_is_carried_out_once_and_for_a_minute(site: Site) -> None:
    answering = site.reading()
    asked = site.ask("op-2")
    assert opened(site.chain, "sl-2", asked, await answering.answer(asked.jws)).data == LOG
    again = opened(site.chain, "sl-2", asked, await answering.answer(asked.jws))
    assert (again.data, again.refused) == (b"", "this request has come before")
    for off in (-FRESH_MS - 1, FRESH_MS + 1):
        asked = site.ask("op-2", time_ms=NOW + off)
        assert "60 s apart" in opened(site.chain, "sl-2", asked, await answering.answer(asked.jws)).refused


async def test_what_is_remembered_of_requests_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_REMEMBERED", 2)
    for operator in ("op-1", "op-3"):
        site.ledger.send(operator, SetPolicy("read-logs", "one"), network.CONTRACT)
    answering, refused = site.reading(), []
    for _ in range(3):
        asked = site.ask("op-2")
        refused.append(opened(site.chain, "sl-2", asked, await answering.answer(asked.jws)).refused)
    assert refused[:2] == ["", ""]
    assert "try again later" in refused[2]
    other = site.ask("op-1")  # an organisation has no part in what another one has used up
    assert opened(site.chain, "sl-2", other, await answering.answer(other.jws)).data == LOG


async def test_an_answer_by_another_node_is_none(site: Site) -> None:
    asked = site.ask("op-2")
    answer = await site.reading().answer(asked.jws)
    with pytest.raises(SealError, match="not by the node that was asked"):
        opened(site.chain, "sl-1", asked, answer)


async def test_a_node_without_pairs_says_so(site: Site) -> None:
    assert "has its own log only" in (await site.piece("op-2", Wanted("ML", "runner", 0))).refused


async def test_requests_that_nobody_may_send_do_not_end_the_answering(site: Site) -> None:
    """Whatever comes: the one after it is answered."""
    delivered: asyncio.Queue[str] = asyncio.Queue()
    asked = site.ask("op-2")
    coming = ["", "x", "a.b.c", site.ask("sl-1").jws, asked.jws]

    class Carriers:
        async def next(self) -> Carried:
            if not coming:
                await asyncio.Event().wait()
            return Carried(coming.pop(0), delivered.put)

    serving = asyncio.create_task(site.reading().serve(Carriers()))
    answers = [await delivered.get() for _ in range(5)]
    assert sorted(answers)[:4] == [""] * 4
    assert opened(site.chain, "sl-2", asked, max(answers)).data == LOG
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


def test_the_three_organisations_are_as_these_tests_take_them(site: Site) -> None:
    ledger: Ledger = site.ledger
    known = network.node(ledger.chain.world, "sl-2")
    assert known is not None
    assert known.organisation == "org-2"


class Checked:
    """What says how a node is; `whole`: what it was asked for."""

    def __init__(self) -> None:
        self.whole: list[bool] = []

    async def answer(self, *, whole: bool) -> bytes:
        self.whole.append(whole)
        return b"well"


async def test_anybody_s_operator_asks_how_a_node_is_and_how_its_site_is_who_reads_its_logs(tmp_path: Path) -> None:
    site, checked, wanted = Site(tmp_path), Checked(), Wanted("CHECKUP")
    for who, whole in (("op-2", True), ("op-1", False)):
        asked, answering = site.ask(who, wanted), site.reading()
        assert "does not say how it is" in opened(site.chain, "sl-2", asked, await answering.answer(asked.jws)).refused
        answering.checkup = cast("Checkup", checked)
        again = site.ask(who, wanted)
        assert opened(site.chain, "sl-2", again, await answering.answer(again.jws)).data == b"well"
        assert checked.whole.pop() is whole
        assert "has come before" in opened(site.chain, "sl-2", again, await answering.answer(again.jws)).refused
    for stranger in ("sl-1", "sn-1"):
        with pytest.raises(SealError, match="not by an operator"):
            await answering.answer(site.ask(stranger, wanted).jws)
    assert checked.whole == []
