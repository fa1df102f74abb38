"""One byte representation of a value, for hashing: JSON with sorted keys, no spaces, shortest float form."""

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from typing import Any, get_args, get_type_hints

import msgspec


def canonical(value: Any) -> bytes:
    """Canonical bytes of a structure of this room. Raises `ValueError` for NaN or infinity."""
    return _text(value).encode()


def sha256(data: bytes) -> str:
    """SHA-256 as lower-case hex."""
    return hashlib.sha256(data).hexdigest()


class Writer:
    """`canonical` of one value that changes little from time to time: unchanged parts are not written again.

    It keeps the text of every part, by the names that lead there, until another value is found in its place. Values
    are distinguished by identity, so they must be immutable, as the entries of the world are.
    """

    __slots__ = ("_label", "_parts", "_text", "_value")

    def __init__(self, label: str = "") -> None:
        """`label` is written before every value."""
        self._label = label
        self._value: object = _NOTHING
        self._text = ""
        self._parts: dict[str, Writer] = {}

    def canonical(self, value: Any) -> bytes:
        """Returns the bytes that the function `canonical` returns, from what has not changed since the last call."""
        return (self._text if value is self._value else self._write(value)).encode()

    def _write(self, value: Any) -> str:
        parts = _parts(value)
        self._text = self._label + (_text(value) if parts is None else self._join(parts))
        self._value = value
        return self._text

    def _join(self, parts: Sequence[tuple[str, Any]]) -> str:
        texts, writers = [], self._parts
        for name, value in parts:
            try:
                writer = writers[name]
            except KeyError:
                writer = writers[name] = Writer(f"{_encode(name)}:")
            texts.append(writer._text if value is writer._value else writer._write(value))
        return "{" + ",".join(texts) + "}"


_NOTHING = object()


def _parts(value: Any) -> Sequence[tuple[str, Any]] | None:
    """The parts that are written under names of their own, by name, of a value with structures inside; else None."""
    if isinstance(value, msgspec.Struct):
        if (fields := _fields(type(value))) is None:
            return None
        values = msgspec.structs.astuple(value)
        # msgspec, too, recognises a default that is omitted by its identity
        return [(name, values[index]) for name, index, omitted in fields if values[index] is not omitted]
    if isinstance(value, dict) and isinstance(next(iter(value.values()), None), msgspec.Struct):
        return sorted(value.items())
    return None


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[tuple[str, int, object], ...] | None:
    """Name, place and omitted default of each field, by name; None of a kind without structures inside, or tagged."""
    config, fields = kind.__struct_config__, msgspec.structs.fields(kind)
    if config.tag is not None or not any(map(_holds_structures, get_type_hints(kind).values())):
        return None
    return tuple(
        sorted(
            (field.name, index, field.default if config.omit_defaults else _NOTHING)
            for index, field in enumerate(fields)
        )
    )


def _holds_structures(hint: object) -> bool:
    """True of a structure, and of a union, dict or alias with one inside."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return True
    return any(map(_holds_structures, get_args(hint)))


_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
).encode


def _text(value: Any) -> str:
    return _encode(msgspec.to_builtins(value))
