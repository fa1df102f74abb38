"""Tensors that a user names by patterns, as in a shell: `*` is any text, `?` one character, `[ab]` one of these.

A pattern has to fit a whole name, capitals and all. One that fits none is a mistake, and is never just ignored.
"""

from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import Any

from swarmlearning.client.errors import SwarmError
from swarmlearning.tensors.structure import labels


def checked(option: str, given: Any) -> tuple[str, ...]:
    """Returns the patterns of an option; none where it is not given. Raises `SwarmError`."""
    if given is None:
        return ()
    if not isinstance(given, list | tuple) or not all(isinstance(each, str) and each for each in given):
        raise SwarmError(f"{option} has to be a list of patterns, such as ['head.*']; it is {given!r}")
    return tuple(given)


def matched(option: str, patterns: Collection[str], names: Collection[str]) -> frozenset[str]:
    """Returns the names that a pattern fits. Raises `SwarmError` for a pattern that fits none, with what there is."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise SwarmError(f"{option}: no tensor of the model fits {pattern!r}. There are {labels(sorted(names))}")
    return frozenset(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))
