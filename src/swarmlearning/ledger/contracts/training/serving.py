"""Models of a site with a privacy lock: in which rounds the site serves what its lock has given."""

from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.ledger.contracts.training.submissions import Submission, kept_back


def is_served(state: Training, uid: str, digest: str) -> bool:
    """True if this member has submitted this model to the round in progress, or to that of the standing result, and its
    demand for contributors is met; that is known only once the contributors of the round are fixed."""
    return any(_is_served_in(current, uid, digest) for current in rounds_of(state))


def stated_by(state: Training, uid: str) -> list[Submission]:
    """What this member has submitted to these rounds."""
    entries = [each.get(uid) for current in rounds_of(state) for each in (current.submissions, current.late)]
    return [entry for entry in entries if entry is not None]


def rounds_of(state: Training) -> list[Round]:
    """The round in progress and that of the standing result."""
    return [each for each in (state.round, state.result and state.result.closed) if each]


def _is_served_in(current: Round, uid: str, digest: str) -> bool:
    entry = current.submissions.get(uid) or current.late.get(uid)
    if entry is None or entry.digest != digest:
        return False
    fixed = current.phase == "frozen" and uid in current.submissions
    return entry.contributors == 1 or (fixed and uid not in kept_back(current.submissions, current.base))
