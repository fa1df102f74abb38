"""The structure that models must share to be merged: the names, dtypes and shapes of their tensors."""

import hashlib
import json
from collections.abc import Iterable

Spec = tuple[str, str, tuple[int, ...]]
"""Name, dtype tag (a key of `tensors.file.DTYPES`) and shape of one tensor."""

_NAMED = 5
_LABEL_LENGTH = 100


def label(name: str) -> str:
    """A tensor's name for messages: quoted, and cut where a hostile file makes it long."""
    return repr(name) if len(name) <= _LABEL_LENGTH else f"{name[:_LABEL_LENGTH]!r}…"


def labels(names: Iterable[str]) -> str:
    """Tensors' names for messages: the first few, and how many more there are."""
    found = list(names)
    more = len(found) - _NAMED
    return ", ".join(map(label, found[:_NAMED])) + (f" and {more} more" if more > 0 else "")


def structure_digest(specs: Iterable[Spec]) -> str:
    """Lower-case hex SHA-256 over the canonical JSON of the specs sorted by name; their order is immaterial."""
    rows = sorted([name, dtype, list(shape)] for name, dtype, shape in specs)
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode("ascii")).hexdigest()


def structure_text(specs: Iterable[Spec]) -> str:
    """For people: one line a tensor, by name, so that those of two sites can be compared line by line."""
    return "".join(f"{json.dumps(name)} {dtype} {list(shape)}\n" for name, dtype, shape in sorted(specs))


def describe_difference(ours: Iterable[Spec], theirs: Iterable[Spec]) -> str:
    """For people: which tensors differ, the first few by name. Empty when the structures are the same."""
    mine = {name: (dtype, shape) for name, dtype, shape in ours}
    other = {name: (dtype, shape) for name, dtype, shape in theirs}
    texts = [
        _difference(name, mine.get(name), other.get(name))
        for name in sorted(mine.keys() | other.keys())
        if mine.get(name) != other.get(name)
    ]
    more = len(texts) - _NAMED
    return "; ".join(texts[:_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _difference(name: str, ours: tuple[str, tuple[int, ...]] | None, theirs: tuple[str, tuple[int, ...]] | None) -> str:
    if theirs is None:
        return f"{label(name)} is missing"
    if ours is None:
        return f"{label(name)} is extra"
    if ours[0] != theirs[0]:
        return f"{label(name)} has dtype {theirs[0]}, expected {ours[0]}"
    return f"{label(name)} has shape {list(theirs[1])}, expected {list(ours[1])}"
