"""How long the rounds of a training have taken lately, and when each member's model was last in one.

The ledger keeps the newest state of a contract only, so that is noted from one state to the next (`noted`), and after a
start read from the last blocks (`recalled`).
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from statistics import median
from typing import Final, NamedTuple

import msgspec

from swarmlearning.ledger.block import Block
from swarmlearning.ledger.contracts.training.bodies import Publish
from swarmlearning.ledger.contracts.training.state import Training

KEPT: Final = 64
USUAL: Final = 16
"""The last rounds that say how long one usually takes."""


class Lately(msgspec.Struct, frozen=True):
    """The last closed rounds of one run of a contract, of which `rounds` are closed. `taken_ms`: the milliseconds of
    each of the last ones, the newest last. `seen`: for each member in how many rounds its model was merged, and how
    many were closed when that number was last seen to grow, or the member for the first time."""

    run: int
    rounds: int
    taken_ms: tuple[int, ...] = ()
    seen: dict[str, tuple[int, int]] = {}

    @property
    def usual_ms(self) -> int | None:
        """The median of the last rounds' milliseconds; None before the first one."""
        return round(median(self.taken_ms[-USUAL:])) if self.taken_ms else None

    def missed(self, uid: str) -> int:
        """The number of rounds that were closed since this member's model was last in one."""
        return self.rounds - self.seen[uid][1] if uid in self.seen else 0


def noted(before: Lately | None, state: Training) -> Lately:
    """What is known once the contract is in this state, `before` after another state of it."""
    if before is None or before.run != state.run:
        before = Lately(state.run, -1)
    taken = before.taken_ms
    if state.rounds != before.rounds and (last := _taken_ms(state)) is not None:
        taken = (*taken, last)[-KEPT:]
    seen = {
        uid: before.seen[uid]
        if uid in before.seen and before.seen[uid][0] == member.contributed
        else (member.contributed, state.rounds)
        for uid, member in state.members.items()
    }
    return Lately(state.run, state.rounds, taken, seen)


class Published(NamedTuple):
    """A round whose result a block of this height has (its time in Unix milliseconds), merged from these members'
    models."""

    contract: str
    round: int
    height: int
    time_ms: int
    members: frozenset[str]


def published(block: Block) -> Iterator[Published]:
    """The rounds of a block that is not void."""
    for signed in block.transactions:
        body, contract = signed.content.body, signed.content.contract
        if isinstance(body, Publish) and body.result:
            members = frozenset(part.uid for part in body.receipt.contributions)
            yield Published(contract, body.round, block.header.height, block.header.time_ms, members)


def recalled(past: Iterable[Published], state: Training) -> Lately:
    """What the last blocks, oldest first, tell of a contract that is in this state now.

    A member that is in none of their rounds has missed them all, unless it was in none before either: it may be new.
    """
    rounds = [each for each in past if each.contract == state.name and each.height > state.reset_height]
    taken = [
        max(0, later.time_ms - earlier.time_ms)
        for earlier, later in pairwise(rounds)
        if later.round == earlier.round + 1
    ]
    last = {uid: each.round + 1 for each in rounds for uid in each.members}
    first = rounds[0].round if rounds else state.rounds
    known = noted(None, state)
    seen = {
        uid: (member.contributed, last.get(uid, first if member.contributed else state.rounds))
        for uid, member in state.members.items()
    }
    return Lately(state.run, state.rounds, tuple(taken[-KEPT:]) or known.taken_ms, seen)


def _taken_ms(state: Training) -> int | None:
    """How long the round that was closed last has taken; None where no other is open yet, or it is collected again."""
    closed = state.result.closed if state.result else None
    if closed is None or state.round is None or state.round.number <= closed.number:
        return None
    return max(0, state.round.opened_ms - closed.opened_ms)
