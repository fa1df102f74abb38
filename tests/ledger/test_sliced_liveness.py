"""A sliced round comes to its end whatever has happened to it, as soon as the honest members are there for long enough.

Random troubles come first: members are lost and return, change their minds about merging, leaders change. One member is
hostile throughout: it states false digests, copies that it does not hold, and faults that there are not, takes slices
from others while it leads, and serves nothing to anybody. Then the honest ones do what they should, in turns.
"""

from collections.abc import Callable, Sequence
from functools import partial
from random import Random

import pytest

from support.network import session
from support.play import merged, model, receipt_of
from support.slicing import LARGE, root
from swarmlearning.ledger.bodies import Depose, Exclusion, Held, Publish, Reassign, ReportFault, Sliced, Submit
from swarmlearning.ledger.bodies import StateLink as Link
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training import publishing, recovery, sessions, slicing, transactions
from swarmlearning.ledger.contracts.training.assigning import not_held
from swarmlearning.ledger.contracts.training.slices import Slicing, roots_of
from swarmlearning.ledger.contracts.training.state import Round, Training, alive, empty

TURNS = 60
"""In which the honest members bring the round to its end; each has time for one statement of each kind."""


class Schedule:
    """A round of members that are honest, but for one. `bytes_of`: who of the honest holds which slice with which
    digest; nothing else can be fetched."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.sites = "abcde"[: self.dice.choice((3, 4, 5))]
        self.hostile = self.dice.choice(self.sites)
        self.honest = [uid for uid in self.sites if uid != self.hostile]
        self.state: Training = empty(f"contract {seed}")
        self.clock = 0
        self.bytes_of: dict[tuple[str, int, str], set[str]] = {}
        for uid in self.sites:
            self.then(partial(sessions.open_session, self.state, session(2), uid, 1, self.clock))
        self.submit_all()
        assert self.slicing

    # --- one step -----------------------------------------------------------------------------------------------------

    def then(self, change: Callable[[], Training]) -> bool:
        """True if this transaction is accepted."""
        self.clock += 1
        try:
            self.state = slicing.follow(change(), self.clock)
        except Rejection:
            return False
        return True

    @property
    def round(self) -> Round:
        assert self.state.round is not None
        return self.state.round

    @property
    def slicing(self) -> Slicing | None:
        return slicing.slicing_of(self.state, self.round.number)

    def submit_all(self) -> None:
        for uid in self.sites:
            body = Submit(self.round.number, self.round.base, "trained", model(uid, 0), LARGE, 1)
            self.then(partial(transactions.submit, self.state, body, uid, self.clock))

    def attend(self, uid: str, attendance: str) -> None:
        self.then(lambda: sessions.set_attendance(self.state, uid, attendance, 1, self.clock))  # type: ignore[arg-type]

    def state_slice(self, uid: str, index: int, what: str) -> None:
        if (found := self.slicing) is None:
            return
        body = Sliced(found.round, found.recipe, index, what)
        if self.then(lambda: slicing.sliced(self.state, body, uid)) and uid in self.honest:
            self.bytes_of.setdefault((found.recipe, index, what), set()).add(uid)

    def fault(self, uid: str, index: int, other: str) -> None:
        if found := self.slicing:
            exclusion = Exclusion(other, self.dice.choice(("unreachable", "non-finite", "structure")), "")
            body = ReportFault(found.round, found.recipe, index, exclusion)
            self.then(lambda: slicing.report_fault(self.state, body, uid))

    def hold(self, uid: str, indexes: tuple[int, ...]) -> None:
        if (found := self.slicing) and indexes:
            body = Held(found.round, found.recipe, indexes, roots_of(found.slices, indexes))
            self.then(lambda: slicing.held(self.state, body, uid))

    def reassign(self, uid: str, index: int) -> None:
        if found := self.slicing:
            body = Reassign(found.round, self.round.term, found.recipe, (index,))
            self.then(lambda: slicing.reassign(self.state, body, uid))

    def depose(self) -> None:
        for uid in self.honest:
            body = Depose(self.round.number, self.round.term, 1, 0, "progress")
            depose = partial(recovery.depose, self.state, body, uid, organisation="", by_sn=False)
            self.then(partial(depose, leader_incarnation=1, leader_height=0))

    # --- trouble ------------------------------------------------------------------------------------------------------

    def trouble(self) -> None:
        dice, found = self.dice, self.slicing
        uid = dice.choice(self.sites)
        match dice.randrange(6):
            case 0:
                self.attend(uid, dice.choice(("lost", "present", "present", "ml-lost")))
            case 1:
                merges = dice.random() < 0.6
                self.then(lambda: slicing.state_link(self.state, Link(dice.randrange(9), 1, merges), uid))
            case 2:
                self.depose()
            case 3 | 4:
                self.misbehave()
            case _ if found:
                self.work(uid, dice.sample(range(len(found.slices)), 2))

    def misbehave(self) -> None:
        found, dice, uid = self.slicing, self.dice, self.hostile
        if found is None:
            return
        for index, each in enumerate(found.slices):
            if uid in each.readers and dice.random() < 0.5:
                self.state_slice(uid, index, root(index, "a liar"))
            if dice.random() < 0.2:
                self.hold(uid, (index,))
            if each.merger == uid and dice.random() < 0.3:
                self.fault(uid, index, dice.choice(self.sites))
            if self.round.leader == uid and dice.random() < 0.3:
                self.reassign(uid, index)

    # --- what honest members do ---------------------------------------------------------------------------------------

    def work(self, uid: str, indexes: list[int]) -> None:
        """It merges what is its own of these, fetches what it can of the others, and says so."""
        if uid not in self.honest or uid not in alive(self.state) or not self.slicing:
            return
        for index in indexes:
            found = self.slicing
            if found is None:
                return
            each = found.slices[index]
            if each.merger == uid and uid not in each.roots:
                self.state_slice(uid, index, root(index))
        for index in indexes:
            found = self.slicing
            if found is None:
                return
            counted = found.slices[index].root
            there = self.bytes_of.get((found.recipe, index, counted), set())
            if counted and there & alive(self.state):
                there.add(uid)
                self.hold(uid, (index,))

    def lead(self) -> bool:
        """True if the leader has published, or the round is collected again."""
        uid, found = self.round.leader, self.slicing
        if found is None:
            return True
        if uid not in self.honest:
            return False
        has = [uid in self.bytes_of.get((found.recipe, i, each.root), ()) for i, each in enumerate(found.slices)]
        if all(has) and not not_held(self.state, found, uid):
            out = {part.uid: part.reason for part in found.excluded}
            body = Publish(self.round.number, self.round.term, merged(0), LARGE, receipt_of(self.round, out))
            return self.then(lambda: publishing.publish(self.state, body, uid, self.clock))
        for index, here in enumerate(has):
            if not here:
                self.reassign(uid, index)
        return False

    def ends(self) -> bool:
        """The honest are there and merge from now on; True if the round comes to its end."""
        for uid in self.honest:
            self.attend(uid, "present")
            self.then(partial(slicing.state_link, self.state, Link(1000 + self.clock, 1), uid))
        for turn in range(TURNS):
            if self.state.result or self.slicing is None:
                return True
            for uid in self.honest:
                self.work(uid, list(range(len(self.slicing.slices))))
                if self.slicing is None:
                    return True
            self.misbehave()
            if self.lead():
                return True
            if turn % 2:
                self.depose()
        return False


def broken(state: Training) -> str:
    """What must hold of slices at any time and does not; empty if all does."""
    for found in state.slicings:
        edges = [0, *(each.stop for each in found.slices)]
        if [each.start for each in found.slices] != edges[:-1] or edges[-1] != 4096:
            return "slices overlap, or lack"
        if any(each.merger not in state.members for each in found.slices):
            return "a merger is no member"
        if len(found.faults) > len(state.members) * len(found.slices):
            return "faults without bound"
        for each in found.slices:
            if not each.roots.keys() <= each.readers:
                return "somebody has stated a slice that it may not read"
    return ""


STUCK_ONCE = (127, 131, 203, 275, 443, 571)
"""The digest of one liar went on to count after others were back, or after the only ones left had contradicted it."""


@pytest.mark.parametrize("seeds", [range(10), STUCK_ONCE])
def test_every_round_ends_once_the_honest_members_are_there(seeds: Sequence[int]) -> None:
    for seed in seeds:
        schedule = Schedule(seed)
        for _ in range(schedule.dice.randrange(25)):
            if schedule.slicing is None:
                break
            schedule.trouble()
            assert not broken(schedule.state), seed
        else:
            assert schedule.ends(), seed
        assert not broken(schedule.state), seed
