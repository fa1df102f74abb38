"""Typed readers of a document's values.

A reader that finds something wrong notes it and returns a placeholder, so that all faults of a file are named in one
go; `read` raises before any placeholder gets out.
"""

import difflib
import math
import re
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from swarmlearning.documents.faults import Faults
from swarmlearning.documents.nodes import Mapping, Node, Scalar, Sequence, described, is_null, item_field, key_field
from swarmlearning.documents.parsing import parse

T = TypeVar("T")
C = TypeVar("C", bound=str)

_INTEGER = re.compile(r"[-+]?[0-9][0-9_]{0,17}")
_NUMBER = re.compile(r"[-+]?(?:[0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15})(?:[eE][-+]?[0-9]{1,2})?")
_TRUE = ("true", "yes", "on")
_FALSE = ("false", "no", "off")
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
_KEYS_NAMED = 12


def read(data: bytes, name: str, reader: Callable[["Value"], T]) -> T:
    """What `reader` makes of the document's root. Raises `DocumentError` with all that is wrong."""
    faults = Faults()
    root = parse(data, name, faults)
    result = reader(Value(root, "", faults))
    faults.raise_any(name)
    return result


@dataclass(frozen=True)
class Value:
    """A value of the document in its field; `node` is None for a field that is not there."""

    node: Node | None
    field: str
    faults: Faults

    @property
    def is_null(self) -> bool:
        """Null, or not there."""
        return self.node is None or is_null(self.node)

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.node, Mapping)

    @property
    def is_list(self) -> bool:
        return isinstance(self.node, Sequence)

    def fault(self, message: str) -> None:
        """Notes that something is wrong with this value; one that is not there has been noted before."""
        if self.node is not None:
            self.faults.add(self.node.mark, self.field, message)

    def optional(self, reader: Callable[["Value"], T]) -> T | None:
        """What the reader makes of it; None for null or a field that is not there."""
        return None if self.is_null else reader(self)

    def text(self, least: int = 1, most: int = 160, *, lines: bool = False) -> str:
        """Text of so many characters, exactly as written, whatever YAML would make of it (`False`, `010`).

        It is empty where it is wrong. The line end after a block of text (`|`, `>`) does not count. Refused are
        control characters, but for tabs and with `lines` for line ends, and characters that hide or that turn the
        direction of text.
        """
        if not isinstance(self.node, Scalar) or self.is_null:
            return self._expected("text", "")
        text = self.node.text.rstrip("\n")
        invisible = next((c for c in text if c not in "\t\n" and unicodedata.category(c) in _INVISIBLE), None)
        if not least <= len(text) <= most:
            length = f"{least} to {most}" if least > 0 else f"at most {most}"
            self.fault(f"expected text of {length} characters, found {len(text)}")
        elif not lines and "\n" in text:
            self.fault("expected text of a single line, found several lines")
        elif invisible:
            self.fault(f"the text has the invisible character U+{ord(invisible):04X}; remove it")
        else:
            return text
        return ""

    def integer(self, least: int, most: int) -> int:
        """A whole number in decimal digits, quoted or not, within these bounds."""
        text = self.node.text if isinstance(self.node, Scalar) else ""
        number = int(text) if _INTEGER.fullmatch(text) else None
        if number is None or not least <= number <= most:
            return self._expected(f"a whole number from {least} to {most}", least)
        return number

    def number(self, least: float, most: float) -> float:
        """A decimal number within these bounds."""
        text = self.node.text if isinstance(self.node, Scalar) else ""
        number = float(text) if _NUMBER.fullmatch(text) else math.nan
        return (
            number if least <= number <= most else self._expected(f"a number from {least:.10g} to {most:.10g}", least)
        )

    def boolean(self) -> bool:
        """True or false in any spelling of YAML 1.1."""
        text = self.node.text.lower() if isinstance(self.node, Scalar) else ""
        return text in _TRUE if text in (*_TRUE, *_FALSE) else self._expected("true or false", False)

    def choice(self, options: tuple[C, ...]) -> C:
        """One of these words, in capitals or not."""
        text = self.node.text if isinstance(self.node, Scalar) else ""
        if found := next((option for option in options if option.lower() == text.lower()), None):
            return found
        near = difflib.get_close_matches(text.upper(), options, 1, 0.75)
        return self._expected(_either(options), options[0], f"; did you mean {near[0]}?" if near else "")

    def items(self, least: int = 0, most: int = 1000) -> list["Value"]:
        """The items of a list of this length."""
        if not isinstance(self.node, Sequence):
            return self._expected("a list", [])
        if not least <= len(self.node.items) <= most:
            self.fault(f"expected a list of {least} to {most} items, found {len(self.node.items)}")
        return [Value(node, item_field(self.field, i), self.faults) for i, node in enumerate(self.node.items[:most])]

    def entries(self) -> list[tuple[str, "Value"]]:
        """The keys and values of a mapping whose keys are free."""
        if not isinstance(self.node, Mapping):
            return self._expected("a mapping", [])
        return [(key.text, self._inner(key.text, node)) for key, node in self.node.entries]

    def fields(
        self, required: tuple[str, ...], optional: tuple[str, ...] = (), spelled: dict[str, str] | None = None
    ) -> "Fields":
        """The fields of a mapping that has all required ones and no unknown one.

        `spelled`: other spellings of a field that are accepted, and what they stand for.
        """
        if not isinstance(self.node, Mapping):
            self._expected(f"a mapping with {_listed(required or optional)}", None)
            return Fields({}, self)
        known, found, meant = (*required, *optional), dict[str, Value](), set[str | None]()
        for key, node in self.node.entries:
            name = (spelled or {}).get(key.text, key.text)
            value = self._inner(key.text, node)
            if name not in known:
                meant.add(near := _nearest(key.text, known))
                hint = f"did you mean {near}?" if near else f"known keys are {_listed(known)}"
                self.faults.add(key.mark, value.field, f"unknown key; {hint}")
            elif name in found:
                self.faults.add(key.mark, value.field, f"{name} is already there in another spelling")
            else:
                found[name] = value
        for name in required:
            if name not in found and name not in meant:
                self.lacks(name)
        return Fields(found, self)

    def lacks(self, name: str) -> None:
        """Notes that this mapping has no such key."""
        if self.node is not None:
            self.faults.add(self.node.mark, key_field(self.field, name), "the key is missing")

    def part(self, text: str) -> "Value":
        """A part of this text as a value of the same field."""
        return Value(None if self.node is None else Scalar(self.node.mark, text, False), self.field, self.faults)

    def _inner(self, key: str, node: Node) -> "Value":
        return Value(node, key_field(self.field, key), self.faults)

    def _expected(self, what: str, placeholder: T, hint: str = "") -> T:
        if self.node is not None:
            self.fault(f"expected {what}, found {described(self.node)}{hint}")
        return placeholder


def distinct(found: Iterable[tuple[Value, Hashable]], of: str) -> None:
    """Notes each value whose meaning another one before it has too; null ones do not count. `of`: what has them."""
    seen = set[Hashable]()
    for value, meaning in found:
        if value.is_null:
            continue
        if meaning in seen:
            value.fault(f"{meaning} is already used by another {of}")
        seen.add(meaning)


@dataclass(frozen=True)
class Fields:
    """The fields of a mapping, by name."""

    found: dict[str, Value]
    parent: Value

    def __getitem__(self, name: str) -> Value:
        """A field's value; one that is not there counts as null and is not complained about again."""
        return self.found.get(name) or Value(None, name, self.parent.faults)

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)


def _either(options: tuple[str, ...]) -> str:
    return options[0] if len(options) == 1 else f"{', '.join(options[:-1])} or {options[-1]}"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_KEYS_NAMED]) + (", ..." if len(names) > _KEYS_NAMED else "")


def _nearest(key: str, known: tuple[str, ...]) -> str | None:
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(key.lower(), by_lower, 1, 0.6)
    return by_lower[near[0]] if near else None
