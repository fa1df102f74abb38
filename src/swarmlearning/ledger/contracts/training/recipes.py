"""The recipe of a round, and how its model is cut into slices. Pure."""

from collections.abc import Collection

from swarmlearning.ledger.contracts.training.bodies import Exclusion
from swarmlearning.ledger.contracts.training.sizes import model_size
from swarmlearning.ledger.contracts.training.slices import Capacity, Contributor, Recipe, Slicing, divide, stated
from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.ledger.contracts.training.submissions import kept_back
from swarmlearning.ledger.contracts.training.transitions import place_in
from swarmlearning.ledger.contracts.training.weighing import coefficients

SLICED_METHODS = frozenset({"mean", "coordmedian"})
"""Those for which the coefficients are known as soon as the contributors are fixed."""


def recipe_of(state: Training, current: Round, excluded: Collection[Exclusion]) -> Recipe:
    """All that the bytes of the round's result follow from, without those excluded."""
    assert state.terms is not None
    return Recipe(
        network=state.network,
        contract=state.name,
        run=state.run,
        round=current.number,
        method=state.terms.merge_method,
        base=current.base,
        contributors=contributions(state, current, excluded),
    )


def contributions(state: Training, current: Round, excluded: Collection[Exclusion]) -> tuple[Contributor, ...]:
    """The models that are merged, in the order of their UIDs."""
    out = kept_back(current.submissions, current.base).union(each.uid for each in excluded)
    entries = [one for uid, one in sorted(current.submissions.items()) if one.weight > 0 and uid not in out]
    weighed = coefficients(state, {one.uid: one.weight for one in entries})
    return tuple(Contributor(one.uid, one.digest, weighed[one.uid]) for one in entries)


def divided(state: Training, current: Round) -> Slicing | None:
    """The frozen round cut into slices; None where that cannot be: two members that can merge are needed, and two
    models, of more than one chunk."""
    terms, size = state.terms, model_size(state, current)
    recipe = recipe_of(state, current, ())
    digests = {one.digest for one in recipe.contributors}
    single = terms is not None and terms.initial == "one" and current.number == 0
    if recipe.method not in SLICED_METHODS or single or len(digests) < 2 or not size:
        return None
    if len(able := _mergers(state, current)) < 2:
        return None
    sites = [uid for uid, member in state.members.items() if member.present]
    slowest = min((each.capacity for each in state.links if each.capacity and each.uid in sites), default=0)
    slices = divide(able, len(sites), size, slowest)
    return Slicing(current.number, recipe.name, slices) if len({each.merger for each in slices}) > 1 else None


def place(state: Training, uid: str) -> str:
    """Sorts members in the order that was fixed when the run began."""
    return place_in(state.order, uid)


def _mergers(state: Training, current: Round) -> list[Capacity]:
    """The members that merge, first the one whose turn it is: what each reads of the others moves from round to
    round."""
    able = [
        uid
        for uid, member in state.members.items()
        if member.present and not member.unreachable and stated(state.links, uid).merges
    ]
    able.sort(key=lambda uid: place(state, uid))
    turn = current.number % len(able) if able else 0
    return [Capacity(uid, stated(state.links, uid).capacity) for uid in (*able[turn:], *able[:turn])]
