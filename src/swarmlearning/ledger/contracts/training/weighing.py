"""The weights with which the models of a merge count: the sites' own, after the cap on what one organisation has.

All arithmetic is exact until one rounding at the end, and depends on nothing but the state: every node computes the
same integers, so a leader's receipt can be checked.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from math import lcm

from swarmlearning.ledger.contracts.training.state import Training

LARGEST_SUM = 2**28
"""Coefficients that sum to more are rounded to this sum: the merge's arithmetic is exact for sums of up to 2^29."""
WHOLE = 2**29
"""The sum of a geometric median's coefficients (`merge.arithmetic.GRID`)."""
THOUSANDTHS = 1000
"""The unit of `Charter.max_organisation_weight`."""


def coefficients(state: Training, weights: Mapping[str, int]) -> dict[str, int]:
    """The weights in a merge of exactly these members' models, by UID; `weights` are those they were submitted with.

    Where the contract caps what one organisation's sites weigh together, the sites of each that exceeds the cap are
    scaled down in proportion. With so few organisations that the cap cannot hold, all of them weigh the same. Integers
    are exact where they sum to at most `LARGEST_SUM`; else rounded down, to no less than 1.
    """
    cap = state.charter.max_organisation_weight if state.charter else 0
    if not cap and sum(weights.values()) <= LARGEST_SUM:
        return dict(weights)
    scaled = _capped(state, weights, Fraction(cap, THOUSANDTHS))
    multiple = lcm(*(weight.denominator for weight in scaled.values()))
    total = sum(scaled.values(), Fraction())
    if multiple * total <= LARGEST_SUM:
        return {uid: int(weight * multiple) for uid, weight in scaled.items()}
    return {uid: max(1, int(weight * LARGEST_SUM / total)) if weight else 0 for uid, weight in scaled.items()}


def median_of_few(weights: Sequence[int]) -> tuple[int, ...]:
    """The coefficients of a geometric median that is known whatever the models are: the one that has half of the weight
    or more is the median; of two that weigh the same it is the mean. Empty where they have to be surveyed."""
    heavy = [index for index, weight in enumerate(weights) if 2 * weight >= sum(weights)]
    return tuple(WHOLE // len(heavy) if index in heavy else 0 for index in range(len(weights))) if heavy else ()


def _capped(state: Training, weights: Mapping[str, int], cap: Fraction) -> dict[str, Fraction]:
    if not cap:
        return {uid: Fraction(weight) for uid, weight in weights.items()}
    sums: Counter[str] = Counter()
    for uid, weight in weights.items():
        sums[state.members[uid].organisation] += weight
    level = _level([each for each in sums.values() if each], cap)
    scaled: dict[str, Fraction] = {}
    for uid, weight in weights.items():
        own = sums[state.members[uid].organisation]
        scaled[uid] = Fraction(weight) if level is None or own <= level else weight * level / own
    return scaled


def _level(sums: list[int], cap: Fraction) -> Fraction | None:
    """The most that one of these organisations may weigh, so that none has more than the share `cap` of them all.

    With the `count` heaviest at the level and the others at their own weights, the level is cap · (count · level +
    others). Below the lightest one's weight nothing more can be gained: then all are at the level.
    """
    ordered, others = sorted(sums, reverse=True), sum(sums)
    for count, (heavy, lighter) in enumerate(pairwise(ordered), 1):
        others -= heavy
        free = 1 - cap * count
        level = Fraction(heavy) if free <= 0 else min(Fraction(heavy), cap * others / free)
        if level >= lighter:
            return level
    return Fraction(ordered[-1]) if ordered else None
