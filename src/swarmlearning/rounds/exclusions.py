"""What the ledger gets to know of a model that is left out of a merge."""

from swarmlearning.ledger.bodies import Exclusion
from swarmlearning.ledger.contracts.training.submissions import Submission
from swarmlearning.rounds.events import FetchCode


def kept_back_exclusion(entry: Submission, contributors: int) -> Exclusion:
    """Of a model that its site does not serve to so few contributors."""
    text = f"its privacy lock gives its model to {entry.contributors} contributors, and the round has {contributors}"
    return Exclusion(entry.uid, "kept-back", text)


def exclusion_of(uid: str, code: FetchCode) -> Exclusion:
    """Of a model that could not be fetched: a code, nothing of the connection."""
    return Exclusion(uid, "too-slow" if code == "too-slow" else "unreachable", code)
