"""TensorBoard event files: one file a start of this node, in a folder a run.

An event file is a sequence of records: length (uint64), its checksum, the bytes of an `Event` in protobuf's encoding,
their checksum. Checksums are CRC-32C, rotated and offset so that a checksum of bytes that contain one is no special
case (TensorFlow, `core/lib/io/record_writer.cc` and `core/util/event.proto`). The four fields that curves need are
written here by themselves: a library would bring protobuf into every node.
"""

import asyncio
import errno
import os
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from swarmlearning.tracking.tracker import Point, TrackerError

VERSION: Final = "brain.Event:2"
_POLYNOMIAL: Final = 0x82F63B78


class EventFile:
    """Appends points to a new event file in `folder`, which is made when the first ones come."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None

    async def add(self, points: Sequence[Point]) -> None:
        """Writes the points, whole records only. Raises `TrackerError`."""
        try:
            await asyncio.to_thread(self._append, [event(each) for each in points])
        except OSError as error:
            raise TrackerError(f"the curves cannot be written to {self._folder}: {error.strerror}") from error

    async def close(self, *, complete: bool) -> None:
        """Nothing is left to write."""

    def _append(self, events: Sequence[bytes]) -> None:
        if self._path is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{time.time_ns() // 10**9:010d}.{socket.gethostname()}.{os.getpid()}"
            self._path = self._folder / name
            events = [header(), *events]
        with self._path.open("ab", buffering=0) as file:
            before = file.tell()
            data = b"".join(record(each) for each in events)
            try:
                if file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                with suppress(OSError):
                    file.truncate(before)
                raise


def record(data: bytes) -> bytes:
    """A record of an event file."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, struct.pack("<I", _masked(length)), data, struct.pack("<I", _masked(data))))


def header() -> bytes:
    """The `Event` at the beginning of each file."""
    return _double(1, time.time()) + _bytes(3, VERSION.encode())


def event(point: Point) -> bytes:
    """The `Event` with one value."""
    value = _bytes(1, point.tag.encode()) + b"\x15" + struct.pack("<f", _single(point.value))
    return _double(1, point.time_ms / 1000) + b"\x10" + _varint(point.step) + _bytes(5, _bytes(1, value))


def _single(value: float) -> float:
    """The value, infinite where single precision ends."""
    try:
        struct.pack("<f", value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    return value


def _double(field: int, value: float) -> bytes:
    return bytes([field << 3 | 1]) + struct.pack("<d", value)


def _bytes(field: int, data: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    """A number of at least 0 in groups of seven bits, the lowest first."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _masked(data: bytes) -> int:
    crc = _crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE: Final = tuple(_entry(byte) for byte in range(256))
