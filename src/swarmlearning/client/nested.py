"""Parameters in nested containers, as most array libraries keep them: named leaves, and the same containers rebuilt."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from swarmlearning.client.errors import SwarmError

P = TypeVar("P")

ALONE = "parameters"  # the name of a leaf without containers


def leaves(parameters: Any) -> dict[str, Any]:
    """Returns every leaf of dicts, lists and (named) tuples by its path, as "layers.0.bias"; None holds nothing.

    Raises `SwarmError` where two leaves would have one name.
    """
    named: dict[str, Any] = {}
    for path, leaf in _walk(parameters, ()):
        name = ".".join(path) or ALONE
        if name in named:
            raise SwarmError(f"two of the parameters have the name {name!r}; use keys without dots")
        named[name] = leaf
    return named


def rebuilt(parameters: P, change: Callable[[str, Any], Any]) -> P:
    """Returns new containers of the same kinds, with `change(name, leaf)` in place of each leaf."""
    new: P = _rebuilt(parameters, (), lambda path, leaf: change(".".join(path) or ALONE, leaf))
    return new


def _children(node: Any) -> list[tuple[str, Any]] | None:
    """Returns keys and values of a container; None for a leaf."""
    if node is None:
        return []
    if isinstance(node, Mapping):
        return [(str(key), child) for key, child in node.items()]
    if isinstance(node, list | tuple):
        names = getattr(node, "_fields", map(str, range(len(node))))
        return list(zip(names, node, strict=True))
    return None


def _walk(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    children = _children(node)
    if children is None:
        yield path, node
    else:
        for key, child in children:
            yield from _walk(child, (*path, key))


def _rebuilt(node: Any, path: tuple[str, ...], change: Callable[[tuple[str, ...], Any], Any]) -> Any:
    children = _children(node)
    if children is None:
        return change(path, node)
    if node is None:
        return None
    new = [_rebuilt(child, (*path, key), change) for key, child in children]
    if isinstance(node, Mapping):
        return type(node)(zip(node, new, strict=True))  # type: ignore[call-arg]
    return type(node)(*new) if hasattr(node, "_fields") else type(node)(new)
