"""The world state: named entries, each an immutable structure. A change makes a new `World`; the old one stays valid.

Entries lie in areas, the part of the key up to the first slash. A change copies only its area; what has been computed
of an area, such as its part of `state_hash`, is kept for as long as no entry of the area changes.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self, TypeVar

import msgspec

from swarmlearning.ledger.canonical import Writer, sha256

T = TypeVar("T", bound=msgspec.Struct)
R = TypeVar("R")


class World:
    """Immutable mapping of `area/name` to a frozen structure."""

    __slots__ = ("_areas", "_lines")

    def __init__(self) -> None:
        self._areas: dict[str, _Area] = {}
        self._lines: dict[str, _Line] = {}  # shared by all worlds that come from one another

    def get(self, key: str, kind: type[T]) -> T | None:
        """The entry, or None."""
        area = self._areas.get(key.partition("/")[0], _EMPTY)
        entry = area.entries.get(key)
        if entry is not None and not isinstance(entry, kind):
            raise TypeError(f"{key} holds a {type(entry).__name__}, not a {kind.__name__}")
        return entry

    def area(self, prefix: str, kind: type[T]) -> tuple[T, ...]:
        """The entries of the area with this prefix (`node/`), by key."""
        return self.derived(prefix, kind, tuple)

    def derived(self, prefix: str, kind: type[T], compute: Callable[[tuple[T, ...]], R]) -> R:
        """`compute` of the entries of an area, by key; computed once for as long as none of them changes.

        `compute` is a function of a module or a class, pure, and nobody may change its result.
        """
        area = self._areas.get(prefix.partition("/")[0], _EMPTY)
        try:
            found: R = area.derived[compute]
        except KeyError:
            found = area.derived[compute] = compute(area.listed(kind))
        return found

    def with_entries(self, changes: Mapping[str, msgspec.Struct]) -> Self:
        """A copy with these entries set."""
        areas: dict[str, dict[str, msgspec.Struct]] = {}
        for key, entry in changes.items():
            name = key.partition("/")[0]
            present = self._areas.get(name, _EMPTY).entries
            if present.get(key) is not entry:
                areas.setdefault(name, dict(present))[key] = entry
        if not areas:
            return self
        copy = type(self)()
        copy._areas = self._areas | {name: _Area(entries) for name, entries in areas.items()}
        copy._lines = self._lines
        return copy

    def without(self, keys: Iterable[str]) -> Self:
        """A copy that does not have these entries; keys that are not there are ignored."""
        areas: dict[str, dict[str, msgspec.Struct]] = {}
        for key in keys:
            name = key.partition("/")[0]
            present = self._areas.get(name, _EMPTY).entries
            if key in present:
                areas.setdefault(name, dict(present)).pop(key, None)
                self._lines.pop(key, None)  # only made again where another world still has the entry
        if not areas:
            return self
        copy = type(self)()
        copy._areas = self._areas | {name: _Area(entries) for name, entries in areas.items()}
        copy._lines = self._lines
        return copy

    def __len__(self) -> int:
        """The number of entries."""
        return sum([len(area.entries) for area in self._areas.values()])

    @property
    def entries(self) -> dict[str, msgspec.Struct]:
        """All entries, by key."""
        return {key: entry for area in self._areas.values() for key, entry in area.entries.items()}

    def state_hash(self) -> str:
        """SHA-256 over all keys and entry digests, as lower-case hex."""
        # No name of an area begins another: the order of areas, and of keys in each, is that of all keys.
        return sha256("".join(self._text(self._areas[name]) for name in sorted(self._areas)).encode())

    def _text(self, area: "_Area") -> str:
        if area.text is None:
            area.text = "".join([self._line(key, area.entries[key]) for key in sorted(area.entries)])
        return area.text

    def _line(self, key: str, entry: msgspec.Struct) -> str:
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(key)
        return line.text if entry is line.entry else line.of(entry)


class _Area:
    """The entries of one area, which do not change, and what has been computed of them."""

    __slots__ = ("derived", "entries", "text")

    def __init__(self, entries: dict[str, msgspec.Struct]) -> None:
        self.entries = entries
        self.derived: dict[Callable[..., Any], Any] = {}
        self.text: str | None = None

    def listed(self, kind: type[T]) -> tuple[T, ...]:
        listed = []
        for key in sorted(self.entries):
            entry = self.entries[key]
            if not isinstance(entry, kind):
                raise TypeError(f"{key} holds a {type(entry).__name__}, not a {kind.__name__}")
            listed.append(entry)
        return tuple(listed)


_EMPTY = _Area({})


class _Line:
    """The line of one key, of the entry that was hashed last."""

    __slots__ = ("_key", "_writer", "entry", "text")

    def __init__(self, key: str) -> None:
        self._key = key
        self._writer = Writer()
        self.entry: msgspec.Struct | None = None
        self.text = ""

    def of(self, entry: msgspec.Struct) -> str:
        self.text = f"{self._key} {sha256(self._writer.canonical(entry))}\n"
        self.entry = entry
        return self.text
