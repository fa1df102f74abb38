"""Inputs for readers: examples that were altered. The same dice make the same inputs."""

from collections.abc import Callable
from random import Random
from typing import Final

ODD: Final = (
    b"",
    b"\0",
    b"\xff" * 9,
    b"-1",
    b"-0",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"null",
    b"1e400",
    b"9" * 30,
    b"[" * 300,
    b"{" * 300,
    b"\r\n",
    b"\x80" * 11,
    b"\x7f\xff\xff\xff",
)
LONGEST: Final = 1000
"""Bytes of a part that is repeated or taken from another example."""


def altered(dice: Random, seeds: tuple[bytes, ...]) -> bytes:
    """One of the seeds with up to four parts altered; now and then bytes that have nothing to do with them."""
    if dice.random() < 0.05:
        return dice.randbytes(dice.randrange(200))
    data = dice.choice(seeds)
    for _ in range(dice.choice((0, 1, 1, 1, 2, 4))):
        data = dice.choice(_CHANGES)(dice, data, seeds)
    return data


def _flip(dice: Random, data: bytes, seeds: tuple[bytes, ...]) -> bytes:
    if not data:
        return data
    changed = bytearray(data)
    changed[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def _replace(dice: Random, data: bytes, seeds: tuple[bytes, ...]) -> bytes:
    begin, end = _span(dice, data)
    return data[:begin] + dice.randbytes(end - begin) + data[end:]


def _insert_odd(dice: Random, data: bytes, seeds: tuple[bytes, ...]) -> bytes:
    begin, end = _span(dice, data)
    return data[:begin] + dice.choice(ODD) + data[dice.choice((begin, end)) :]


def _cut(dice: Random, data: bytes, seeds: tuple[bytes, ...]) -> bytes:
    begin, end = _span(dice, data)
    return data[:begin] + dice.choice((b"", data[end:]))


def _repeat(dice: Random, data: bytes, seeds: tuple[bytes, ...]) -> bytes:
    begin, end = _span(dice, data)
    return data[:end] + data[begin:end] * dice.choice((1, 2, 20)) + data[end:]


def _splice(dice: Random, data: bytes, seeds: tuple[bytes, ...]) -> bytes:
    other = dice.choice(seeds)
    (begin, end), (first, last) = _span(dice, data), _span(dice, other)
    return data[:begin] + other[first:last] + data[end:]


def _change_number(dice: Random, data: bytes, seeds: tuple[bytes, ...]) -> bytes:
    """Another byte, one more or one less."""
    if not data:
        return data
    place = dice.randrange(len(data))
    return data[:place] + bytes([(data[place] + dice.choice((-1, 1))) % 256]) + data[place + 1 :]


def _span(dice: Random, data: bytes) -> tuple[int, int]:
    begin = dice.randrange(len(data) + 1)
    return begin, min(len(data), begin + dice.choice((1, 2, 4, 8, 40, LONGEST)))


_CHANGES: Final[tuple[Callable[[Random, bytes, tuple[bytes, ...]], bytes], ...]] = (
    _flip,
    _replace,
    _insert_odd,
    _cut,
    _repeat,
    _splice,
    _change_number,
)
