"""Numbers of a change in fewer bits: 8 or 4 with a scale for each block of 64, or bfloat16.

A block's scale is its largest magnitude / 127 (int8) or / 7 (int4), computed in float64 and rounded *up* to bfloat16,
so nothing is clipped. A code is value / scale, rounded half to even: -127 to 127, or -7 to 7. Codes are two's
complement, of 4 bits the first in the low half of a byte; a half that is left over is 0. A scale below 2^-126 is 0, and
so are its codes. A run of values is all its scales, then all its codes. There is one way to code any values.

A block that cannot be coded has a NaN for its scale, and codes 0: its values are not finite, or larger than bfloat16
goes. Whoever reads it leaves the change out and says where, as with NaN in a model that is sent as it is.

Only operations that IEEE 754 fixes are used, so the same values have the same codes on every machine, and codes the
same values.
"""

from typing import Any, Final

import numpy as np

from swarmlearning.choices import Transfer
from swarmlearning.merge.arithmetic import Float64, narrow, widen
from swarmlearning.tensors.file import Array

Codes = np.ndarray[Any, np.dtype[np.int8]]
Scales = np.ndarray[Any, np.dtype[np.uint16]]

BLOCK: Final = 64
"""Values that share a scale."""
LARGEST: Final[dict[Transfer, int]] = {"int8": 127, "int4": 7}
"""The largest code."""

_SCALE: Final = 2  # bytes
_NAN: Final = 0x7FC0
_INFINITY: Final = 0x7F80
_LEAST_NORMAL: Final = 0x0080
_LARGEST_BFLOAT16: Final = float.fromhex("0x1.fep127")


class BadCodes(Exception):
    """Bytes that no change is coded by; `block` is the first such one of the run, and the text says what is wrong.

    `not_finite`: they stand for values that cannot be coded.
    """

    def __init__(self, block: int, text: str, not_finite: bool = False) -> None:
        super().__init__(text)
        self.block = block
        self.not_finite = not_finite


def coded_size(transfer: Transfer, count: int) -> int:
    """Bytes of a run of so many values."""
    if transfer == "bfloat16":
        return 2 * count
    return scales_before(count) + code_bytes(transfer, count)


def code_bytes(transfer: Transfer, count: int) -> int:
    """Bytes of the codes alone, of so many values that share scales."""
    return -(-count // 2) if transfer == "int4" else count


def scales_before(count: int) -> int:
    """Bytes of the scales of the blocks that begin among the first so many values of a run."""
    return _SCALE * -(-count // BLOCK)


def encode(transfer: Transfer, values: Float64) -> tuple[Array, Float64]:
    """Codes of a run of values (m,), as bytes; and the values that they stand for (m,), NaN where there are none."""
    if transfer == "bfloat16":
        return _encode_bfloat16(values)
    largest, count = LARGEST[transfer], len(values)
    blocks = np.zeros((-(-count // BLOCK), BLOCK))
    blocks.reshape(-1)[:count] = values
    with np.errstate(all="ignore"):
        scales = _scales(np.abs(blocks).max(axis=1, initial=0.0) / largest)
        steps = widen("BF16", scales)
        codable = (scales != 0) & (scales != _NAN)
        codes = np.rint(blocks / np.where(codable, steps, np.inf)[:, None])
        codes[~codable] = 0
        stands_for = (codes * steps[:, None]).reshape(-1)[:count]
    packed = _pack(transfer, codes.astype(np.int8).reshape(-1)[:count])
    return np.concatenate([scales.astype("<u2").view(np.uint8), packed]), stands_for


def decode(transfer: Transfer, scales: Array, codes: Array, count: int) -> Float64:
    """The negative of each of `count` values. Raises BadCodes for what `encode` cannot have written.

    `scales` and `codes`: bytes, of the same whole blocks; of bfloat16 all are `codes`. Negative, so that subtracting it
    leaves every value as it is where the code is 0, a -0.0 included.
    """
    if transfer == "bfloat16":
        return _decode_bfloat16(codes)
    steps = scales.view("<u2")
    _check_scales(steps)
    whole = np.zeros(len(steps) * BLOCK, np.int8)
    whole[:count] = _unpack(transfer, codes, count)
    blocks = whole.reshape(-1, BLOCK)
    _check_codes(transfer, steps, blocks)
    values: Float64 = np.negative(blocks).astype(np.float64)
    values *= widen("BF16", steps)[:, None]
    return values.reshape(-1)[:count]


def _scales(exact: Float64) -> Scales:
    """Rounded up to bfloat16: 0 where it is below the least normal one, NaN where it is none or too large."""
    single = exact.astype(np.float32)
    bits = single.view(np.uint32)
    bits += (single < exact) & (bits < 0x7F7FFFFF)
    rounded = (bits + np.uint32(0xFFFF)) >> 16
    scales = rounded.astype(np.uint16)
    scales[exact < 2.0**-126] = 0
    scales[~(exact <= _LARGEST_BFLOAT16)] = _NAN
    return scales


def _pack(transfer: Transfer, codes: Codes) -> Array:
    if transfer == "int8":
        return codes.view(np.uint8)
    halves = np.zeros(2 * code_bytes(transfer, len(codes)), np.uint8)
    halves[: len(codes)] = codes.view(np.uint8) & 0xF
    return halves[::2] | (halves[1::2] << 4)


def _unpack(transfer: Transfer, packed: Array, count: int) -> Codes:
    if transfer == "int8":
        return packed.view(np.int8)
    codes = np.empty(2 * len(packed), np.int8)
    np.right_shift(np.left_shift(packed, 4).view(np.int8), 4, out=codes[::2])
    np.right_shift(packed.view(np.int8), 4, out=codes[1::2])
    if count % 2 and codes[-1]:
        raise BadCodes((count - 1) // BLOCK, "the half byte behind the last code is not 0")
    return codes[:count]


def _check_scales(scales: Array) -> None:
    wrong = (scales >= _INFINITY) | ((scales < _LEAST_NORMAL) & (scales != 0))
    if wrong.any():
        block = int(wrong.argmax())
        found = int(scales[block])
        raise BadCodes(block, _fault_of_scale(found), not_finite=found == _NAN)


def _fault_of_scale(bits: int) -> str:
    if bits == _NAN:
        return "its values are not finite, or too large"
    if bits & 0x7FFF >= _INFINITY:
        return "the scale is no finite number"
    return "the scale is negative" if bits & 0x8000 else "the scale is subnormal"


def _check_codes(transfer: Transfer, scales: Array, blocks: Codes) -> None:
    least = -LARGEST[transfer] - 1
    if blocks.min(initial=0) == least:
        raise BadCodes(int((blocks == least).any(axis=1).argmax()), f"the code {least} is no code")
    empty = scales == 0
    if empty.any() and (wrong := blocks[empty].any(axis=1)).any():
        raise BadCodes(int(np.flatnonzero(empty)[wrong.argmax()]), "the scale is 0, and codes under it are not")


def _encode_bfloat16(values: Float64) -> tuple[Array, Float64]:
    with np.errstate(all="ignore"):
        codes = narrow("BF16", values)
    codes[codes & 0x7FFF >= _INFINITY] = _NAN
    return codes.astype("<u2").view(np.uint8), widen("BF16", codes)


def _decode_bfloat16(codes: Array) -> Float64:
    bits = codes.view("<u2")
    wrong = bits & 0x7FFF >= _INFINITY
    if wrong.any():
        first = int(wrong.argmax())
        raise BadCodes(first // BLOCK, "a value is not finite, or too large", not_finite=int(bits[first]) == _NAN)
    values = np.negative(widen("BF16", bits))
    values += 0.0  # of -0.0 it makes 0.0
    return values
