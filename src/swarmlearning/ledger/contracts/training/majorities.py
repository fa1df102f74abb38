"""Which members decide against others: those who hold a result, miss it, or have given it up."""

from collections.abc import Collection

from swarmlearning.ledger.contracts.training.state import (
    Training,
    alive,
    enough,
    needed_organisations,
    organisations_of,
)


def all_hold(state: Training) -> bool:
    """True if every present member holds the standing result, and at least one that is alive (with or without its ML).

    Members that have given it up do not count where enough others hold it.
    """
    result, there = state.result, alive(state)
    if result is None or state.terms is None:
        return False
    holders, lacking = there.intersection(result.holders), lacking_result(state)
    if not lacking:
        return bool(holders)
    return lacking <= set(result.given_up) and enough(state, holders) and not outnumber(state, lacking, holders)


def lacking_result(state: Training) -> set[str]:
    """The members that are present and do not hold the standing result."""
    holders = state.result.holders if state.result else ()
    return {uid for uid, member in state.members.items() if member.present and uid not in holders}


def outweigh(state: Training, uids: Collection[str], others: Collection[str]) -> bool:
    """True if these members can go on without the others: they are enough, and no fewer unless those are not enough.

    So many sites of too few organisations hold up nobody. Where a round needs several organisations these are counted:
    many sites of one of them weigh as much as one.
    """
    if not enough(state, uids):
        return False
    return _votes(state, uids) >= _votes(state, others) or not enough(state, others)


def outnumber(state: Training, given_up: Collection[str], holders: Collection[str]) -> bool:
    """True if those who have given a model up go on without it, whoever holds it.

    Of sites they have to be more than the holders. Of organisations as many are enough where a round needs several: one
    of them may only say that it holds the model, and by that make a holder whom nobody can fetch from a majority.
    """
    if needed_organisations(state) > 1:
        return outweigh(state, given_up, holders)
    return enough(state, given_up) and not outweigh(state, holders, given_up)


def _votes(state: Training, uids: Collection[str]) -> int:
    return len(organisations_of(state, uids)) if needed_organisations(state) > 1 else len(uids)
