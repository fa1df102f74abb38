"""Digests of what is not merged but has to be the same at all sites: tensors that are not trained, names of classes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from blake3 import blake3

from swarmlearning.tensors.file import Array


def tensor_digest(dtype: str, shape: Sequence[int], data: Array | None) -> str:
    """Returns the lower-case hex BLAKE3 of one tensor; `data` are its bytes, None where they cannot be read."""
    hasher = blake3(f"{dtype} {list(shape)}\n".encode(), max_threads=blake3.AUTO)
    if data is not None:
        hasher.update(np.ascontiguousarray(data).reshape(-1).view(np.uint8).data)
    return hasher.hexdigest()


def tensors_digest(digests: Mapping[str, str]) -> str:
    """Returns one digest for tensors by name, each with its `tensor_digest`; empty when there are none."""
    return _digest(sorted(digests.items())) if digests else ""


def labels_digest(labels: Any) -> str:
    """Returns the digest of labels in their order (numbers or texts, in arrays or sequences); empty for None.

    The type that holds a number does not matter: a 1 is a 1 as int32, int64 or float.
    """
    return "" if labels is None else _digest(_plain(labels))


def _plain(labels: Any) -> Any:
    if isinstance(labels, np.ndarray | np.generic):
        labels = labels.tolist()
    if isinstance(labels, list | tuple):
        return [_plain(label) for label in labels]
    if isinstance(labels, float) and labels.is_integer():
        return int(labels)
    return labels if isinstance(labels, bool | int | float | str) else repr(labels)


def _digest(value: Any) -> str:
    return blake3(json.dumps(value, separators=(",", ":")).encode("ascii")).hexdigest()
