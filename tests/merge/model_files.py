"""Models as NumPy arrays in, files and merges underneath: what the tests of the merge methods share."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from swarmlearning.merge.merging import MergeReceipt, Source, merge
from swarmlearning.merge.streaming import ALIGNMENT, Range
from swarmlearning.tensors.file import DTYPES, Array, Header, Tensor, read, write

Model = Mapping[str, Array | Tensor]

FLOAT_BITS: dict[str, Any] = {"F16": np.uint16, "BF16": np.uint16, "F32": np.uint32, "C64": np.uint32, "F64": np.uint64}
SIZE = 1000
"""Values of a model of `noise` or a `line`."""

INTEGERS = ("U64", "I64", "U32", "I32", "U16", "I16", "U8", "I8")


def save(path: Path, model: Model) -> Path:
    write(path, {name: t if isinstance(t, Tensor) else Tensor.of(t, name) for name, t in model.items()})
    return path


def sources(folder: Path, models: Sequence[Model], weights: Sequence[int] | None = None) -> list[Source]:
    """Named a, b, c, … in the order given."""
    return [
        Source(chr(ord("a") + index), weight, save(folder / chr(ord("a") + index), model))
        for index, (model, weight) in enumerate(zip(models, weights or [1] * len(models), strict=True))
    ]


def merge_models(
    method: str, models: Sequence[Model], weights: Sequence[int] | None = None, previous: Model | None = None
) -> tuple[dict[str, Array], MergeReceipt]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        before = None if previous is None else save(folder / "previous", previous)
        receipt = merge(method, sources(folder, models, weights), before, folder / "out")
        return read(folder / "out"), receipt


def merge_arrays(
    method: str, arrays: Sequence[Array], weights: Sequence[int] | None = None, tag: str | None = None
) -> Array:
    """One tensor a model; `tag` for dtypes that NumPy lacks."""
    models: list[Model] = [{"w": stored(tag, array) if tag else array} for array in arrays]
    return merge_models(method, models, weights)[0]["w"]


def stored(tag: str, array: Array) -> Tensor:
    """The bits of an array under another tag of the same width."""
    assert array.dtype.itemsize == DTYPES[tag].itemsize
    return Tensor(tag, array.shape, np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def bfloat16(values: Any) -> Array:
    """The bits of values that bfloat16 holds exactly."""
    single = np.asarray(values, np.float32)
    bits = single.view(np.uint32)
    assert not (bits & 0xFFFF).any()
    return (bits >> 16).astype(np.uint16)


def random_models(tag: str, count: int, elements: int, seed: int = 0) -> list[Array]:
    """Finite values of the dtype, of small and large magnitude; the same on every machine and for ever."""
    if tag == "C64":
        return [row.view(np.complex64) for row in random_models("F32", count, 2 * elements, seed)]
    size = count * elements
    if tag in INTEGERS:
        drawn = np.frombuffer(random_bytes(seed, size * DTYPES[tag].itemsize), DTYPES[tag])
        return list(drawn.reshape(count, elements).copy())
    bits = np.frombuffer(random_bytes(seed, 8 * size), "<u8").reshape(count, elements)
    if tag == "BOOL":
        return list((bits & 1).astype(np.bool_))
    values = np.ldexp((bits >> 11).astype(np.float64) - 2**52, (bits & 15).astype(np.int32) - 60)
    if tag == "BF16":
        return list((values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16))
    return list(values.astype(DTYPES[tag]))


def random_bytes(seed: int, size: int) -> bytes:
    return hashlib.shake_128(str(seed).encode()).digest(size)


def ranges(header: Header, cuts: Sequence[int]) -> list[Range]:
    """Those between these multiples of `ALIGNMENT`, which are together all of the data section."""
    inner = {cut * ALIGNMENT for cut in cuts if 0 < cut * ALIGNMENT < header.data_size}
    return [Range(*pair) for pair in pairwise(sorted({0, *inner, header.data_size}))]


def noise(rng: np.random.Generator, scales: Sequence[float], about: float = 1.0) -> Array:
    """Models about a random one, each with its scale of noise."""
    own = rng.standard_normal((len(scales), SIZE)) * np.array(scales)[:, None]
    result: Array = about * rng.standard_normal(SIZE) + own
    return result


def line(rng: np.random.Generator, places: Sequence[float], scale: float) -> Array:
    """Models nearly on a line."""
    result: Array = np.outer(places, rng.standard_normal(SIZE)) + noise(rng, [scale] * len(places))
    return result
