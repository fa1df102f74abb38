"""What a document consists of: scalars, sequences and mappings, each with its place."""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias


class Mark(NamedTuple):
    """A place in a file; both numbers begin with 1, columns count characters."""

    line: int
    column: int


@dataclass(frozen=True)
class Scalar:
    """A text exactly as it was written; `plain`: without quotes, so that it may stand for a number, bool or null."""

    mark: Mark
    text: str
    plain: bool
    weight: int = 1


@dataclass(frozen=True)
class Sequence:
    """A list."""

    mark: Mark
    items: tuple["Node", ...]
    weight: int


@dataclass(frozen=True)
class Mapping:
    """Keys and values in the order of the file; no key is there twice."""

    mark: Mark
    entries: tuple[tuple[Scalar, "Node"], ...]
    weight: int


Node: TypeAlias = Scalar | Sequence | Mapping
"""`weight` is the number of nodes that a node stands for, with what its aliases repeat."""


def is_null(node: Node) -> bool:
    """Whether this is a null of YAML 1.1."""
    return isinstance(node, Scalar) and node.plain and node.text in ("", "~", "null", "Null", "NULL")


def described(node: Node) -> str:
    """What stands there, for a message; long texts are shortened."""
    if isinstance(node, Sequence):
        return "a list" if node.items else "an empty list"
    if isinstance(node, Mapping):
        return "a mapping" if node.entries else "an empty mapping"
    if is_null(node):
        return "null"
    return repr(node.text if len(node.text) <= 40 else f"{node.text[:37]}...")


def item_field(field: str, index: int) -> str:
    """The path of an item of the list at `field`, such as `nodes[0]`."""
    return f"{field}[{index}]"


def key_field(field: str, key: str) -> str:
    """The path of a key of the mapping at `field`, such as `nodes[0].slnodedef`."""
    shown = key if key.isprintable() and len(key) <= 40 else repr(key[:40])
    return f"{field}.{shown}" if field else shown
