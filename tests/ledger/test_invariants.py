"""Random scripts of several nodes, sensible and senseless, signed and sealed: what always holds, whatever is sent.

A second replica gets only the bytes of the blocks, and must come to the same state with each.
"""

from random import Random
from typing import get_args

import msgspec
import pytest

from support.network import CONTRACT, Ledger, session
from support.play import receipt_of
from swarmlearning.choices import CheckinMode
from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.ledger.bodies import (
    Announce,
    Back,
    Body,
    CloseSession,
    Depose,
    ExclusionReason,
    Freeze,
    Lost,
    Missing,
    Publish,
    Register,
    ReportPerformance,
    Reset,
    SubmissionKind,
    Submit,
    Void,
)
from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.chain import Chain, replay
from swarmlearning.ledger.checkpoint import decode, encode
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.state import Training, weight_in

SLS = ("sl-1", "sl-2", "sl-3", "sl-4")
UNWILLING = "sl-2"
"""Must not lead."""
CA = create_authority("CA-1", 30)
PAIRS = {uid: issue(CA, f"SL-{uid}", [], [], 30) for uid in SLS}


class Script:
    """A ledger and dice. It sends mostly what the state calls for, and that wrong in one field now and then."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.ledger = Ledger(CA)
        self.ledger.join("op", "SWCI")
        for uid in SLS:
            self.ledger.actor(uid, "SL")
            self.ledger.actors[uid].pair = PAIRS[uid]
            self.ledger.register(uid)
        self.min_peers = self.dice.randint(1, 3)
        self.replica = replay(self.ledger.blocks)
        self.standing: set[tuple[int, int, int]] = set()
        self.refused = 0

    def step(self) -> None:
        """One transaction; in a block on both replicas, or refused and nothing changed."""
        before, blocks = self.ledger.training, len(self.ledger.blocks)
        uid, contract, body = self.next_transaction()
        actor = self.ledger.actors[uid]
        if isinstance(body, Register):
            actor.incarnation, actor.sequence = actor.incarnation + 1, 0
        world, state_hash = self.ledger.chain.world, self.ledger.chain.world.state_hash()
        try:
            after = self.ledger.send(uid, body, contract)
        except Rejection as refusal:
            self.refused += 1
            unchanged = (len(self.ledger.blocks), self.ledger.chain.world.state_hash()) == (blocks, state_hash)
            if not unchanged or self.ledger.chain.world is not world or not refusal.detail:
                raise AssertionError("a refused transaction left a trace") from refusal
            return
        if self.replica.height % 10 == 0:
            self.replica = decode(encode(self.replica))  # as a node that is started again
        step = self.replica.append(self.ledger.blocks[-1])
        assert step.void is None
        self.replica = step.chain
        assert self.replica.world.state_hash() == self.ledger.chain.world.state_hash()
        if isinstance(body, Publish) and body.result:
            published = (after.run, body.round, body.term)
            assert published not in self.standing
            self.standing.add(published)
        check(after)
        check_step(before, after)

    # --- transactions -------------------------------------------------------------------------------------------------

    def next_transaction(self) -> tuple[str, str, Body]:
        state, dice = self.ledger.training, self.dice
        member = dice.choice(sorted(state.members) or SLS)
        kind = dice.random()
        if kind < 0.08 or not state.members:
            wrong: dict[str, object] = {"merge_method": "geomedian"} if state.members and dice.random() < 0.2 else {}
            own: dict[str, object] = {
                "adaptive": dice.random() < 0.5,
                "weightage": dice.randint(1, 9),
                "checkin": dice.choice(get_args(CheckinMode)),
            }
            uid = dice.choice((*SLS, "sn-1"))
            return uid, CONTRACT, session(self.min_peers, may_lead=uid != UNWILLING, **(own | wrong))
        if kind < 0.2:
            return self.operate(dice.choice(SLS), state)
        if state.over and kind < 0.4:
            return "op", CONTRACT, Reset(False)
        if state.round is None:
            uid = dice.choice(SLS)
            return uid, CONTRACT, session(self.min_peers, may_lead=uid != UNWILLING)
        if kind < 0.5:
            return member, CONTRACT, self.submit(member, state)
        if kind < 0.75:
            return state.round.leader or member, CONTRACT, self.lead(state)
        return member, CONTRACT, self.set_attendance(state)

    def operate(self, uid: str, state: Training) -> tuple[str, str, Body]:
        dice, incarnation = self.dice, self.ledger.actors[uid].incarnation
        number = state.result.closed.number if state.result else 0
        possible: list[tuple[str, str, Body]] = [
            ("sn-1", network.CONTRACT, Lost(uid, incarnation)),
            ("sn-1", network.CONTRACT, Back(uid, incarnation)),
            (uid, network.CONTRACT, Lost(uid, incarnation)),
            (uid, network.CONTRACT, Back(uid, dice.randint(1, 3))),
            (uid, network.CONTRACT, Register("SL", uid, "", "0")),
            (uid, network.CONTRACT, Announce({"fs": "host:1"})),
            *[("sn-1", CONTRACT, Void(number))] * 3,
            (dice.choice((uid, "sn-1")), CONTRACT, self.depose(state)),
            ("op", CONTRACT, Reset(dice.random() < 0.1)),
        ]
        return dice.choice(possible)

    def depose(self, state: Training) -> Depose:
        now, dice = state.round, self.dice
        leader = self.ledger.actors[now.leader].incarnation if now and now.leader else 1
        seen = self.ledger.chain.height - dice.randint(0, 3)
        term = now.term if now else 0
        return Depose(now.number if now else 0, term, leader, seen, dice.choice(("lease", "progress")))

    def submit(self, uid: str, state: Training) -> Submit:
        now, dice = state.round, self.dice
        assert now is not None
        member = state.members[uid]
        kind: SubmissionKind = member.checkin if member.finished else "trained"
        if dice.random() < 0.1:
            kind = dice.choice(get_args(SubmissionKind))
        base = now.base if dice.random() < 0.9 else "0" * 64
        digest = f"{dice.randrange(16):x}" * 64
        number = now.number - (dice.random() < 0.1 and now.number > 0)
        return Submit(number, base, kind, digest, 1, weight_in(now, member, kind))

    def lead(self, state: Training) -> Freeze | Publish:
        now, dice = state.round, self.dice
        assert now is not None
        term = now.term + (dice.random() < 0.1)
        if dice.random() < 0.3:
            return Freeze(now.number, term)
        without = {uid: dice.choice(get_args(ExclusionReason)) for uid in now.submissions if dice.random() < 0.15}
        receipt = receipt_of(now, without)
        if dice.random() < 0.1:
            receipt = msgspec.structs.replace(receipt, contributions=receipt.contributions[1:])
        weights = [part.weight for part in receipt.contributions]
        result = f"{dice.randrange(16):x}" * 64 if any(weights) else now.base
        enough = len(weights) >= self.min_peers
        return Publish(now.number, term, result if enough or dice.random() < 0.1 else "", 1, receipt)

    def set_attendance(self, state: Training) -> ReportPerformance | Missing | CloseSession:
        dice = self.dice
        number = state.result.closed.number if state.result else 0
        loss = dice.choice((None, dice.random()))
        possible: list[ReportPerformance | Missing | CloseSession] = [
            ReportPerformance(number, loss, None, 1, 1),
            ReportPerformance(number, loss, None, 1, 1),
            *[Missing(number)] * (1 + 5 * bool(state.result and state.result.missing)),
            CloseSession(dice.choice(get_args(CheckinMode))),
        ]
        return dice.choice(possible)


# --- what always holds ----------------------------------------------------------------------------------------------


def check(state: Training) -> None:
    """Asserts what holds in every state."""
    assert msgspec.json.decode(canonical(state), type=Training) == state
    for uid, member in state.members.items():
        assert member.uid == uid
        assert member.present or not member.awaited
        assert 0 <= member.contributed <= state.rounds
        assert 1 <= member.interval <= 4 * member.sync_frequency
    if state.result:
        receipt = state.result.receipt
        assert state.terms is not None
        assert len(receipt.contributions) >= state.terms.min_peers
        named = [part.uid for part in receipt.contributions] + [part.uid for part in receipt.exclusions]
        assert sorted(named) == sorted(state.result.closed.submissions)
        assert state.result.closed.number == state.rounds - 1
        assert not set(state.result.holders) & set(state.result.missing)
        assert state.result.losses.keys() <= state.members.keys()
    if state.round:
        now = state.round
        assert state.terms is not None
        assert not state.over
        assert now.number == state.rounds
        assert not now.submissions.keys() & now.late.keys()
        assert {*now.submissions, *now.late} <= state.members.keys()
        assert now.phase == "collecting" or len(now.submissions) >= state.terms.min_peers
        assert not now.late or now.phase == "frozen"
        assert not now.leader or state.members[now.leader].may_lead
        assert not state.result or now.base == state.result.digest
        if not now.leader:
            assert not [member for member in state.members.values() if member.may_lead and member.present]


def check_step(before: Training, after: Training) -> None:
    """Asserts what holds between a state and the next."""
    if after.run != before.run:
        assert (after.run, after.members, after.rounds) == (before.run + 1, {}, 0)
        return
    assert before.terms in (None, after.terms)
    assert before.members.keys() <= after.members.keys()
    assert after.rounds - before.rounds in (-1, 0, 1)
    if after.rounds < before.rounds:
        assert after.result is None
        assert before.result is not None
        assert set(before.result.missing) >= {uid for uid, member in before.members.items() if member.present}
    if before.round and after.round and before.round.number == after.round.number:
        assert after.round.term - before.round.term in (0, 1)
        if after.round.term == before.round.term and before.round.leader:
            assert after.round.leader == before.round.leader


@pytest.mark.parametrize("seed", range(25))
def test_the_invariants_of_a_training_hold_under_random_transactions(seed: int) -> None:
    script = Script(seed)
    for _ in range(160):
        script.step()
    assert script.refused > 10
    assert script.ledger.chain.height > 40
    again = replay(script.ledger.blocks, Chain())
    assert again.world.state_hash() == script.ledger.chain.world.state_hash()


def test_the_random_scripts_reach_publications_voids_new_leaders_and_resets() -> None:
    """Rounds are published and voided, leaders change, trainings end and are reset."""
    scripts = [Script(seed) for seed in range(100, 110)]
    seen = set()
    for script in scripts:
        for _ in range(160):
            before = script.ledger.training
            script.step()
            after = script.ledger.training
            now = after.round
            happened = {
                "published": after.rounds > before.rounds,
                "voided": after.rounds < before.rounds and after.run == before.run,
                "over": after.over,
                "reset": after.run > before.run,
                "term": now is not None and now.term > 0,
                "late": now is not None and bool(now.late),
                "barred": now is not None and bool(now.barred),
                "restarted": any(member.attendance == "restarted" for member in after.members.values()),
            }
            seen |= {name for name, true in happened.items() if true}
    assert seen == happened.keys()
