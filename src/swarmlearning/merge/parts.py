"""What the sites that merge one range each have to tell: sums over their range, which are added up over all ranges.

A part from another site is off in its last bits, as its machine rounds; or it is a lie. `read` takes nothing that no
models could give; whether it is true shows only who computes it again (`GramPart.agrees`).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from blake3 import blake3

from swarmlearning.merge.arithmetic import Float64
from swarmlearning.merge.streaming import Range, float_values
from swarmlearning.tensors.file import Header

MOST_MODELS: Final = 64
"""In a part that comes from another site: 17 KB of inner products."""

LOST: Final = 2.0**-120
"""A squared distance for each value: float32 keeps 29 bits of a mean product so small."""

SCALE: Final = 2.0**-600
"""Squares of values so scaled stay below 1e256; the scale changes no coefficient."""

_LOST_SCALED: Final = 2.0**-1060  # in place of `LOST`, where products are of float64 and scaled

_ROOM: Final = 2.0**1000  # for what is computed from inner products; scaled ones are smaller

AGREEMENT: Final = 1e-5
"""Of the product of two lengths: what machines differ by in an inner product is less."""

_GRAM: Final = b"swarm-gram-1"
_INFLUENCE: Final = b"swarm-influence-1"
_FIELDS: Final = struct.Struct("<QQHB")


class PartError(Exception):
    """A part is none of these models, or the parts are not of all ranges; the text says how."""


@dataclass(frozen=True, eq=False)
class GramPart:
    """Inner products (n, n) of the models' floats in a range, about one point; `scaled`: of values times `SCALE`."""

    range: Range
    gram: Float64
    scaled: bool = False

    @property
    def digest(self) -> str:
        """The part's name: 64 lower-case hex digits."""
        return blake3(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """The one way to write it: tag, start and stop (u64), n (u16), `scaled` (u8), and row by row the float64 on the
        diagonal and right of it, all little-endian."""
        return _packed(_GRAM, self.range, len(self.gram), self.scaled, self.gram[np.triu_indices(len(self.gram))])

    @classmethod
    def read(cls, data: bytes, header: Header, part: Range, models: int) -> "GramPart":
        """The inverse of `to_bytes`, of so many models' range. Raises PartError when it cannot be that."""
        scaled, values = _unpacked(_GRAM, data, part, models, models * (models + 1) // 2)
        gram = np.zeros((models, models))
        rows, columns = np.triu_indices(models)
        gram[rows, columns] = gram[columns, rows] = values
        squares = np.diag(gram)
        if not (np.abs(gram) < (_ROOM if scaled else np.inf)).all() or (squares < 0).any():
            raise PartError(f"part {_named(part)}: inner products are not finite, or a square is negative")
        read = cls(part, gram, scaled)
        if (np.abs(gram) > (1 + AGREEMENT) * read._lengths(header)).any():
            raise PartError(f"part {_named(part)}: an inner product is larger than its vectors are long")
        return read

    def agrees(self, other: "GramPart", header: Header) -> bool:
        """True if both can be of the same models, about the same point, by two machines."""
        if self.range != other.range or self.gram.shape != other.gram.shape:
            return False
        scaled = self.scaled or other.scaled
        own, its = (GramPart(self.range, each.at(scaled), scaled) for each in (self, other))
        room = AGREEMENT * np.maximum(own._lengths(header), its._lengths(header))
        return bool((np.abs(own.gram - its.gram) <= room).all())

    def at(self, scaled: bool) -> Float64:
        """The inner products, of scaled values or of values as they are."""
        return self.gram * SCALE * SCALE if scaled and not self.scaled else self.gram

    def _lengths(self, header: Header) -> Float64:
        """The products (n, n) of two vectors' lengths, each longer by what is lost of short ones."""
        lost = _LOST_SCALED if self.scaled else LOST
        lengths = np.sqrt(np.diag(self.gram) + lost * float_values(header, self.range))
        return np.outer(lengths, lengths)


@dataclass(frozen=True, eq=False)
class InfluencePart:
    """The sums (n, 3) of `influence.tally` over a range."""

    range: Range
    sums: Float64

    @property
    def digest(self) -> str:
        """The part's name: 64 lower-case hex digits."""
        return blake3(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """The one way to write it, as that of a `GramPart`; the byte after n is 0, and every NaN the same one."""
        return _packed(_INFLUENCE, self.range, len(self.sums), False, np.where(np.isnan(self.sums), np.nan, self.sums))

    @classmethod
    def read(cls, data: bytes, part: Range, models: int) -> "InfluencePart":
        """The inverse of `to_bytes`, of so many models' range. Raises PartError when it cannot be that."""
        _, values = _unpacked(_INFLUENCE, data, part, models, 3 * models)
        sums = values.reshape(models, 3)
        if (sums[:, [0, 2]] < 0).any():
            raise PartError(f"part {_named(part)}: a square is negative")
        return cls(part, sums)


def total_gram(parts: Sequence[GramPart], header: Header, models: int) -> Float64:
    """The inner products (n, n) over all ranges, scaled where they have to be. Raises PartError."""
    _require_whole([part.range for part in parts], header)
    if any(len(part.gram) != models for part in parts):
        raise PartError(f"a part is not of the {models} models")
    ordered = sorted(parts, key=lambda part: part.range)
    with np.errstate(over="ignore", invalid="ignore"):
        for scaled in (any(part.scaled for part in parts), True):
            gram: Float64 = sum((part.at(scaled) for part in ordered), np.zeros((models, models)))
            if (np.abs(gram) < _ROOM).all():
                break
    return gram


def total_influence(parts: Sequence[InfluencePart], header: Header) -> Float64:
    """The sums (n, 3) over all ranges, for `influence.influences`. Raises PartError."""
    _require_whole([part.range for part in parts], header)
    if len({len(part.sums) for part in parts}) > 1:
        raise PartError("the parts are not of the same models")
    ordered = sorted(parts, key=lambda part: part.range)
    with np.errstate(over="ignore", invalid="ignore"):
        return sum((part.sums for part in ordered[1:]), ordered[0].sums)


def _require_whole(ranges: Sequence[Range], header: Header) -> None:
    at = 0
    for start, stop in sorted(ranges):
        if start != at or stop < start:
            raise PartError(f"parts overlap or lack: one ends at byte {at}, the next begins at {start}")
        at = stop
    if not ranges or at != header.data_size:
        raise PartError(f"the parts end at byte {at}, the models at {header.data_size}")


def _packed(tag: bytes, part: Range, models: int, flag: bool, values: Float64) -> bytes:
    return tag + _FIELDS.pack(*part, models, flag) + values.astype("<f8").tobytes()


def _unpacked(tag: bytes, data: bytes, part: Range, models: int, count: int) -> tuple[bool, Float64]:
    """The flag, and so many values."""
    if models > MOST_MODELS:
        raise PartError(f"parts are of {MOST_MODELS} models at most, these are {models}")
    for flag in (False, True):
        head = tag + _FIELDS.pack(*part, models, flag)
        if data.startswith(head) and len(data) == len(head) + 8 * count:
            return flag, np.frombuffer(data, "<f8", count, len(head)).astype(np.float64)
    raise PartError(f"{len(data)} bytes are no part {_named(part)} of {models} models")


def _named(part: Range) -> str:
    return f"{part.start}..{part.stop}"
