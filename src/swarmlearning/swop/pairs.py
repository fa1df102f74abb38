"""The SL+ML pairs of a RUN_SWARM: which are to be started, watched and stopped, and how each has ended. Pure."""

from collections.abc import Callable, Collection, Iterator, Mapping, Set

import msgspec

from swarmlearning.ledger.bodies import Pair, Reason
from swarmlearning.swop.facts import (
    Assigned,
    Failure,
    Memory,
    PairMemory,
    Start,
    Stop,
    Wait,
    Watch,
    Work,
)
from swarmlearning.swop.managing import PairState

SESSION_SECONDS = 3.0
"""An ML process that has ended with exit code 0 has ended its training: within this time, and as soon as this SWOP has
the blocks that an SN has then, the ledger shows it."""


class Pairs:
    """What this life of the SWOP knows of the pairs of one attempt; `Memory.pairs` has what survives it."""

    def __init__(self, indices: Collection[int], new_uid: Callable[[], str], *, end_hung: bool) -> None:
        self._indices = tuple(indices)
        self._new_uid = new_uid
        self._end_hung = end_hung
        self.forget()

    def forget(self) -> None:
        """Another attempt begins."""
        self._states: dict[int, PairState] = {}
        self._ended: dict[int, float] = {}  # when the ML process was seen to have ended with exit code 0
        self._overdue: set[int] = set()  # and those whose training has not ended on the ledger in the time for that
        self._stopped: set[int] = set()
        self._hung: set[int] = set()

    def new(self) -> tuple[PairMemory, ...]:
        """The pairs of a new attempt."""
        return tuple(PairMemory(index, self._new_uid()) for index in self._indices)

    def note(self, memory: Memory, work: Start | Watch | Stop | Wait, result: object, now: float) -> Memory | None:
        """Notes how a work on a pair has ended; returns the memory if that changes it."""
        match work:
            case Start(_, index, _) if isinstance(result, Failure):
                return self._with(memory, index, "failed", result.reason, None)
            case Start(_, index, _):
                self._states.setdefault(index, PairState(None, None))
            case Watch(_, index, _) if isinstance(result, PairState):
                self._states[index] = result
                if result.ml_code == 0:
                    self._ended.setdefault(index, now)
            case Stop(_, index) if not isinstance(result, Failure):
                self._stopped.add(index)
            case Wait("session", _, index):
                self._overdue.add(index)
        return None

    def stalled(self, index: int, hangs: bool) -> None:
        """Notes that an ML process makes no progress, or some again."""
        if hangs:
            self._hung.add(index)
        else:
            self._hung.discard(index)

    def settled(self, memory: Memory, assigned: Assigned, sessions: Mapping[str, bool]) -> Memory:
        """The memory with the outcome of each pair that has ended, and of the attempt once all are stopped."""
        for pair in memory.pairs:
            if pair.outcome is None and (found := self._outcome(pair, assigned, sessions)):
                memory = self._with(memory, pair.index, *found)
        if memory.type != "RUN_SWARM" or memory.outcome is not None:
            return memory
        if any(pair.outcome is None or pair.index not in self._stopped for pair in memory.pairs):
            return memory
        failed = next((pair for pair in memory.pairs if pair.outcome == "failed"), None)
        if failed is None:
            return msgspec.structs.replace(memory, outcome="complete")
        return msgspec.structs.replace(memory, outcome="failed", reason=failed.reason, exit_code=failed.exit_code)

    def ended(self, memory: Memory, reason: Reason) -> Memory:
        """The memory with all pairs failed that have not ended by themselves."""
        for pair in memory.pairs:
            if pair.outcome is None:
                memory = self._with(memory, pair.index, "failed", reason, None)
        return memory

    def wanted(self, memory: Memory, sessions: Mapping[str, bool]) -> Iterator[Work]:
        """The works that the pairs need now."""
        for pair in memory.pairs:
            attempt, index = memory.attempt, pair.index
            state = self._states.get(index)
            if pair.outcome is not None:
                if index not in self._stopped:
                    yield Stop(attempt, index)
            elif state is None:
                yield Start(attempt, index, pair.sl_uid)
            else:
                yield Watch(attempt, index, state)
                if index in self._ended and index not in self._overdue and not sessions.get(pair.sl_uid):
                    yield Wait("session", attempt, index, self._ended[index] + SESSION_SECONDS)

    def reports(self, memory: Memory, registered: Set[str]) -> tuple[Pair, ...]:
        """The pairs as the ledger gets them. One at work is reported once its SL is `registered`: before that, any
        member that reads its UID could register it first, and the SL would be refused. Nor is there more to lose by
        telling that a pair hangs, or how it has ended."""
        return tuple(
            Pair(pair.index, pair.sl_uid, pair.outcome or "running", self._reason(pair), pair.exit_code)
            for pair in memory.pairs
            if pair.outcome is not None or pair.index in self._hung or pair.sl_uid in registered
        )

    def _reason(self, pair: PairMemory) -> Reason | None:
        return "hung" if pair.outcome is None and pair.index in self._hung else pair.reason

    def _outcome(
        self, pair: PairMemory, assigned: Assigned, sessions: Mapping[str, bool]
    ) -> tuple[str, Reason | None, int | None] | None:
        """How a pair has ended; None while it goes on."""
        if pair.index in self._hung and self._end_hung:
            return "failed", "hung", None
        state = self._states.get(pair.index)
        if state is None:
            return None
        if state.ml_code:
            return "failed", "limit" if state.limited else "ml-exit", state.ml_code
        if state.sl_code:
            return "failed", "sl-exit", state.sl_code
        if state.ml_code is None:
            return None
        if state.sl_code == 0 or pair.index in assigned.loopback:
            return "complete", None, None
        return ("failed", "ml-exit", 0) if pair.index in self._overdue and not sessions.get(pair.sl_uid) else None

    def _with(self, memory: Memory, index: int, outcome: str, reason: Reason | None, exit_code: int | None) -> Memory:
        changes = {"outcome": outcome, "reason": reason, "exit_code": exit_code}
        pairs = (msgspec.structs.replace(pair, **changes) if pair.index == index else pair for pair in memory.pairs)
        return msgspec.structs.replace(memory, pairs=tuple(pairs))
