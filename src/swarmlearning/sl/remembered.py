"""What a node remembers of the newest few recipes, by slice or the like."""

from typing import Final, Generic, TypeVar

MOST: Final = 4
"""Recipes."""

Key = TypeVar("Key", int, str)
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """Values by the name of a recipe and a key. One thread at a time may put something in, others may get it."""

    def __init__(self) -> None:
        self._known: dict[str, dict[Key, Value]] = {}

    def put(self, name: str, key: Key, value: Value) -> None:
        """Remembers it, and forgets all of the oldest recipe where there are too many."""
        self._known.setdefault(name, {})[key] = value
        while len(self._known) > MOST:
            del self._known[next(iter(self._known))]

    def get(self, name: str, key: Key) -> Value | None:
        """None where it is not known, or not any more."""
        return self.all(name).get(key)

    def all(self, name: str) -> dict[Key, Value]:
        """All that is known of this recipe."""
        return dict(self._known.get(name, {}))
