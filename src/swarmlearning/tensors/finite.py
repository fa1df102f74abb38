"""Tensors that hold infinity or NaN: the mean of such values is their own only where all models agree."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from swarmlearning.tensors.file import DTYPES, Array, Tensor, as_bytes

_FLOATS: Final = frozenset({"F64", "C64", "F32", "F16"})
_BF16_EXPONENT: Final = 0x7F80  # all ones: infinity or NaN
_PIECE: Final = 2**20  # bytes looked at together: no more than a piece's verdicts are held in memory


def non_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that hold infinity or NaN, in the order given."""
    return [name for name, tensor in tensors.items() if not all(map(_finite, _pieces(tensor)))]


def _pieces(tensor: Tensor) -> Iterator[tuple[str, Array]]:
    if tensor.dtype in _FLOATS or tensor.dtype == "BF16":
        data = as_bytes(tensor.data)
        for start in range(0, len(data), _PIECE):
            yield tensor.dtype, np.frombuffer(data[start : start + _PIECE], DTYPES[tensor.dtype])


def _finite(piece: tuple[str, Array]) -> bool:
    dtype, values = piece
    if dtype == "BF16":
        return not (values & _BF16_EXPONENT == _BF16_EXPONENT).any()
    return bool(np.isfinite(values).all())
