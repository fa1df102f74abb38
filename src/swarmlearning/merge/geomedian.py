"""The weighted geometric median: the point with the least sum of weighted distances to the models.

Each model is one vector of all its floating-point values (integers and booleans have no part in the geometry and
are merged with the same coefficients). Every iterate of Weiszfeld's method is a convex combination of the
models, so distances follow from their Gram matrix: one pass over the files gives it, an iteration then costs
O(n²), and one last pass builds the result from n coefficients.

The Gram matrix is taken about the previous result (in the first round: about the first model by UID), since the
models lie close together and far from zero. When the estimate comes to lie so near a model that its distance is
lost in the rounding of the Gram matrix, that is taken once more, about the estimate.

The coefficients are exact to about 1e-9 (`arithmetic.GRID`); the result follows from them to the bit. The Gram
matrix may differ in its last bits between machines, and with it, rarely, a coefficient by one unit.

E. Weiszfeld, F. Plastria: On the point for which the sum of the distances to n given points is minimum (2009).
Y. Vardi, C.-H. Zhang: The multivariate L1-median and associated data depth (2000).
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np

from swarmlearning.merge.arithmetic import GRID, Float64, NonFinite, spare, weighted_mean, widen
from swarmlearning.merge.products import gram_matrix
from swarmlearning.merge.streaming import Block, Models, Plan, values_in

TOLERANCE: Final = 1e-12
"""The iteration ends when no coefficient (they sum to 1) moves by more than this, or after `STEPS`."""
STEPS: Final = 2000

_RECENTRE: Final = 1e-6  # smallest squared distance against largest Gram entry: leaves 9 digits of it
_ROUNDING: Final = 1e-14  # of a squared distance against the squares it is the difference of


def geomedian(models: Models) -> Plan:
    """Raises NonFinite and ModelUnreadable."""
    coefficients = on_grid(_shares(models))
    return Plan(partial(weighted_mean, coefficients=coefficients), coefficients)


def majority(weights: Sequence[int]) -> int | None:
    """The index of the one model with at least half of the weight: it is the geometric median whatever the
    others are, which users should be warned of. None when there is no such model."""
    heavy = [index for index, weight in enumerate(weights) if 2 * weight >= sum(weights)]
    return heavy[0] if len(heavy) == 1 else None


def on_grid(shares: Float64) -> tuple[int, ...]:
    """Integers in proportion to `shares` (which sum to 1) that sum to exactly `GRID`: the largest remainders go up."""
    scaled = shares * GRID
    whole = np.floor(scaled).astype(np.int64)
    largest = np.argsort(whole - scaled, kind="stable")
    whole[largest[: GRID - int(whole.sum())]] += 1
    return tuple(whole.tolist())


def _shares(models: Models) -> Float64:
    weights: Float64 = np.array(models.weights, np.float64) / sum(models.weights)
    vertices: list[Float64] = list(np.eye(len(weights)))
    single = majority(models.weights)
    if single is not None:
        return vertices[single]
    if len(weights) == 2:  # of equal weight: each point between them is a median, and the mean is preferred
        return weights
    gram = _gram(models, None if models.previous is not None else vertices[0])
    shares = minimise(gram, weights)
    if _squared_distances(gram, shares).min() < _RECENTRE * gram.max():
        shares = minimise(_gram(models, shares), weights)
    return shares


def _gram(models: Models, centre: Float64 | None) -> Float64:
    """Inner products (n, n) of the models about `centre`: shares of the models, or None for the previous result."""
    count = len(models.files)

    def lane(blocks: Sequence[Block]) -> Float64:
        gram = np.zeros((count, count))
        buffer = models.buffer(blocks)
        for block in blocks:
            rows = spare(count * values_in(block), 2).reshape(count, -1)
            about: Float64 | float = 0.0
            if centre is None:
                about = widen(block.dtype, models.previous_row(block), spare(values_in(block), 1))
            for stored, row in zip(models.rows(block, buffer), rows, strict=True):
                widen(block.dtype, stored, row)
                if centre is None:
                    row -= about  # at once, while it is in the cache
            if centre is not None:
                rows -= sum(share * row for share, row in zip(centre, rows, strict=True) if share)
            gram += gram_matrix(rows)
        return gram

    total: Float64 = sum(models.in_lanes(lane, models.float_blocks), np.zeros((count, count)))
    if not np.isfinite(total).all():
        raise NonFinite
    return total


def minimise(gram: Float64, weights: Float64) -> Float64:
    """Shares (n,), summing to 1, of the point with the least Σ weightᵢ·‖xᵢ − point‖.

    `gram` (n, n): inner products of the xᵢ about any centre; `weights` (n,) sum to 1.
    """
    # Where there are many medians, as of models on a line, the mean is preferred. A median that is one of the models
    # would be approached ever more slowly.
    candidates: list[Float64] = [weights, *np.eye(len(weights))]
    for candidate in candidates:
        if _moved(candidate, _step(gram, weights, candidate)) <= TOLERANCE:
            return candidate
    shares = weights
    for _ in range(STEPS):
        before, shares = shares, _step(gram, weights, shares)
        if _moved(before, shares) <= TOLERANCE:
            break
    return shares


def _moved(before: Float64, after: Float64) -> float:
    return float(np.abs(after - before).max())


def _step(gram: Float64, weights: Float64, shares: Float64) -> Float64:
    """One step of Weiszfeld's method, as Vardi and Zhang extend it to points that are one of the models.

    The other models draw the point towards `target`, with a force; the weight of the models that lie here holds it.
    """
    squared = _squared_distances(gram, shares)
    norms = np.sqrt(np.diag(gram))
    away = squared > _ROUNDING * (norms + shares @ norms) ** 2
    if not away.any():
        return shares
    pull = np.divide(weights, np.sqrt(squared), out=np.zeros_like(weights), where=away)
    target: Float64 = pull / pull.sum()
    here = weights[~away].sum()
    if here == 0:
        return target
    direction = pull - pull.sum() * shares
    force = np.sqrt(max(direction @ gram @ direction, 0.0))
    hold = here / force if here < force else 1.0
    following: Float64 = hold * shares + (1 - hold) * target
    return following


def _squared_distances(gram: Float64, shares: Float64) -> Float64:
    """‖xᵢ − Σ sharesⱼ·xⱼ‖² (n,); what rounding makes negative is 0."""
    product = gram @ shares
    squared: Float64 = np.maximum(np.diag(gram) - 2 * product + shares @ product, 0.0)
    return squared
