"""What a privacy lock makes of a model: base + min(1, norm/‖Δ‖)·Δ + noise, with the change Δ = model − base.

‖Δ‖ is the L2 norm over all floating-point values as one vector, buffers such as a BatchNorm's running mean among them.
A change that is not longer than the norm stays as it is, to the bit, where there is no noise; a longer one is scaled
down, and each value rounded towards the base, so that rounding to the dtype makes it no longer. Whatever is not a float
(counters, masks, quantised values) is that of the base, and so is what is not finite in the base.

The outcome depends on the change in this way alone, for whatever model: one whose change has NaN or infinity, or a norm
beyond the range of float64, counts as one without a change.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from swarmlearning.merge.arithmetic import FLOATS, Float64, narrow, widen
from swarmlearning.merge.constants import finite
from swarmlearning.merge.merging import Source, opened
from swarmlearning.merge.streaming import Block, Models, ModelUnreadable, OnRead
from swarmlearning.privacy.gaussian import Noise
from swarmlearning.tensors.file import Array, TensorFileError, overwrite, read_header, write_at

_MARGIN: Final = 1 - 2.0**-40
"""Of a scaled change, for what the arithmetic of float64 may add."""

_LARGEST: Final = {
    "F64": float(np.finfo(np.float64).max),
    "F32": float(np.finfo(np.float32).max),
    "C64": float(np.finfo(np.float32).max),
    "BF16": float.fromhex("0x1.fep127"),
    "F16": float(np.finfo(np.float16).max),
}


class ReleaseError(Exception):
    """What is given cannot be made, for a reason on this node; the text says which."""


class Clipping(NamedTuple):
    """`norm`: the largest of a change. `noise`: its source and its standard deviation; None: there is none."""

    norm: float
    noise: tuple[Noise, float] | None = None


def release(model: Path, base: Path, out: Path, clipping: Clipping, on_read: OnRead) -> bool:
    """Writes what is given of `model` to `out`, in two passes over model and base.

    Returns False where the change could not be measured and counts as none. Raises `ReleaseError`.
    """
    try:
        header = read_header(base)
        if read_header(model) != header:
            raise ReleaseError("the model has another structure than the base of the round")
        sources = [Source("base", 1, base), Source("model", 1, model)]
        with opened(sources, header, None, threads=1, on_read=on_read) as models:
            scale = _scale(models, clipping.norm)
            _write(models, out, scale, clipping.noise)
    except ModelUnreadable as error:
        raise ReleaseError(f"the {error.uid} cannot be read: {error.reason}") from error
    except TensorFileError as error:
        raise ReleaseError(str(error)) from error
    return scale is not None


def _scale(models: Models, norm: float) -> float | None:
    """The factor of the change, at most 1; None where it has no norm."""
    squares = math.fsum(float(np.dot(change, change)) for change in _changes(models))
    if not math.isfinite(squares):
        return None
    length = math.sqrt(squares)
    return 1.0 if length <= norm * _MARGIN else norm / length * _MARGIN


def _changes(models: Models) -> Iterator[Float64]:
    buffer = models.buffer(models.float_blocks) if models.float_blocks else None
    for block in models.float_blocks:
        assert buffer is not None
        with np.errstate(all="ignore"):  # what is not finite is found by looking
            yield _change(block.dtype, models.rows(block, buffer))


def _change(dtype: str, rows: Array) -> Float64:
    """The change of a block, 0 where the base is not finite; NaN or infinite where only the model is not finite."""
    base, model = widen(dtype, rows[0]), widen(dtype, rows[1])
    change: Float64 = model - base
    change[~np.isfinite(base)] = 0.0
    return change


def _write(models: Models, out: Path, scale: float | None, noise: tuple[Noise, float] | None) -> None:
    buffer = models.buffer(models.blocks) if models.blocks else None
    with overwrite(out, models.header.specs) as (fd, header), np.errstate(all="ignore"):
        for block in models.blocks:
            assert buffer is not None
            given = _given(block, models.rows(block, buffer), scale, noise)
            write_at(fd, given.view(np.uint8).data, header.data_start + block.start)


def _given(block: Block, rows: Array, scale: float | None, noise: tuple[Noise, float] | None) -> Array:
    """The block as it is given, in the stored dtype."""
    dtype, base = block.dtype, rows[0]
    if dtype not in FLOATS or (scale is None and noise is None):
        return np.array(base)
    if scale == 1.0 and noise is None:
        return np.asarray(np.where(finite(dtype, base), rows[1], base))
    before = widen(dtype, base)
    change = np.zeros_like(before) if scale is None else _change(dtype, rows) * scale
    given: Array
    if noise is None:
        given = _towards(dtype, before, change)
    else:
        source, deviation = noise
        values = before + (change + source.normal(len(before)) * deviation)
        given = narrow(dtype, np.clip(values, -_LARGEST[dtype], _LARGEST[dtype]))
    return np.asarray(np.where(finite(dtype, base), given, base))


def _towards(dtype: str, base: Float64, change: Float64) -> Array:
    """base + change in the stored dtype, each value rounded so that it is not farther from `base` than the change."""
    stored = narrow(dtype, base + change)
    rounded = widen(dtype, stored)
    beyond = np.abs(rounded - base) > np.abs(change)
    if not beyond.any():
        return stored
    return narrow(dtype, np.where(beyond, _next(dtype, rounded, base), rounded))


def _next(dtype: str, values: Float64, towards: Float64) -> Float64:
    """The next value that the dtype has in this direction, of values that it has."""
    if dtype != "BF16":
        real = {"F16": np.float16, "F64": np.float64}.get(dtype, np.float32)
        return np.asarray(np.nextafter(values.astype(real), towards.astype(real)), np.float64)
    magnitude = np.where(np.sign(towards - values) == np.sign(values), 1, -1)
    bits = narrow(dtype, values).astype(np.int32) + magnitude
    least = np.where(towards < 0, 0x8001, 0x0001)
    return widen(dtype, np.where(values == 0, least, bits).astype(np.uint16))
