"""The weighted geometric median: the point with the least sum of weighted distances to the models.

Each model is one vector of all its floating-point values (integers and booleans have no part in the geometry and
are merged with the same coefficients). Every iterate of Weiszfeld's method is a convex combination of the
models, so distances follow from their Gram matrix: one pass over the files gives it, an iteration then costs
O(n²), and one last pass builds the result from n coefficients.

Models lie close together and far from zero, so the Gram matrix is taken of their differences from a point among
them: the coordinate-wise median of the first three by UID, which no single outlier draws away. Of models that are not
float64, differences are rounded to float32 and multiplied there, and the products summed in float64. That is enough
where the estimate stands apart from all models; where rounding might decide (`_stands_out`, `_STEADY`), the Gram matrix
is taken once more, in float64 and about the estimate.

The coefficients are good to 1e-6, usually to 1e-8, and written down as integers (`arithmetic.GRID`); the result follows
from them to the bit. The Gram matrix differs in its last bits between machines, and with it the coefficients that two
machines would find. Of an even number of models nearly on a line, many points are almost as good as the median: there
the iteration ends after `STEPS`, and the sum of distances is within 1e-5 of the least.

Where ranges of the models are at different sites, each takes the Gram matrix of its range (`measured`), and what is
decided, from the sum of these, holds for all ranges (`settle`). The whole merge has one range.

E. Weiszfeld, F. Plastria: On the point for which the sum of the distances to n given points is minimum (2009).
Y. Vardi, C.-H. Zhang: The multivariate L1-median and associated data depth (2000).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from swarmlearning.merge.arithmetic import GRID, Float64, NonFinite, Real, reals, weighted_mean
from swarmlearning.merge.constants import without_constants
from swarmlearning.merge.parts import LOST, SCALE, GramPart, total_gram
from swarmlearning.merge.products import gram_matrix
from swarmlearning.merge.streaming import Block, Models, Plan, float_values
from swarmlearning.tensors.file import Array, Header

TOLERANCE: Final = 1e-12
"""The iteration ends when no coefficient (they sum to 1) moves by more than this, or after `STEPS`."""
STEPS: Final = 2000

_NEAR: Final = 0.01  # squared distance against the square of what it is a difference of: rounding counts 100 times
_STEADY: Final = 200  # steps to `TOLERANCE`: errors of the Gram matrix count up to 7 times in the coefficients
_ROUNDING: Final = 1e-14  # of a squared distance against the squares it is the difference of


@dataclass(frozen=True)
class Survey:
    """A pass for the Gram matrix: about the point of these shares; none: about the median of the first three models."""

    about: tuple[float, ...] = ()


def geomedian(models: Models) -> Plan:
    """Raises NonFinite and ModelUnreadable."""
    found = begin(models.weights)
    while isinstance(found, Survey):
        found = settle(models.weights, models.header, found, [measured(models, found)])
    return Plan(partial(weighted_mean, coefficients=found), found)


def begin(weights: Sequence[int]) -> Survey | tuple[int, ...]:
    """The first survey that models of these weights need; or the coefficients, where they need none."""
    single = majority(weights)
    if single is not None:
        return on_grid(np.eye(len(weights))[single])
    if len(weights) == 2:  # of equal weight: each point between them is a median, and the mean is preferred
        return on_grid(_normalised(weights))
    return Survey()


def settle(
    weights: Sequence[int], header: Header, survey: Survey, parts: Sequence[GramPart]
) -> Survey | tuple[int, ...]:
    """What follows from a survey of all ranges: the coefficients, or the one more survey that is needed.

    Raises PartError when these are not the parts of all ranges.
    """
    gram = total_gram(parts, header, len(weights))
    shares, steps = minimise(gram, _normalised(weights))
    if not survey.about and (steps > _STEADY or not _stands_out(gram, shares, float_values(header) * LOST)):
        return Survey(tuple(share / GRID for share in on_grid(shares)))  # as a ledger has them
    return on_grid(shares)


def measured(models: Models, survey: Survey) -> GramPart:
    """The statistics of these models' range, in float64 where that is too large for float32. Raises NonFinite."""
    if not survey.about:
        gram = _gram(models, np.float32)
        if np.isfinite(gram).all():  # finite models may have squares beyond float32
            return GramPart(models.range, gram)
    for scaled in (False, True):
        gram = _gram(models, np.float64, survey.about, SCALE if scaled else 1.0)
        if np.isfinite(gram).all():
            return GramPart(models.range, gram, scaled)
    raise NonFinite


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


def _normalised(weights: Sequence[int]) -> Float64:
    shares: Float64 = np.array(weights, np.float64) / sum(weights)
    return shares


def _gram(models: Models, real: Real, about: Sequence[float] = (), scale: float = 1.0) -> Float64:
    """Inner products (n, n) of the models about the point of these shares, or about the median of three of them.

    `real`: what differences and products are rounded to, but for models of float64. NaN or infinite for models that
    are, and where products overflow.
    """
    count = len(models.files)

    def part(rows: Array) -> Float64:
        """Uses up `rows`."""
        if scale != 1:
            rows *= scale
        if not about:
            centre = _median_of_three(*rows[:3])
        else:  # no BLAS: for a product so large it would start threads of its own
            centre = sum(share * row for share, row in zip(about, rows, strict=True) if share)
        for row in rows:
            row -= centre
        return gram_matrix(rows)

    def lane(blocks: Sequence[Block]) -> Float64:
        gram = np.zeros((count, count))
        buffer = models.buffer(blocks)
        for block in blocks:
            found = part(reals(block.dtype, models.rows(block, buffer), real, 2))  # a copy of the files in either case
            if not np.isfinite(found).all():  # what is not merged has no part in the geometry either
                rest = without_constants(block.dtype, models.rows(block, buffer), models.before(block))
                found = part(reals(block.dtype, rest, real, 2))
            gram += found
        return gram

    total: Float64 = sum(models.in_lanes(lane, models.float_blocks), np.zeros((count, count)))
    return total


def _median_of_three(a: Array, b: Array, c: Array) -> Array:
    median: Array = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    return median


def _stands_out(gram: Float64, shares: Float64, lost: float) -> bool:
    """True if the squared distance of each model from the point of these shares exceeds the errors of its parts.

    Those are rounded in proportion to the lengths that are multiplied; and what underflows is `lost`.
    """
    lengths = np.sqrt(np.diag(gram))
    squared = _squared_distances(gram, shares)
    return bool((squared > _NEAR * (lengths + shares @ lengths) ** 2 + lost).all())


def minimise(gram: Float64, weights: Float64) -> tuple[Float64, int]:
    """Shares (n,), summing to 1, of the point with the least Σ weightᵢ·‖xᵢ − point‖; and the steps it took.

    `gram` (n, n): inner products of the xᵢ about any centre; `weights` (n,) sum to 1.
    """
    # Where there are many medians, as of models on a line, the mean is preferred. A median that is one of the models
    # would be approached ever more slowly.
    candidates: list[Float64] = [weights, *np.eye(len(weights))]
    for candidate in candidates:
        if _moved(candidate, _step(gram, weights, candidate)) <= TOLERANCE:
            return candidate, 0
    shares, steps, moved = weights, 0, np.inf
    while steps < STEPS and moved > TOLERANCE:
        before, shares = shares, _step(gram, weights, shares)
        steps, moved = steps + 1, _moved(before, shares)
    return shares, steps


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
