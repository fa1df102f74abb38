"""The recipe of a round, and how its model is cut into slices. Pure."""

from collections.abc import Collection
from typing import Final

from swarmlearning.ledger.contracts.training.bodies import Exclusion
from swarmlearning.ledger.contracts.training.sizes import model_size
from swarmlearning.ledger.contracts.training.slices import Capacity, Contributor, Recipe, Slicing, divide, stated
from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.ledger.contracts.training.submissions import kept_back
from swarmlearning.ledger.contracts.training.transfers import back_in, transfer_in
from swarmlearning.ledger.contracts.training.transitions import place_in
from swarmlearning.ledger.contracts.training.weighing import coefficients, median_of_few

SLICED_METHODS: Final = frozenset({"mean", "coordmedian", "geomedian"})
SURVEYED: Final = "geomedian"
"""The method whose coefficients follow from the models, which are surveyed first."""
MOST_SURVEYED: Final = 64
"""Models: the statistics of more are too much to send (`merge/parts.py`)."""
MOST_SURVEYS: Final = 2


def recipe_of(state: Training, current: Round, slicing: Slicing | None = None) -> Recipe:
    """All that the bytes of the round's result follow from; or of a survey, where coefficients are not known yet.
    With other contributors than those that a leader has weighed the surveys begin anew."""
    assert state.terms is not None
    method, survey = state.terms.merge_method, 0
    parts = contributions(state, current, slicing.excluded if slicing else ())
    if method == SURVEYED:
        if slicing and [_model(one) for one in slicing.weighed] == [_model(one) for one in parts]:
            parts, survey = slicing.weighed, slicing.survey
        elif few := median_of_few([one.coefficient for one in parts]):
            parts = weighed(parts, few)
        else:
            survey = 1
    ways = transfer_in(state, current.base), back_in(state, current.base)
    return Recipe(state.network, state.name, state.run, current.number, method, current.base, parts, survey, *ways)


def weighed(parts: Collection[Contributor], shares: Collection[int]) -> tuple[Contributor, ...]:
    """These models with these coefficients."""
    return tuple(Contributor(one.uid, one.digest, share) for one, share in zip(parts, shares, strict=True))


def _model(one: Contributor) -> tuple[str, str]:
    return one.uid, one.digest


def contributions(state: Training, current: Round, excluded: Collection[Exclusion]) -> tuple[Contributor, ...]:
    """The models that are merged, in the order of their UIDs."""
    out = kept_back(current.submissions, current.base).union(each.uid for each in excluded)
    entries = [one for uid, one in sorted(current.submissions.items()) if one.weight > 0 and uid not in out]
    weighed = coefficients(state, {one.uid: one.weight for one in entries})
    return tuple(Contributor(one.uid, one.digest, weighed[one.uid]) for one in entries)


def is_divisible(state: Training, current: Round) -> bool:
    """True if this frozen round can be merged in slices: two members that can merge are needed, and two models."""
    terms, parts = state.terms, contributions(state, current, ())
    single = terms is not None and terms.initial == "one" and current.number == 0
    if terms is None or terms.merge_method not in SLICED_METHODS or single or not model_size(state, current):
        return False
    if terms.merge_method == SURVEYED and len(parts) > MOST_SURVEYED:
        return False
    return len({one.digest for one in parts}) >= 2 and len(_mergers(state, current)) >= 2


def divided(state: Training, current: Round) -> Slicing | None:
    """The frozen round cut into slices; None where that cannot be, also since its model has too few chunks."""
    if not is_divisible(state, current):
        return None
    recipe, able, size = recipe_of(state, current), _mergers(state, current), model_size(state, current)
    sites = [uid for uid, member in state.members.items() if member.present]
    slowest = min((each.capacity for each in state.links if each.capacity and each.uid in sites), default=0)
    slices = divide(able, len(sites), size, slowest)
    if len({each.merger for each in slices}) < 2:
        return None
    return Slicing(current.number, recipe.name, slices, survey=recipe.survey)


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
