"""The world state: named entries, each an immutable structure. A change makes a new `World`; the old one stays valid.

Entries lie in areas, the part of the key up to the first slash, and a change copies only its area. `state_hash` covers
every entry; only what has changed since it was last hashed is written again.
"""

from collections.abc import Iterator, Mapping
from typing import Self, TypeVar

import msgspec

from swarmlearning.ledger.canonical import Writer, sha256

T = TypeVar("T", bound=msgspec.Struct)


class World:
    """Immutable mapping of `area/name` to a frozen structure."""

    __slots__ = ("_areas", "_lines")

    def __init__(self) -> None:
        self._areas: dict[str, dict[str, msgspec.Struct]] = {}
        self._lines: dict[str, _Line] = {}  # shared by all worlds that come from one another

    def get(self, key: str, kind: type[T]) -> T | None:
        """The entry, or None."""
        entry = self._areas.get(_area(key), {}).get(key)
        if entry is not None and not isinstance(entry, kind):
            raise TypeError(f"{key} holds a {type(entry).__name__}, not a {kind.__name__}")
        return entry

    def area(self, prefix: str, kind: type[T]) -> Iterator[T]:
        """The entries of the area with this prefix (`node/`), by key."""
        for key in sorted(self._areas.get(_area(prefix), {})):
            entry = self.get(key, kind)
            assert entry is not None
            yield entry

    def with_entries(self, changes: Mapping[str, msgspec.Struct]) -> Self:
        """A copy with these entries set."""
        areas: dict[str, dict[str, msgspec.Struct]] = {}
        for key, entry in changes.items():
            name = _area(key)
            present = self._areas.get(name, {})
            if present.get(key) is not entry:
                areas.setdefault(name, dict(present))[key] = entry
        if not areas:
            return self
        copy = type(self)()
        copy._areas = self._areas | areas
        copy._lines = self._lines
        return copy

    @property
    def entries(self) -> dict[str, msgspec.Struct]:
        """All entries, by key."""
        return {key: entry for area in self._areas.values() for key, entry in area.items()}

    def state_hash(self) -> str:
        """SHA-256 over all keys and entry digests, as lower-case hex."""
        entries = self.entries
        return sha256("".join(self._line(key, entries[key]) for key in sorted(entries)).encode())

    def _line(self, key: str, entry: msgspec.Struct) -> str:
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(key)
        return line.of(entry)


class _Line:
    """The line of one key, of the entry that was hashed last."""

    __slots__ = ("_entry", "_key", "_text", "_writer")

    def __init__(self, key: str) -> None:
        self._key = key
        self._writer = Writer()
        self._entry: msgspec.Struct | None = None
        self._text = ""

    def of(self, entry: msgspec.Struct) -> str:
        if entry is not self._entry:
            self._text = f"{self._key} {sha256(self._writer.canonical(entry))}\n"
            self._entry = entry
        return self._text


def _area(key: str) -> str:
    return key.partition("/")[0]
