"""What the ledger says about merges that a site's user has to know, each said once.

A model with NaN or infinity is left out and the round goes on; its own user learns it in the training log. Where that
leaves too few models, its ML process can only be ended: the round waits for another model, and it for the round. A
user may also want all training to stop at the first such model (`SL_NON_FINITE=fail`).
"""

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from swarmlearning.ledger.bodies import Receipt
from swarmlearning.ledger.contracts.training.state import Result, Training
from swarmlearning.merge.geomedian import majority
from swarmlearning.rounds.settings import OnNonFinite
from swarmlearning.views.names import Names, name_of


class Remark(NamedTuple):
    """A line for people. `own`: about this site, so for its training log too; `fatal`: training ends here."""

    text: str
    own: bool = False
    fatal: bool = False


class Remarks:
    """Looks at each state of one contract for the site `uid`; what `known` shows already is not said."""

    def __init__(self, uid: str, on_non_finite: OnNonFinite, known: Training) -> None:
        self._uid = uid
        self._fail = on_non_finite == "fail"
        self._said: set[tuple[object, ...]] = set()
        self.new(known, {})

    def new(self, state: Training, names: Names) -> list[Remark]:
        """Returns the remarks that were not returned before."""
        found: dict[tuple[object, ...], Remark] = dict(_unusable(state, self._uid))
        if state.result is not None:
            found |= _left_out(state, state.result, self._uid, self._fail, names)
            found |= _alone(state, state.result.receipt, names)
        fresh = [remark for key, remark in found.items() if key not in self._said]
        self._said |= found.keys()
        return fresh


_Keyed: TypeAlias = Iterator[tuple[tuple[object, ...], Remark]]


def _left_out(state: Training, result: Result, uid: str, fail: bool, names: Names) -> _Keyed:
    number = result.closed.number
    for entry in result.receipt.exclusions:
        own, ends = entry.uid == uid, fail and entry.reason == "non-finite"
        whose = f"the model of {'this site' if own else name_of(names, entry.uid)} was left out of the merge"
        text = f"Round {number}: {whose}: {entry.reason}, {entry.detail}"
        if own and entry.reason == "non-finite":
            text += ". NaN or infinity: a learning rate that is too high, or data to look at"
        if ends:
            text += ". Training ends here, as SL_NON_FINITE=fail asks"
        yield (state.run, number, result.digest, entry.uid), Remark(text, own, ends)


def _unusable(state: Training, uid: str) -> _Keyed:
    """Without this site's model there are too few."""
    if state.round is not None and (barred := state.round.barred.get(uid)):
        yield (
            (state.run, barred.digest),
            Remark(
                f"Round {state.round.number}: the model of this site is unusable ({barred.why}), "
                "and without it there are fewer than minPeers. Correct the training script and start it again",
                own=True,
                fatal=True,
            ),
        )


def _alone(state: Training, receipt: Receipt, names: Names) -> _Keyed:
    """At least half of the weight makes one model the geometric median, whatever the others are."""
    parts = [part for part in receipt.contributions if part.weight]
    alone = majority([part.weight for part in parts])
    if receipt.method == "geomedian" and len(parts) > 1 and alone is not None:
        uid = parts[alone].uid
        yield (
            (state.run, "alone", uid),
            Remark(
                f"The geometric median is the model of {name_of(names, uid)} alone, which has at least half of the "
                "weight: the other models are without effect. Choose other weights (nodeWeightage), or the method mean",
                own=True,
            ),
        )
