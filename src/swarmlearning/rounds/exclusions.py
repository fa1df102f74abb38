"""What the ledger gets to know of a model that is left out of a merge."""

from typing import Final

from swarmlearning.ledger.bodies import Exclusion
from swarmlearning.ledger.contracts.training.submissions import Submission
from swarmlearning.rounds.events import FetchCode

MISSHAPEN: Final = "its file is not laid out like those that this round merges"


def kept_back_exclusion(entry: Submission, contributors: int) -> Exclusion:
    """Of a model that its site does not serve to so few contributors."""
    text = f"its privacy lock gives its model to {entry.contributors} contributors, and the round has {contributors}"
    return Exclusion(entry.uid, "kept-back", text)


def exclusion_of(uid: str, code: FetchCode) -> Exclusion:
    """Of a model that could not be fetched: a code, nothing of the connection. One of another size can be had, and is
    proven by its digest to be of no use."""
    if code == "misshapen":
        return Exclusion(uid, "structure", MISSHAPEN)
    return Exclusion(uid, "too-slow" if code == "too-slow" else "unreachable", code)
