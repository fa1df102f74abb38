"""The outer step: a round's merge is not taken as it is, but as the direction of one optimizer step from its base.

With x the base, m the merge and d = m - x, every operation in float64 and rounded by itself:

    nesterov    v' = round(μ·v + d)
                x' = round(x + η·(d + μ·v'))

    adam        p' = round(β·p + (1 - β)·d)              β = μ
                q' = round(γ·q + (1 - γ)·(d·d))          γ = 0.99, q = τ² at first
                x' = round(x + η·(p' / (√q' + τ)))       τ = 1e-3

What is kept from round to round, the *momentum* (v, or p and q), is rounded to float32, that of F64 tensors to float64,
and x' is computed from what was rounded. x' is rounded once to the tensor's dtype. `adam` has no bias correction.
Nothing but + - × ÷ √ is used, which IEEE 754 fixes to the bit, and no element depends on another one: so every machine,
and any cut of the work, gives the same bits.

Where η·(d + μ·v') is exactly d, x' is m itself: x + (m - x) would round. So one site with η = 1 and μ = 0 gives exactly
the mean. Where x or m is not finite (a mask of -inf) nothing is stepped: x' is m there, and the momentum as at first.

    S. Reddi et al.: Adaptive Federated Optimization (FedAdam), ICLR 2021.
    A. Douillard et al.: DiLoCo: Distributed Low-Communication Training of Language Models, 2023.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from swarmlearning.choices import OuterMethod
from swarmlearning.merge.arithmetic import FLOATS, Float64, narrow, widen
from swarmlearning.merge.constants import finite
from swarmlearning.tensors.file import DTYPES, Array
from swarmlearning.tensors.structure import Spec

SECOND: Final = 0.99
"""γ, by which `adam` forgets squares."""
TAU: Final = 1e-3
"""τ, the least that `adam` divides by."""

_MOMENTS: Final[dict[OuterMethod, tuple[str, ...]]] = {"nesterov": ("",), "adam": ("first.", "second.")}
"""What a momentum keeps of each tensor, and how these tensors are called in its file: a prefix of the tensor's name."""


@dataclass(frozen=True)
class Outer:
    """An outer optimizer: `rate` is η, `momentum` μ, or β of `adam`."""

    method: OuterMethod
    rate: float
    momentum: float

    @property
    def moments(self) -> tuple[str, ...]:
        """The prefixes of what is kept of each tensor."""
        return _MOMENTS[self.method]

    def at_first(self, count: int) -> list[Float64]:
        """The momentum of so many values before the first step."""
        if self.method == "nesterov":
            return [np.zeros(count)]
        return [np.zeros(count), np.full(count, TAU * TAU)]


class Stepped(NamedTuple):
    """Of a run of values: the new ones (m,) in the stored dtype, and the moments in the dtype of the momentum."""

    values: Array
    moments: list[Array]


def momentum_dtype(dtype: str) -> str:
    """The tag of what is kept of a tensor of this dtype."""
    return dtype if dtype in ("F64", "C64") else "F32"


def is_stepped(name: str, dtype: str, parameters: Collection[str]) -> bool:
    """Whether a tensor takes part in steps: it is a parameter, and made of floats."""
    return name in parameters and dtype in FLOATS


def momentum_specs(outer: Outer, specs: Iterable[Spec], parameters: Collection[str]) -> list[Spec]:
    """The tensors of a momentum's file, for models of these tensors."""
    return [
        (moment + name, momentum_dtype(dtype), shape)
        for name, dtype, shape in specs
        if is_stepped(name, dtype, parameters)
        for moment in outer.moments
    ]


def stepped(outer: Outer, dtype: str, base: Array, merged: Array, moments: Sequence[Array] | None) -> Stepped | None:
    """One step of values (m,) in the stored dtype `DTYPES[dtype]`; `moments` in that of the momentum, None at first.

    Returns None where the step is not finite though base and merge are.
    """
    with np.errstate(all="ignore"):  # what is not finite is found by looking
        return _stepped(outer, dtype, base, merged, moments)


def _stepped(outer: Outer, dtype: str, base: Array, merged: Array, moments: Sequence[Array] | None) -> Stepped | None:
    kept, width = momentum_dtype(dtype), 2 if dtype == "C64" else 1
    x, m = widen(dtype, base), widen(dtype, merged)
    before = outer.at_first(len(x)) if moments is None else [widen(kept, each) for each in moments]
    usable = np.isfinite(x) & np.isfinite(m)
    d = np.subtract(m, x)
    after = [narrow(kept, each) for each in _forward(outer, d, before)]
    rounded = [widen(kept, each) for each in after]
    step = _direction(outer, d, rounded)
    np.multiply(step, outer.rate, out=step)
    result = np.where(step == d, m, x + step)
    values = narrow(dtype, result)
    if not usable.all():
        result[~usable] = m[~usable]
        values = np.where(usable.reshape(-1, width).all(axis=1), narrow(dtype, result), merged)
        for at, (each, first) in enumerate(zip(rounded, outer.at_first(len(x)), strict=True)):
            after[at] = narrow(kept, np.where(usable, each, first))
    sound = finite(dtype, values) | ~usable.reshape(-1, width).all(axis=1)
    if not sound.all() or not all(finite(kept, each).all() for each in after):
        return None
    return Stepped(values, after)


def _forward(outer: Outer, d: Float64, before: Sequence[Float64]) -> list[Float64]:
    """The momentum after this change, not rounded yet."""
    if outer.method == "nesterov":
        return [outer.momentum * before[0] + d]
    first = outer.momentum * before[0] + (1 - outer.momentum) * d
    return [first, SECOND * before[1] + (1 - SECOND) * (d * d)]


def _direction(outer: Outer, d: Float64, momentum: Sequence[Float64]) -> Float64:
    """What the rate is multiplied with."""
    if outer.method == "nesterov":
        return d + outer.momentum * momentum[0]
    return momentum[0] / (np.sqrt(momentum[1]) + TAU)


def itemsizes(dtype: str) -> tuple[int, int]:
    """Bytes of an element of a tensor, and of what is kept of it."""
    return DTYPES[dtype].itemsize, DTYPES[momentum_dtype(dtype)].itemsize
