"""The structure that models must share to be merged: the names, dtypes and shapes of their tensors.

A training whose merges depend on what a tensor is for (an outer optimizer steps parameters, never the statistics of a
batch normalisation) has their roles in its structure too. Model files do not: they have names, dtypes and shapes alone.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

import msgspec

from swarmlearning.choices import Role

Spec = tuple[str, str, tuple[int, ...]]
"""Name, dtype tag (a key of `tensors.file.DTYPES`) and shape of one tensor."""

Roles: TypeAlias = Mapping[str, Role]
"""The role of each tensor by its name; empty where the script states none."""

NO_ROLES: Final[Roles] = MappingProxyType({})

STEPPED: Final = frozenset({"F64", "F32", "BF16", "F16"})
"""Dtypes of parameters that an optimizer can step."""

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


class Structure(NamedTuple):
    """The tensors of a model, and their roles where these count."""

    specs: tuple[Spec, ...]
    roles: Roles = NO_ROLES

    @property
    def digest(self) -> str:
        return structure_digest(self.specs, self.roles)

    @property
    def text(self) -> str:
        return structure_text(self.specs, self.roles)

    @classmethod
    def parse(cls, text: str) -> "Structure":
        """The inverse of `text`; the tensors come by name. Raises `ValueError` for another text."""
        try:
            lines = [_parsed(line) for line in text.splitlines()]
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from error
        return cls(tuple(spec for spec, _ in lines), {spec[0]: role for spec, role in lines if role})


def stepped(structure: Structure) -> frozenset[str]:
    """Names of the tensors that an outer optimizer steps: parameters of floats. All others take the merged values.

    Raises `ValueError`, naming them, where roles are not stated.
    """
    if unstated := [name for name, _, _ in structure.specs if not structure.roles.get(name)]:
        raise ValueError(f"the roles of these tensors are not stated: {labels(unstated)}")
    return frozenset(
        name for name, dtype, _ in structure.specs if structure.roles[name] == "parameter" and dtype in STEPPED
    )


def structure_digest(specs: Iterable[Spec], roles: Roles = NO_ROLES) -> str:
    """Lower-case hex SHA-256 over the canonical JSON of the specs sorted by name; their order is immaterial.

    A tensor's role, where there is one in `roles`, follows its shape: without roles the digest is what it was before
    there were any.
    """
    rows = sorted([name, dtype, list(shape), *filter(None, [roles.get(name)])] for name, dtype, shape in specs)
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode("ascii")).hexdigest()


def structure_text(specs: Iterable[Spec], roles: Roles = NO_ROLES) -> str:
    """For people: one line a tensor, by name, so that those of two sites can be compared line by line."""
    return "".join(
        f"{json.dumps(name)} {dtype} {list(shape)} {roles.get(name, '')}".rstrip() + "\n"
        for name, dtype, shape in sorted(specs)
    )


def describe_roles(ours: Roles, theirs: Roles) -> str:
    """For people: tensors whose roles differ, the first few by name. Empty when all are the same, or nobody's are
    stated."""
    names = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    texts = [
        f"{label(name)} is {theirs.get(name) or 'of no stated role'}, expected {ours.get(name) or 'no stated role'}"
        for name in names[:_NAMED]
    ]
    more = len(names) - _NAMED
    return "; ".join(texts) + (f"; and {more} more" if more > 0 else "")


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


def _parsed(line: str) -> tuple[Spec, Role]:
    """A line of `structure_text`. Raises `ValueError` and `msgspec.DecodeError`."""
    begin, end = line.rindex("["), line.rindex("]") + 1
    name, _, dtype = line[:begin].rstrip().rpartition(" ")
    shape = msgspec.json.decode(line[begin:end], type=tuple[int, ...])
    return (msgspec.json.decode(name, type=str), dtype, shape), msgspec.convert(line[end:].strip(), Role)
