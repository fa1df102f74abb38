"""Models that members miss, and when one is lost: training cannot go on with it."""

from typing import NamedTuple

from swarmlearning.ledger.contracts.training.majorities import outnumber
from swarmlearning.ledger.contracts.training.state import (
    Training,
    alive,
    enough,
    needed_organisations,
    organisations_of,
)


class Misses(NamedTuple):
    """The members that miss the model to train on from, which is the result of round `number`; of these, some have
    `given_up` after trying for long, or get it far too slowly."""

    number: int
    missing: tuple[str, ...]
    given_up: tuple[str, ...]
    slow: tuple[str, ...] = ()


def misses(state: Training) -> Misses | None:
    """The members that miss the standing result, or, where that is void, the base of the round in progress."""
    result, current = state.result, state.round
    if result is not None:
        return Misses(result.closed.number, result.missing, result.given_up, result.slow)
    if current is None or not current.base:
        return None
    return Misses(current.number - 1, current.base_missing, current.base_given_up)


def lost_model(state: Training) -> int | None:
    """The round whose result is lost: training cannot go on with it. None where none is, or too few are there to judge.

    That is so of a model that all miss; of one that too few hold to go on with, while the others have given up; and of
    one that those have given up who can go on without it and `outnumber` its holders. Whoever does not miss a base
    counts as its holder. Those who miss it or have given up are of as many organisations as a round needs, or of all
    but one: a single one takes no result away from the others.
    """
    there, missed = alive(state), misses(state)
    if state.terms is None or state.settled or not there or missed is None:
        return None
    if not enough(state, there) and not state.over:
        return None  # who is away may have it; once training is over nobody new can come in their place
    missing, given_up = there.intersection(missed.missing), there.intersection((*missed.given_up, *missed.slow))
    holders = _holders(state, missed, there)
    everybody = missing == there and _may_judge(state, missing)
    alone = not enough(state, holders) and _may_judge(state, given_up) and holders | given_up == there
    return missed.number if everybody or alone or outnumber(state, given_up, holders) else None


def is_out_of_reach(state: Training) -> bool:
    """True if the model to train on from stands, and all who are there and do not hold it have given it up: nobody
    waits for it any more, and its round is not collected again."""
    there, missed = alive(state), misses(state)
    if missed is None or lost_model(state) is not None:
        return False
    return there <= _holders(state, missed, there).union(missed.given_up)


def _holders(state: Training, missed: Misses, there: set[str]) -> set[str]:
    """Those of these members that hold the model: of a base, all who do not miss it."""
    return there.intersection(state.result.holders) if state.result else there.difference(missed.missing)


def _may_judge(state: Training, uids: set[str]) -> bool:
    """True if there are any such members, and they are of enough organisations that others believe them."""
    others = len(organisations_of(state, state.members)) - 1
    return bool(uids) and len(organisations_of(state, uids)) >= min(needed_organisations(state), others)
