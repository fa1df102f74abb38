"""When things happened in the rounds of a chain, by block times: opened, models in, frozen, leaders, closed.

Block times are what SNs have sealed; they never go back, and none of them is any node's own measurement.
"""

import sys
from typing import Final, TypeAlias

import msgspec

from swarmlearning.ledger.chain import Step
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.world import World
from swarmlearning.views.sliced import RoundWay, closed_way

WAYS: Final = 256
"""Rounds of which it is remembered how they were merged: with many sites that takes kilobytes a round."""

Key: TypeAlias = tuple[str, int, int]
"""Contract, run and round."""


class Moments(msgspec.Struct):
    """The moments of one round, in milliseconds (Unix time). `models`: when each member's model was in; `leaders`: who
    has led it, from when on; `frozen_ms`, `closed_ms`: None until then; a round that was made again has its latest.
    `way`: how it was merged; of the last `WAYS` rounds that are closed."""

    opened_ms: int
    models: dict[str, int]
    leaders: list[tuple[int, str]]
    frozen_ms: int | None = None
    closed_ms: int | None = None
    way: RoundWay | None = None


class Timeline:
    """Collects the moments of all rounds, block by block. Memory grows with rounds."""

    def __init__(self) -> None:
        self.rounds: dict[Key, Moments] = {}
        self._seen: dict[str, Training] = {}

    def add(self, step: Step) -> None:
        """Adds the next verified block, if it is not void."""
        now = step.block.header.time_ms
        for state in step.chain.world.area("training/", Training):
            before = self._seen.get(state.name)
            if before is not state:
                self._seen[state.name] = state
                self._note(before, state, now)

    def resume(self, world: World, rounds: dict[Key, Moments]) -> None:
        """Goes on from what was collected up to this world."""
        self.rounds = rounds
        self._seen = {state.name: state for state in world.area("training/", Training)}

    def _note(self, before: Training | None, state: Training, now: int) -> None:
        if before is not None and before.round is not None and before.run == state.run:
            later = state.round.number if state.round else state.rounds
            if later > before.round.number:
                self._close(before, state, now)
        if state.round is None:
            return
        current, key = state.round, (state.name, state.run, state.round.number)
        moments = self.rounds.get(key)
        if moments is None or moments.closed_ms is not None:
            moments = self.rounds[key] = Moments(current.opened_ms, {}, [])
        for uid in current.submissions:
            moments.models.setdefault(sys.intern(uid), now)
        for uid in moments.models.keys() - current.submissions.keys():
            del moments.models[uid]
        if not moments.leaders or moments.leaders[-1][1] != current.leader:
            moments.leaders.append((now, current.leader))
        moments.frozen_ms = (moments.frozen_ms or now) if current.phase == "frozen" else None

    def _close(self, before: Training, state: Training, now: int) -> None:
        assert before.round is not None
        moments = self.rounds.get((before.name, before.run, before.round.number))
        if moments is None:
            return
        if state.result is not None:
            for uid in state.result.closed.submissions:
                moments.models.setdefault(uid, now)
        moments.frozen_ms = moments.frozen_ms or now
        moments.closed_ms = now
        moments.way = closed_way(before, state)
        if (former := self.rounds.get((before.name, before.run, before.round.number - WAYS))) is not None:
            former.way = None
