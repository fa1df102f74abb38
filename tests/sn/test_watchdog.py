"""The watchdog: leases become transactions. In virtual time, with a log in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from support.mining import Site, full_disk
from support.network import CONTRACT, session
from support.virtual_time import run_in_virtual_time
from swarmlearning.ledger.bodies import (
    Announce,
    Back,
    Body,
    CloseSession,
    Contribution,
    Depose,
    Leave,
    Lost,
    Missing,
    Progress,
    Publish,
    Receipt,
    Register,
    ReportPerformance,
    Settle,
    Submit,
)
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.contracts.network.watching import CONTRADICTION_MS, GONE_SECONDS
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ordering.local import LocalPresence
from swarmlearning.ordering.protocols import Lease
from swarmlearning.sn.miner import BusyError, Miner
from swarmlearning.sn.watchdog import GRACE_SECONDS, Watchdog

LIFETIME = GRACE_SECONDS
"""So a node whose only heartbeat comes at its start is lost when one is that has never sent any."""


class Sn:
    """A miner with a watchdog; what the watchdog proposed, with its time."""

    def __init__(self, site: Site, miner: Miner) -> None:
        self.site, self.miner = site, miner
        self.presence = LocalPresence(LIFETIME)
        self.proposed: list[tuple[float, Body]] = []
        self.votes = True
        self.watchdog = Watchdog("sn-1", miner, self.presence, self._propose, lambda: self.votes)

    async def _propose(self, contract: str, body: Body, chain: Chain) -> int:
        self.proposed.append((round(asyncio.get_running_loop().time(), 3), body))
        self.site.ledger.chain = chain
        return await self.miner.submit(self.site.ledger.write("sn-1", contract, body).raw)

    async def beat(self, uid: str, incarnation: int = 1) -> None:
        await self.presence.announce(Lease(uid, incarnation, 0, 0))

    def node(self, uid: str) -> Node:
        found = network.node(self.miner.chain.world, uid)
        assert found is not None
        return found

    async def at(self, seconds: float) -> None:
        """A moment after this time: until all that happens at it has happened."""
        await asyncio.sleep(max(0.0, seconds - asyncio.get_running_loop().time()) + 0.001)


def watched(sls: int = 1) -> Site:
    """A network in which `sn-1` alone watches: `sn-2` has no vote."""
    site = Site(sls)
    site.ledger.send("sn-2", Lost("sn-2", 1), network.CONTRACT)
    return site


@asynccontextmanager
async def watching(site: Site) -> AsyncIterator[Sn]:
    async with site.miner() as miner:
        sn = Sn(site, miner)
        work = asyncio.create_task(sn.watchdog.run())
        try:
            yield sn
            assert not work.done(), "the watchdog has ended"
        finally:
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work


def test_a_node_without_heartbeats_is_lost_and_one_with_is_not() -> None:
    async def scenario() -> None:
        async with watching(watched(sls=2)) as sn:
            for second in range(6):
                await sn.at(second)
                await sn.beat("sl-0")
            assert (sn.node("sl-0").alive, sn.node("sl-1").alive) == (True, False)
            assert sn.proposed == [(LIFETIME, Lost("sl-1", 1))]

    run_in_virtual_time(scenario())


def test_a_lost_node_that_sends_heartbeats_again_is_recorded_as_returned() -> None:
    async def scenario() -> None:
        async with watching(watched()) as sn:
            await sn.at(4.0)
            assert not sn.node("sl-0").alive
            await sn.beat("sl-0")
            await sn.at(4.0)
            assert sn.node("sl-0").alive
            await sn.at(5.0 + LIFETIME)
            assert not sn.node("sl-0").alive

    run_in_virtual_time(scenario())


def test_a_heartbeat_of_an_older_start_does_not_keep_a_node_alive() -> None:
    async def scenario() -> None:
        site = watched()
        site.ledger.actors["sl-0"].incarnation = 2
        site.ledger.register("sl-0")
        async with watching(site) as sn:
            for second in range(6):
                await sn.at(second)
                await sn.beat("sl-0", incarnation=1)
            assert sn.proposed == [(LIFETIME, Lost("sl-0", 2))]

    run_in_virtual_time(scenario())


def test_a_restarted_sn_gives_every_node_its_time_before_it_is_lost() -> None:
    async def scenario() -> None:
        site = watched(sls=2)
        async with watching(site) as sn:
            await sn.at(LIFETIME)
            assert not sn.node("sl-0").alive
            await sn.beat("sl-0")
            await sn.at(LIFETIME)
        async with watching(site) as again:
            await again.at(LIFETIME + GRACE_SECONDS - 0.1)
            assert again.node("sl-0").alive
            await again.at(LIFETIME + GRACE_SECONDS + 0.1)
            assert not again.node("sl-0").alive
            assert [body for _, body in again.proposed] == [Lost("sl-0", 1)]

    run_in_virtual_time(scenario())


def test_an_sn_whose_lease_is_gone_is_reported_twice_and_not_waited_for_any_more() -> None:
    async def scenario() -> None:
        async with watching(Site()) as sn:
            reported = (LIFETIME, Lost("sl-0", 1))
            await sn.at(CONTRADICTION_MS / 1000)
            assert sn.proposed == [(GONE_SECONDS, Lost("sn-2", 1)), reported]
            assert sn.node("sn-2").alive
            sn.site.ledger.clock += CONTRADICTION_MS + 1_000
            await sn.at(2 * GONE_SECONDS + CONTRADICTION_MS / 1000)
            assert (sn.node("sn-2").alive, sn.node("sl-0").alive) == (False, False)

    run_in_virtual_time(scenario())


def test_an_sn_that_is_reported_though_it_is_there_contradicts_at_once() -> None:
    async def scenario() -> None:
        site = Site()
        site.ledger.send("sn-2", Lost("sn-1", 1), network.CONTRACT)
        async with watching(site) as sn:
            await sn.at(0.1)
            assert sn.proposed == [(0.0, Back("sn-1", 1))]

    run_in_virtual_time(scenario())


def test_an_sn_that_gets_its_vote_later_watches_from_then_on() -> None:
    async def scenario() -> None:
        async with watching(watched()) as sn:
            sn.votes = False
            await sn.beat("sl-0")
            await sn.at(1.0)
            assert [body for _, body in sn.proposed] == [Lost("sn-1", 1)]
            sn.votes = True
            await sn.at(LIFETIME)
            assert [body for _, body in sn.proposed] == [Lost("sn-1", 1), Back("sn-1", 1), Lost("sl-0", 1)]

    run_in_virtual_time(scenario())


@pytest.mark.parametrize("hindrance", ["a full disk", "too many transactions"])
def test_a_proposal_that_could_not_be_recorded_is_made_again(hindrance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        site = watched()
        async with watching(site) as sn:
            if hindrance == "a full disk":
                site.log.script = [full_disk, full_disk]
            else:
                answers = [BusyError("4096 wait"), BusyError("4096 wait")]
                submit = sn.miner.submit

                async def busy(raw: str) -> int:
                    if answers:
                        raise answers.pop()
                    return await submit(raw)

                monkeypatch.setattr(sn.miner, "submit", busy)
            await sn.at(LIFETIME)
            assert sn.node("sl-0").alive
            await sn.at(LIFETIME + 10.0)
            assert not sn.node("sl-0").alive
            assert [body for _, body in sn.proposed] == [Lost("sl-0", 1)] * 3

    run_in_virtual_time(scenario())


def merged(closing: bool) -> Site:
    """Round 0 of two sites has a result, which its leader holds; the last, where both are `closing`."""
    site = watched(sls=2)
    members = ("sl-0", "sl-1")
    for uid in members:
        site.ledger.send(uid, session(min_peers=2))
        if closing:
            site.ledger.send(uid, CloseSession("snapshot"))
    for number, uid in enumerate(members):
        state = site.ledger.send(uid, Submit(0, "", "snapshot" if closing else "trained", f"{number}" * 64, 10, 1))
    assert state.round is not None
    receipt = Receipt("mean", tuple(Contribution(uid, f"{n}" * 64, 1, 1) for n, uid in enumerate(members)), ())
    site.ledger.send(state.round.leader, Publish(0, 0, "a" * 64, 10, receipt))
    return site


def holder(site: Site) -> str:
    """The only member that holds the result."""
    result = site.ledger.training.result
    assert result is not None
    (uid,) = result.holders
    return uid


def other_than(uid: str) -> str:
    return "sl-1" if uid == "sl-0" else "sl-0"


def test_a_final_result_that_every_live_member_holds_is_proposed_as_settled() -> None:
    async def scenario() -> None:
        site = merged(closing=True)
        async with watching(site) as sn:
            await sn.at(1.0)
            assert sn.proposed == []
            site.ledger.chain = sn.miner.chain
            other = other_than(holder(site))
            await sn.miner.submit(site.ledger.write(other, CONTRACT, ReportPerformance(0, None, None, 1, 1)).raw)
            await sn.at(1.0)
            assert [body for _, body in sn.proposed] == [Settle(0)]
            (training,) = sn.miner.chain.world.area("training/", Training)
            assert training.settled

    run_in_virtual_time(scenario())


def test_a_result_that_every_live_member_misses_is_proposed_as_void() -> None:
    async def scenario() -> None:
        site = merged(closing=False)
        site.ledger.send("sl-0", Missing(0))
        async with watching(site) as sn:
            await sn.at(1.0)
            assert sn.proposed == []
            site.ledger.chain = sn.miner.chain
            await sn.miner.submit(site.ledger.write("sl-1", CONTRACT, Missing(0)).raw)
            await sn.at(1.0)
            (training,) = sn.miner.chain.world.area("training/", Training)
            assert training.result is None
            assert training.round is not None
            assert (training.round.number, training.round.term) == (0, 1)

    run_in_virtual_time(scenario())


def test_a_refused_proposal_does_not_end_the_watchdog() -> None:
    """The node was started again: that is on the chain when this SN proposes that it is lost."""

    async def scenario() -> None:
        site = watched()

        def rival(entry: bytes) -> None:
            site.ledger.actors["sl-0"].incarnation = 2
            start = site.ledger.write("sl-0", network.CONTRACT, Register("SL", "sl-0", "", "0"))
            site.ledger.append(site.ledger.seal(start, sealer="sn-2"))

        async with watching(site) as sn:
            site.log.script = [rival]
            await sn.at(LIFETIME + 1.0)
            assert (sn.node("sl-0").alive, sn.node("sl-0").incarnation) == (True, 2)
            site.ledger.chain = sn.miner.chain
            await sn.miner.submit(site.ledger.write("sl-0", network.CONTRACT, Announce({})).raw)

    run_in_virtual_time(scenario())


class Due:
    """Two members whose round waits for its leader, which the other has reported."""

    def __init__(self) -> None:
        self.site = watched(sls=2)
        ledger = self.site.ledger
        for uid in ("sl-0", "sl-1"):
            ledger.send(uid, session(min_peers=2))
        for number, uid in enumerate(("sl-0", "sl-1")):
            ledger.send(uid, Submit(0, "", "trained", f"{number}" * 64, 10, 1))

    @property
    def leader(self) -> str:
        current = self.site.ledger.training.round
        assert current is not None
        return current.leader

    @property
    def report(self) -> Depose:
        current = self.site.ledger.training.round
        assert current is not None
        seen = network.last_height(self.site.ledger.chain.world, current.leader)
        return Depose(current.number, current.term, 1, seen, "progress")

    async def keep(self, sn: Sn, seconds: float, sent: dict[float, tuple[str, Body]]) -> list[Body]:
        """So long both send heartbeats and one says this; what the SN has proposed."""
        for tenth in range(int(seconds * 10)):
            await sn.at(tenth / 10)
            await sn.beat("sl-0")
            await sn.beat("sl-1")
            if tenth / 10 in sent:
                self.site.ledger.chain = sn.miner.chain
                await sn.miner.submit(self.site.ledger.write(sent[tenth / 10][0], CONTRACT, sent[tenth / 10][1]).raw)
        return [body for _, body in sn.proposed]


def test_an_sn_seconds_the_report_of_a_leader_from_which_it_has_no_progress_either() -> None:
    async def scenario() -> None:
        due = Due()
        report, leader = due.report, due.leader
        async with watching(due.site) as sn:
            assert await due.keep(sn, 14.0, {}) == [], "nobody has reported it"
            assert await due.keep(sn, 15.0, {14.5: (other_than(leader), report)}) == [report]
            (training,) = sn.miner.chain.world.area("training/", Training)
            assert training.round is not None
            assert (training.round.term, training.round.leader) == (1, other_than(leader))

    run_in_virtual_time(scenario())


def test_a_leader_that_sends_transactions_is_not_deposed() -> None:
    async def scenario() -> None:
        due = Due()
        report = due.report
        async with watching(due.site) as sn:
            leader = due.leader
            sent: dict[float, tuple[str, Body]] = {
                2.0: (other_than(leader), report),
                11.0: (leader, Progress(0, 0, 1)),
            }
            assert await due.keep(sn, 40.0, sent) == []

    run_in_virtual_time(scenario())


def test_a_node_that_has_left_is_neither_lost_nor_returned_and_its_lease_is_ended() -> None:
    async def scenario() -> None:
        site = watched(sls=2)
        async with watching(site) as sn:
            await sn.beat("sl-0")
            await sn.beat("sl-1")
            await sn.at(1.0)
            site.ledger.chain = sn.miner.chain
            await sn.miner.submit(site.ledger.write("sl-0", network.CONTRACT, Leave()).raw)
            await sn.at(1.1)
            async for leases in sn.presence.observe():
                assert set(leases) == {"sl-1"}
                break
            await sn.at(LIFETIME + 1.0)
            assert [body for _, body in sn.proposed] == [Lost("sl-1", 1)]

    run_in_virtual_time(scenario())
