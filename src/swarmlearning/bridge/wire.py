"""Protocol Buffers' encoding (proto3), as far as the original's messages need it.

    key      varint: field number << 3 | wire type
    varint   wire type 0: seven bits a byte, least significant first (int32, uint32, bool, enum)
    length   wire type 2: a varint, then so many bytes (string, bytes, messages, packed integers)
    fixed32  wire type 5 (fixed32, float), fixed64 wire type 1

Numbers that are 0 and texts that are empty are not written; what is not there is read as such. Fields come in the
order of their numbers. https://protobuf.dev/programming-guides/encoding/
"""

import struct
from collections.abc import Iterator
from typing import Final

from swarmlearning.bridge.errors import Unusable

MAX_FIELDS: Final = 1000
"""Of a message without repeated fields, unknown ones included. Those of the protocol have at most nine."""
MAX_REPEATED: Final = 200_000
"""Of a message with a repeated field: a model file holds about 100,000 tensors."""
MAX_TEXT: Final = 2**16
"""Bytes of a text."""

_VARINT, _LENGTH = 0, 2
_FIXED = {1: 8, 5: 4}
_VARINT_BYTES = 10
_WORD = 2**64
_HIGHEST: Final = 15  # number of a field that the protocol knows, at most


class Fields:
    """The fields of one message. A number that is there twice counts as its last value; unknown ones are skipped.

    Needs next to no memory, whatever the message: values are numbers, or views of it. Raises `Unusable`, here and on
    access, for bytes that are no such message.
    """

    def __init__(self, message: memoryview | bytes, most: int = MAX_FIELDS) -> None:
        self._message = memoryview(message)
        self._last: dict[int, int | memoryview] = {}
        for count, (number, value) in enumerate(_fields(self._message), 1):
            if count > most:
                raise Unusable(f"a message has more than {most} fields")
            if number <= _HIGHEST:
                self._last[number] = value

    def integer(self, number: int) -> int:
        """An int32."""
        value = self._number(number) & 0xFFFF_FFFF
        return value - 2**32 if value >= 2**31 else value

    def flag(self, number: int) -> bool:
        return self._number(number) != 0

    def real(self, number: int) -> float:
        """A float of four bytes."""
        (value,) = struct.unpack("<f", struct.pack("<I", self._number(number) & 0xFFFF_FFFF))
        return float(value)

    def data(self, number: int) -> memoryview:
        """The bytes themselves, not a copy."""
        value = self._last.get(number, memoryview(b""))
        if isinstance(value, int):
            raise _other_type(number)
        return value

    def text(self, number: int) -> str:
        value = self.data(number)
        if len(value) > MAX_TEXT:
            raise Unusable(f"field {number} is a text of {len(value)} bytes; it has at most {MAX_TEXT}")
        try:
            return str(value, "utf-8")
        except UnicodeDecodeError:
            raise Unusable(f"field {number} is not UTF-8") from None

    def message(self, number: int) -> "Fields":
        return Fields(self.data(number))

    def messages(self, number: int) -> Iterator["Fields"]:
        """All of a repeated field, in turn."""
        for value in self._all(number):
            if isinstance(value, int):
                raise _other_type(number)
            yield Fields(value)

    def integers(self, number: int, most: int) -> list[int]:
        """A repeated uint32, packed or not, of at most so many numbers."""
        values: list[int] = []
        for value in self._all(number):
            packed, at = (memoryview(varint(value)) if isinstance(value, int) else value), 0
            while at < len(packed):
                one, at = _varint(packed, at)
                values.append(one)
                if len(values) > most:
                    raise Unusable(f"field {number} has more than {most} numbers")
        return values

    def _all(self, number: int) -> Iterator[int | memoryview]:
        return (value for found, value in _fields(self._message) if found == number)

    def _number(self, number: int) -> int:
        value = self._last.get(number, 0)
        if not isinstance(value, int):
            raise _other_type(number)
        return value


def integer(number: int, value: int) -> bytes:
    """A field of a whole number, bool or enum; nothing for 0."""
    return _key(number, _VARINT) + varint(value) if value else b""


def text(number: int, value: str) -> bytes:
    """A field of a string; nothing for an empty one."""
    return data(number, value.encode()) if value else b""


def data(number: int, value: bytes) -> bytes:
    """A field of bytes, or of a message."""
    return announced(number, len(value)) + value


def announced(number: int, length: int) -> bytes:
    """The beginning of a field of so many bytes, which the caller adds."""
    return _key(number, _LENGTH) + varint(length)


def varint(value: int) -> bytes:
    """Encodes a number; negative ones have ten bytes, as in protobuf."""
    value %= _WORD
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _key(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire_type == _LENGTH:
            length, at = _varint(message, at)
        elif wire_type in _FIXED:
            length = _FIXED[wire_type]
        else:
            raise Unusable(f"wire type {wire_type} in a message")
        start, at = at, at + length
        if at > len(message):
            raise Unusable("a message ends in the middle of a field")
        piece = message[start:at]
        yield number, piece if wire_type == _LENGTH else int.from_bytes(piece, "little")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number, and where the next thing begins."""
    value = 0
    for shift, byte in enumerate(message[at : at + _VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value % _WORD, at + shift + 1
    raise Unusable("a message ends in the middle of a number, or has one that is too long")


def _other_type(number: int) -> Unusable:
    return Unusable(f"field {number} has another type than this message's")
