"""The status: right when it matters, with SNs that are gone, and lag that is real."""

import asyncio
from dataclasses import dataclass, field

import pytest

from support.mining import MemoryLog
from support.network import Ledger
from swarmlearning.ledger.bodies import Announce
from swarmlearning.ledger.contracts import network
from swarmlearning.ordering.etcd.gateway import Member
from swarmlearning.ordering.etcd.member import peer_url
from swarmlearning.ordering.local import LocalPresence
from swarmlearning.ordering.protocols import Lease
from swarmlearning.sn import status as module
from swarmlearning.sn.engine import LocalEngine
from swarmlearning.sn.status import Notes, Status, status_of

SNS = ("sn-1", "sn-2", "sn-3")


@dataclass
class Etcd:
    """The report of an SN's engine: the voters, and the leases that stand (None: not known)."""

    voters: tuple[str, ...] = SNS
    learners: tuple[str, ...] = ()
    leases_: dict[str, Lease] | None = field(default_factory=dict)
    votes: bool = True
    name: str = "etcd"

    async def members(self) -> list[Member]:
        return [
            Member(number, uid, peer_url(uid), uid in self.learners)
            for number, uid in enumerate(self.voters + self.learners)
        ]

    async def leases(self) -> dict[str, Lease] | None:
        return self.leases_

    async def alarms(self) -> list[str]:
        return []


@pytest.fixture
def ledger() -> Ledger:
    """Three SNs and an SL."""
    made = Ledger()
    for uid in ("sn-2", "sn-3"):
        made.join(uid, "SN")
        made.send(uid, Announce({"p2p": f"{uid}:30303", "api": f"{uid}:30304"}), network.CONTRACT)
    made.join("sl-1")
    return made


def leases(*uids: str, height: int = 0, incarnation: int = 1) -> dict[str, Lease]:
    return {uid: Lease(uid, incarnation, height, 0) for uid in uids}


async def status(ledger: Ledger, engine: Etcd, due_height: int = 0) -> Status:
    return await status_of(ledger.chain, "sn-1", engine, "", due_height, ledger.clock, Notes())  # type: ignore[arg-type]


def states(found: Status) -> dict[str, str]:
    return {node.uid: node.state for node in found.nodes if node.type == "SN"}


async def test_the_status_has_no_alarm_while_all_voters_are_present(ledger: Ledger) -> None:
    found = await status(ledger, Etcd(leases_=leases(*SNS)))
    assert (found.majority, found.fault_tolerance) == (True, "3 voters: survives 1 failure")
    assert found.bears == found.fault_tolerance
    assert found.alarms == []
    assert set(states(found).values()) == {"alive"}


async def test_a_dead_voter_is_lost_and_an_alarm_and_lessens_the_fault_tolerance(ledger: Ledger) -> None:
    found = await status(ledger, Etcd(leases_=leases("sn-1", "sn-2")))
    assert found.fault_tolerance.startswith("3 voters, 2 of them running: survives none")
    assert [text for text in found.alarms if "SN sn-3 is a voter and does not run: start it again" in text]
    assert states(found) == {"sn-1": "alive", "sn-2": "alive", "sn-3": "lost"}
    assert [node.alive for node in found.nodes if node.uid == "sn-3"] == [False]


async def test_a_lease_of_an_earlier_start_does_not_make_an_sn_alive(ledger: Ledger) -> None:
    found = await status(ledger, Etcd(leases_=leases("sn-1", "sn-2") | leases("sn-3", incarnation=0)))
    assert states(found)["sn-3"] == "lost"


async def test_a_missing_majority_is_an_alarm_and_no_sn_is_reported_as_alive(ledger: Ledger) -> None:
    found = await status(ledger, Etcd(voters=(), leases_=None))
    assert (found.majority, found.fault_tolerance) == (False, "no majority of voters answers: writes wait")
    assert [text for text in found.alarms if "nothing can be written" in text]
    assert states(found) == {"sn-1": "alive", "sn-2": "unknown", "sn-3": "unknown"}
    assert {sn.part for sn in found.sns} == {"unknown"}


async def test_a_status_does_not_wait_for_an_engine_that_does_not_answer(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ENGINE_SECONDS", 0.0)

    class Hung(Etcd):
        async def members(self) -> list[Member]:
            await asyncio.Event().wait()
            return []

        async def leases(self) -> dict[str, Lease] | None:
            await asyncio.Event().wait()
            return {}

        async def alarms(self) -> list[str]:
            await asyncio.Event().wait()
            return []

    found = await status(ledger, Hung())
    assert found.majority is False
    assert [text for text in found.alarms if "nothing can be written" in text]
    assert states(found) == {"sn-1": "alive", "sn-2": "unknown", "sn-3": "unknown"}


async def test_an_sn_without_a_vote_reports_that_it_does_not_know(ledger: Ledger) -> None:
    found = await status(ledger, Etcd(voters=(), leases_=None, votes=False))
    assert found.majority is None
    assert "see the status of a voter" in found.fault_tolerance
    assert found.alarms == []


async def test_an_absent_learner_is_no_alarm(ledger: Ledger) -> None:
    found = await status(ledger, Etcd(voters=("sn-1", "sn-2"), learners=("sn-3",), leases_=leases("sn-1", "sn-2")))
    assert found.fault_tolerance == "2 voters: survives none; add a third SN, or only its vote (swarm sn --witness)"
    assert found.alarms == []


async def test_an_sn_lags_only_behind_blocks_that_it_must_have_reported_by_now(ledger: Ledger) -> None:
    reported = leases("sn-1", "sn-2", height=3) | leases("sn-3", height=1)
    found = await status(ledger, Etcd(leases_=reported), due_height=3)
    assert {sn.uid: (sn.height, sn.lag) for sn in found.sns} == {
        "sn-1": (ledger.chain.height, 0),
        "sn-2": (3, 0),
        "sn-3": (1, 2),
    }


async def test_an_sn_that_orders_alone_has_its_majority(ledger: Ledger) -> None:
    engine = LocalEngine(MemoryLog(ledger.blocks), LocalPresence(1.0))
    found = await status_of(ledger.chain, "sn-1", engine, "", 0, ledger.clock, Notes())
    assert found.majority is True
    assert states(found)["sn-1"] == "alive"


async def test_a_swop_reports_as_whom_it_runs_ml_processes(ledger: Ledger) -> None:
    for uid in ("swop-1", "swop-2"):
        ledger.join(uid, "SWOP")
    own = {"swop-1": Lease("swop-1", 1, 0, 0, same_user=True), "swop-2": Lease("swop-2", 1, 0, 0)}
    shown = await status(ledger, Etcd(leases_=leases(*SNS) | own))
    assert [node.uid for node in shown.nodes if node.same_user] == ["swop-1"]


@pytest.mark.parametrize(
    ("ahead_ms", "alarms"),
    [
        (3_600_000, ["the clock of SL sl-1 is 3600 s ahead of the SNs': set it right (NTP)"]),
        (-3_600_000, ["the clock of SL sl-1 is 3600 s behind the SNs': set it right (NTP)"]),
        (network.DOUBT_MS, []),
    ],
)
async def test_an_sl_whose_clock_is_far_off_is_named(ledger: Ledger, ahead_ms: int, alarms: list[str]) -> None:
    shown = await status(ledger, Etcd(leases_=leases(*SNS) | {"sl-1": Lease("sl-1", 1, 0, 0, None, ahead_ms)}))
    assert [text for text in shown.alarms if "clock" in text] == alarms
