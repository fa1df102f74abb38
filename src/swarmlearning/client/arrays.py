"""Arrays of any library as tensors of a model file, and back to the same kind of array.

No array library but NumPy is imported here: others are recognised by the array API standard (`__array_namespace__`),
which JAX, for one, follows.
"""

from typing import Any

import numpy as np

from swarmlearning.client.errors import SwarmError
from swarmlearning.tensors.file import DTYPES, Array, Tensor, TensorFileError
from swarmlearning.tensors.structure import label

BFLOAT16 = "bfloat16"  # which NumPy has by the package ml_dtypes only
MERGED_KINDS = "what is merged are dense arrays of booleans, integers, floats of 16 to 64 bits, or complex64"


def tensor_of(value: Any, name: str) -> Tensor:
    """Returns the tensor of an array or number; shares memory where it can. Raises `SwarmError`, naming `name`."""
    try:
        array = np.asarray(value)
        if array.dtype.name == BFLOAT16:
            return Tensor.of(array.view("u2"), name)._replace(dtype="BF16")
        return Tensor.of(array, name)
    except (TypeError, ValueError, RuntimeError, TensorFileError) as error:
        raise not_mergeable(name, value, error) from error


def array_of(tensor: Tensor) -> Array:
    """Returns a copy of the values, as `tensors.file.read` would read them."""
    return np.frombuffer(tensor.data, DTYPES[tensor.dtype]).reshape(tensor.shape).copy()


def not_mergeable(name: str, value: Any, error: Exception) -> SwarmError:
    """Returns the error for a model entry that cannot become a tensor of a model file."""
    kinds = "" if isinstance(error, TensorFileError) else f" ({MERGED_KINDS})"
    return SwarmError(f"model entry {label(name)} of type {type(value).__name__} cannot be merged: {error}{kinds}")


def like(value: Any, stored: Array) -> Any:
    """Returns a copy of `stored` as an array (or number) of the kind, dtype and device of `value`."""
    if isinstance(value, bool | int | float):
        return type(value)(stored.item())
    same_bits = value.dtype.name == BFLOAT16
    array = stored.view(value.dtype).copy() if same_bits else stored.astype(value.dtype)
    if isinstance(value, np.ndarray):
        return array
    if isinstance(value, np.generic):
        return array[()]
    return value.__array_namespace__().asarray(array, device=getattr(value, "sharding", value.device))
