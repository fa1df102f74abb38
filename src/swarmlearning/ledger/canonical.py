"""One byte representation of a value, for hashing: JSON with sorted keys, no spaces, shortest float form."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec


def canonical(value: Any) -> bytes:
    """Canonical bytes of a structure of this room. Raises `ValueError` for NaN or infinity."""
    return _text(value).encode()


def sha256(data: bytes) -> str:
    """SHA-256 as lower-case hex."""
    return hashlib.sha256(data).hexdigest()


class Writer:
    """`canonical` of one thing that changes little from time to time: what has stayed is not written again.

    It keeps the text of every part, by the names that lead there, until another value is found in its place. Values
    are told apart by identity, so they must be immutable, as the entries of the world are.
    """

    __slots__ = ("_parts", "_text", "_value")

    def __init__(self) -> None:
        self._value: object = _NOTHING
        self._text = ""
        self._parts: dict[str, Writer] = {}

    def canonical(self, value: Any) -> bytes:
        """The same as `canonical(value)`."""
        return self._write(value).encode()

    def _write(self, value: Any) -> str:
        if value is not self._value:
            parts = _parts(value)
            self._text = self._join(parts) if parts else _text(value)
            self._value = value
        return self._text

    def _join(self, parts: Mapping[str, Any]) -> str:
        texts = []
        for name in sorted(parts):
            part = self._parts.get(name)
            if part is None:
                part = self._parts[name] = Writer()
            texts.append(f"{_encode(name)}:{part._write(parts[name])}")
        return "{" + ",".join(texts) + "}"


_NOTHING = object()


def _parts(value: Any) -> Mapping[str, Any]:
    """The parts that are written under names of their own, of a value with structures inside; else nothing."""
    if isinstance(value, dict):
        return value if any(isinstance(part, msgspec.Struct) for part in value.values()) else {}
    if isinstance(value, msgspec.Struct) and value.__struct_config__.tag is None:
        fields = _fields(value)
        if any(isinstance(part, msgspec.Struct) or _parts(part) for part in fields.values()):
            return fields
    return {}


def _fields(value: msgspec.Struct) -> dict[str, Any]:
    """The fields that are written; msgspec, too, tells a default by identity."""
    omitted = _defaults(type(value)) if value.__struct_config__.omit_defaults else {}
    fields = {name: getattr(value, name) for name in value.__struct_fields__}
    return {name: part for name, part in fields.items() if part is not omitted.get(name, _NOTHING)}


@cache
def _defaults(kind: type[msgspec.Struct]) -> dict[str, object]:
    return {field.name: field.default for field in msgspec.structs.fields(kind)}


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def _text(value: Any) -> str:
    return _encode(msgspec.to_builtins(value))
