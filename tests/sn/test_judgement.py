"""An SN makes the proposals of every kind of contract, whichever there are, when they are due."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from support.network import Ledger
from support.notes import NEXT, RULEBOOK, Notes, Write
from swarmlearning.ledger.bodies import Lost, SwitchRules
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.contract import Proposal
from swarmlearning.ledger.rules import Rules
from swarmlearning.ledger.world import World
from swarmlearning.ordering.protocols import Lease
from swarmlearning.sn.watchdog import GRACE_SECONDS, Judgement

LEASES = {"sl-1": Lease("sl-1", 1, 0, 0)}
LATE = Write("late")


@pytest.fixture
def ledger() -> Ledger:
    """A note of the only SL."""
    made = Ledger()
    made.chain = replace(made.chain, rulebook=RULEBOOK)
    made.upgrade(NEXT)
    made.join("sl-1")
    made.join("op", "SWCI")
    made.send("op", SwitchRules(NEXT), network.CONTRACT)
    made.send("sl-1", Write("hello"), "memo")
    return made


def proposed(judgement: Judgement, ledger: Ledger, now: float, here: bool = False) -> list[object]:
    return [each.body for each in judgement.proposals(ledger.chain, LEASES if here else {}, now)]


def knowing(ledger: Ledger) -> Judgement:
    """A judgement that has known the SL for longer than it needs no lease."""
    judgement = Judgement("sn-1")
    judgement.hear(ledger.chain, LEASES, -GRACE_SECONDS)
    return judgement


def test_a_node_that_has_just_started_needs_no_lease_for_a_while(ledger: Ledger) -> None:
    judgement = Judgement("sn-1")
    assert proposed(judgement, ledger, 0.0) == []
    judgement.hear(ledger.chain, {}, 1.0)
    assert proposed(judgement, ledger, 1.0) == []
    assert judgement.seconds_left(ledger.chain, {}, 1.5) == GRACE_SECONDS - 0.5
    assert Lost("sl-1", 1) not in proposed(judgement, ledger, 0.9 + GRACE_SECONDS)
    assert Lost("sl-1", 1) in proposed(judgement, ledger, 1.0 + GRACE_SECONDS)


def test_a_reading_of_the_leases_that_began_before_a_node_started_does_not_make_it_lost(ledger: Ledger) -> None:
    judgement = Judgement("sn-1")
    judgement.hear(ledger.chain, LEASES, 0.0)
    assert proposed(judgement, ledger, 0.1) == []


def test_a_node_without_a_lease_is_lost(ledger: Ledger) -> None:
    judgement = knowing(ledger)
    assert proposed(judgement, ledger, 0.0) == [Lost("sl-1", 1)]
    assert proposed(judgement, ledger, 0.0, here=True) == []


def test_a_proposal_is_made_once_its_reason_has_lasted_for_its_time(ledger: Ledger) -> None:
    judgement = knowing(ledger)
    assert judgement.seconds_left(ledger.chain, {}, 5.0) is None
    judgement.hear(ledger.chain, {}, 5.0)
    judgement.hear(ledger.chain, {}, 5.5)
    assert judgement.seconds_left(ledger.chain, {}, 5.75) == 0.25
    assert LATE not in proposed(judgement, ledger, 5.75)
    assert LATE in proposed(judgement, ledger, 6.0)


def test_the_time_of_a_proposal_starts_anew_when_its_reason_was_gone_meanwhile(ledger: Ledger) -> None:
    judgement = knowing(ledger)
    judgement.hear(ledger.chain, {}, 5.0)
    judgement.hear(ledger.chain, LEASES, 5.5)
    judgement.hear(ledger.chain, {}, 5.75)
    assert judgement.seconds_left(ledger.chain, {}, 6.25) == 0.5
    assert LATE not in proposed(judgement, ledger, 6.25)
    assert LATE in proposed(judgement, ledger, 6.75)


class Counted(Notes):
    """Notes that count how often they are asked for proposals."""

    def __init__(self) -> None:
        self.asked = 0

    def proposals(self, world: World, live: Mapping[str, int], by: str) -> Iterable[Proposal]:
        self.asked += 1
        return super().proposals(world, live, by)


def test_a_lease_that_is_removed_from_the_same_mapping_is_missed(ledger: Ledger) -> None:
    judgement, leases = knowing(ledger), dict(LEASES)
    assert list(judgement.proposals(ledger.chain, leases, 0.0)) == []
    del leases["sl-1"]
    assert [each.body for each in judgement.proposals(ledger.chain, leases, 0.0)] == [Lost("sl-1", 1)]


def test_contracts_make_their_proposals_once_for_each_state_and_presence(ledger: Ledger) -> None:
    notes, judgement = Counted(), Judgement("sn-1")
    chain = replace(ledger.chain, rulebook={NEXT: Rules(NEXT, (notes,))})
    judgement.hear(chain, LEASES, -GRACE_SECONDS)
    notes.asked = 0
    none: dict[str, Lease] = {}
    for now in (5.0, 5.5, 6.5):
        judgement.hear(chain, none, now)
        assert judgement.seconds_left(chain, none, now) == ({5.0: 1.0, 5.5: 0.5}.get(now))
    assert [each.body for each in judgement.proposals(chain, none, 6.5)] == [LATE]
    assert notes.asked == 1
    assert list(judgement.proposals(chain, LEASES, 6.5)) == []
    assert list(judgement.proposals(chain, {"sl-1": LEASES["sl-1"]._replace(progress=7)}, 6.5)) == []
    assert notes.asked == 2, "a lease that shows progress changes nobody's presence"
    ledger.send("sl-1", Write("again"), "other")
    judgement.hear(replace(ledger.chain, rulebook=chain.rulebook), LEASES, 6.5)
    assert notes.asked == 3
