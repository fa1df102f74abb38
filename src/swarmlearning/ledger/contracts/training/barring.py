"""Models that leaders of a round have found unusable, and which of them may not be submitted to it.

One leader may be wrong, or lie, so the next one judges the model anew; what leaders of enough organisations have found
is believed. How many are enough depends on who is there, and is asked each time: where one organisation alone has
barred a model while the others were away, it is judged anew once they are back.
"""

from collections.abc import Collection

from swarmlearning.ledger.contracts.training.bodies import Exclusion
from swarmlearning.ledger.contracts.training.state import Barred, Round, Training, needed_organisations
from swarmlearning.ledger.contracts.training.transitions import are_enough


def found_unusable(current: Round, part: Exclusion, by: Collection[str]) -> Barred:
    """Its leader, or mergers of its slices, have found this member's model unusable."""
    digest, known = current.submissions[part.uid].digest, current.barred.get(part.uid)
    before = known.leaders if known and known.digest == digest else ()
    return Barred(digest, part.why, tuple(sorted({*before, *by})))


def is_barred(state: Training, uid: str, digest: str) -> bool:
    """True if this model may not be submitted to the round in progress while its present leader leads."""
    current = state.round
    bar = current.barred.get(uid) if current else None
    if current is None or bar is None or bar.digest != digest:
        return False
    return current.leader in bar.leaders or is_believed(state, uid, bar)


def is_believed(state: Training, uid: str, bar: Barred) -> bool:
    """True if two leaders have found this member's model unusable, of as many organisations as a round needs, and of
    two where three or more take part; or of all others that are there."""
    reporters = {leader: state.members[leader].organisation for leader in bar.leaders}
    return are_enough(state, uid, reporters, organisations=max(2, needed_organisations(state)))
