"""What a site serves of the models that it has contributed: in which rounds what its privacy lock has given, and which
parts to the mergers of slices, and to those who check them."""

from collections.abc import Set

from swarmlearning.choices import Transfer
from swarmlearning.ledger.contracts.training.checking import readable_parts
from swarmlearning.ledger.contracts.training.recipes import contributions
from swarmlearning.ledger.contracts.training.slices import Slice
from swarmlearning.ledger.contracts.training.slicing import is_to_be_sliced, open_slicing
from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.ledger.contracts.training.submissions import NO_MODEL, Submission, kept_back
from swarmlearning.ledger.contracts.training.transfers import transfer_in


def is_served(state: Training, uid: str, digest: str) -> bool:
    """True if this member has submitted this model to the round in progress, or to that of the standing result, and its
    demand for contributors is met; that is known only once the contributors of the round are fixed."""
    return any(_is_served_in(current, uid, digest) for current in rounds_of(state))


def readable_slices(state: Training, uid: str, digest: str, readers: Set[str]) -> tuple[Slice, ...] | None:
    """The slices of a model that these members may read since they merge them, have merged them, or check them. None
    of one that member `uid` has not contributed to a round merged in slices, in progress or that of the standing
    result: what is read of it does not depend on slices.

    There are no such slices of a round that is not frozen yet, and of a model that came late or was left out. Whoever
    calls such a model the result of the round does not open it by that.
    """
    found: list[Slice] = []
    in_slices = False
    for current in rounds_of(state):
        entry = current.submissions.get(uid) or current.late.get(uid)
        if entry is None or entry.digest != digest or digest == current.base:
            continue
        slicing = open_slicing(state, current.number)
        if slicing is None and current is state.round and not is_to_be_sliced(state, current.number):
            return None
        checked = readable_parts(state, current.number, uid, readers)
        found += [Slice(part.start, part.stop, part.uid) for part in checked]
        in_slices = in_slices or slicing is not None or current is state.round or bool(checked)
        if slicing is not None and any(each.uid == uid for each in contributions(state, current, slicing.excluded)):
            found += [each for each in slicing.slices if not each.readers.isdisjoint(readers)]
    return tuple(found) if in_slices else None


def stated_by(state: Training, uid: str) -> list[Submission]:
    """What this member has submitted to these rounds."""
    entries = [each.get(uid) for current in rounds_of(state) for each in (current.submissions, current.late)]
    return [entry for entry in entries if entry is not None]


def coded_as(state: Training, digest: str) -> Transfer:
    """How this contribution to the round in progress, or to that of the standing result, is coded; `float32` for whole
    models and for what is none."""
    for current in rounds_of(state):
        entries = [*current.submissions.values(), *current.late.values()]
        if digest not in (current.base, NO_MODEL) and any(one.digest == digest for one in entries):
            return transfer_in(state, current.base)
    return "float32"


def rounds_of(state: Training) -> list[Round]:
    """The round in progress and that of the standing result."""
    return [each for each in (state.round, state.result and state.result.closed) if each]


def _is_served_in(current: Round, uid: str, digest: str) -> bool:
    entry = current.submissions.get(uid) or current.late.get(uid)
    if entry is None or entry.digest != digest:
        return False
    fixed = current.phase == "frozen" and uid in current.submissions
    return entry.contributors == 1 or (fixed and uid not in kept_back(current.submissions, current.base))
