"""Who may read what of a swarm's models, as docs/security.md and docs/protocol.md state it: kept apart from the code
that nodes answer by, and made of what the ledger has shown block by block."""

from collections.abc import Iterable

from swarmlearning.ledger.bodies import Check
from swarmlearning.ledger.contracts.training.checks import Checks
from swarmlearning.ledger.contracts.training.slices import Slicing
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.ledger.contracts.training.submissions import kept_back


class ReadRule:
    """Remembers who has been told to merge each slice, and who has said that it checks."""

    def __init__(self) -> None:
        self._mergers: dict[tuple[int, int], list[set[str]]] = {}
        self._checkers: set[tuple[int, str, str]] = set()

    def advanced(self, before: Training, after: Training, sender: str, body: object) -> None:
        """Remembers what is new in this block."""
        for slicing in after.slicings:
            known, key = slicing_of(before, slicing.round), (after.run, slicing.round)
            if slicing is known:
                continue
            if known is None or len(known.slices) != len(slicing.slices):
                self._mergers[key] = [set() for _ in slicing.slices]
            for mergers, each in zip(self._mergers[key], slicing.slices, strict=True):
                mergers.add(each.merger)
        if after.checks is None:
            self._checkers.clear()
        elif isinstance(body, Check):
            self._checkers.add((body.round, body.result, sender))

    def allows(self, state: Training, holder: str, reader: str, digest: str, wanted: range) -> bool:
        """Whether the holder, at the newest block, is to give these units of a model to a registered node. None at all
        are wanted of whoever may read some.

        A contribution to a round in slices is for those that were told to merge the slice, once the round is frozen,
        and for those that check the part and have said so, while contributions are kept. Where one leader merges it is
        for that leader. Results, and slices of them, are for members.
        """
        runs: list[tuple[int, int]] = []
        in_slices = False
        for current in rounds_of(state):
            entry = current.submissions.get(holder) or current.late.get(holder)
            if entry is None or entry.digest != digest or digest == current.base:
                continue
            slicing, mode = slicing_of(state, current.number), state.merge_mode
            if slicing is not None and slicing.over:
                slicing = None
            awaited = mode is not None and mode.round == current.number and mode.sliced
            if current is state.round and slicing is None and not awaited:
                return reader == current.leader
            checked = self._checked(state, current.number, holder, reader)
            in_slices = in_slices or slicing is not None or current is state.round or bool(checked)
            runs += checked
            if slicing is not None and _is_merged(current, slicing, holder):
                told = zip(self._mergers[state.run, current.number], slicing.slices, strict=True)
                runs += [(each.start, each.stop) for mergers, each in told if reader in mergers]
        if in_slices:
            return _cover(runs, wanted) if wanted else bool(runs)
        results = {each.base for each in rounds_of(state)} | {each.recipe for each in state.slicings}
        if state.result is not None:
            results.add(state.result.digest)
        return digest in results and reader in state.members

    def _checked(self, state: Training, number: int, holder: str, reader: str) -> list[tuple[int, int]]:
        """The part that this reader checks of a result that stands, until the next contributors are fixed."""
        checks = state.checks
        if checks is None or checks.round != number or (number, checks.result, reader) not in self._checkers:
            return []
        if not _stands(state, checks) or holder not in {one.uid for one in checks.recipe.contributors}:
            return []
        return [(part.start, part.stop) for part in checks.parts if part.uid == reader]


def rounds_of(state: Training) -> list[Round]:
    """The round in progress, and that of the standing result."""
    rounds = [state.round] if state.round else []
    return [*rounds, state.result.closed] if state.result else rounds


def _stands(state: Training, checks: Checks) -> bool:
    result, current = state.result, state.round
    if result is None or state.settled or (result.closed.number, result.digest) != (checks.round, checks.result):
        return False
    return current is None or current.phase == "collecting"


def _is_merged(current: Round, slicing: Slicing, holder: str) -> bool:
    """Whether its model is merged: it has come in time, has weight, and is neither left out nor kept back."""
    entry = current.submissions.get(holder)
    out = {each.uid for each in slicing.excluded} | kept_back(current.submissions, current.base)
    return entry is not None and entry.weight > 0 and holder not in out


def _cover(runs: Iterable[tuple[int, int]], wanted: range) -> bool:
    """Whether all wanted units lie in these runs."""
    reached = wanted.start
    for start, stop in sorted(runs):
        if start <= reached < stop:
            reached = stop
    return reached >= wanted.stop
