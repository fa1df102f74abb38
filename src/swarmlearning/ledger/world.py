"""The world state: named entries, each an immutable structure. A change makes a new `World`; the old one stays valid.

`state_hash` covers every entry; only entries that changed since the last hash are encoded again.
"""

from collections.abc import Iterator, Mapping
from typing import Self, TypeVar

import msgspec

from swarmlearning.ledger.canonical import canonical, sha256

T = TypeVar("T", bound=msgspec.Struct)


class World:
    """Immutable mapping of `area/name` to a frozen structure."""

    __slots__ = ("_digests", "_entries")

    def __init__(self) -> None:
        self._entries: dict[str, msgspec.Struct] = {}
        self._digests: dict[str, str] = {}

    def get(self, key: str, kind: type[T]) -> T | None:
        """The entry, or None."""
        entry = self._entries.get(key)
        if entry is not None and not isinstance(entry, kind):
            raise TypeError(f"{key} holds a {type(entry).__name__}, not a {kind.__name__}")
        return entry

    def area(self, prefix: str, kind: type[T]) -> Iterator[T]:
        """The entries whose key starts with `prefix`, by key."""
        for key in sorted(self._entries):
            if key.startswith(prefix):
                entry = self.get(key, kind)
                assert entry is not None
                yield entry

    def with_entries(self, changes: Mapping[str, msgspec.Struct]) -> Self:
        """A copy with these entries set."""
        changed = {key: entry for key, entry in changes.items() if self._entries.get(key) is not entry}
        if not changed:
            return self
        copy = type(self)()
        copy._entries = {**self._entries, **changed}
        copy._digests = {key: digest for key, digest in self._digests.items() if key not in changed}
        return copy

    def state_hash(self) -> str:
        """SHA-256 over all keys and entry digests, as lower-case hex."""
        for key, entry in self._entries.items():
            if key not in self._digests:
                self._digests[key] = sha256(canonical(entry))
        lines = "".join(f"{key} {self._digests[key]}\n" for key in sorted(self._entries))
        return sha256(lines.encode())
