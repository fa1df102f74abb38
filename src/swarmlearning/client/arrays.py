"""Arrays of any library as tensors of a model file, and back to the same kind of array.

No array library but NumPy is imported here: others are recognised by the array API standard (`__array_namespace__`),
which JAX, for one, follows.
"""

from typing import Any

import numpy as np

from swarmlearning.client.errors import SwarmError
from swarmlearning.tensors.file import Array, Tensor, TensorFileError

# dtypes that NumPy has by the package ml_dtypes only: their tag, and the integer dtype that shows the same bits
RAW = {"bfloat16": ("BF16", "u2"), "float8_e4m3fn": ("F8_E4M3", "u1"), "float8_e5m2": ("F8_E5M2", "u1")}


def tensor_of(value: Any, name: str) -> Tensor:
    """The tensor of an array or number; shares memory where it can. Raises `SwarmError`, naming `name`."""
    try:
        array = np.asarray(value)
        tag, bits = RAW.get(array.dtype.name, ("", ""))
        if tag:
            return Tensor.of(array.view(bits), name)._replace(dtype=tag)
        return Tensor.of(array, name)
    except (TypeError, ValueError, RuntimeError, TensorFileError) as error:
        raise SwarmError(f"model entry {name!r} of type {type(value).__name__} cannot be merged: {error}") from error


def like(value: Any, stored: Array) -> Any:
    """What is `stored`, copied into a new array (or number) of the kind, dtype and device of `value`."""
    if isinstance(value, bool | int | float):
        return type(value)(stored.item())
    raw = value.dtype.name in RAW
    array = stored.view(value.dtype).copy() if raw else stored.astype(value.dtype)
    if isinstance(value, np.ndarray):
        return array
    if isinstance(value, np.generic):
        return array[()]
    return value.__array_namespace__().asarray(array, device=getattr(value, "sharding", value.device))
