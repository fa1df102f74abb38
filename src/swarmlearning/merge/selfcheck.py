"""Does this machine, in this thread, compute the bits that all others do?

Merging and stepping use only what IEEE 754 fixes to the bit. A machine can break that all the same: a library loaded
into the process that was built with -ffast-math sets the processor to flush subnormals to zero, in one thread; an
emulator, or a build of NumPy for some processor, has a fault. Its results would differ from those of the other sites,
and the models would part without anybody being told.

So a few *golden vectors*, which have what goes wrong first (subnormals, -0.0, ties between two roundings), are computed
when a node starts, and once in each thread that merges or steps, before it does. They take less than a millisecond.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from swarmlearning.choices import Transfer
from swarmlearning.errors import UserError
from swarmlearning.merge.arithmetic import weighted_mean
from swarmlearning.merge.changes import coded_back
from swarmlearning.merge.coding import decode, encode, scales_before
from swarmlearning.merge.outer import Outer, momentum_dtype, stepped
from swarmlearning.tensors.file import DTYPES, Array


class DifferentArithmetic(UserError):
    """This node computes other bits than all others, so it must not take part; the text says what differs."""


class Vector(NamedTuple):
    """A computation, and the bytes it gives everywhere, as hexadecimal digits."""

    name: str
    compute: Callable[[], bytes]
    expected: str


def _mean(dtype: str, rows: Sequence[str], coefficients: Sequence[int]) -> bytes:
    return weighted_mean(dtype, [_array(dtype, row) for row in rows], coefficients).tobytes()


def _step(outer: Outer, dtype: str, base: str, merged: str, *moments: str) -> bytes:
    before = [_array(momentum_dtype(dtype), each) for each in moments] or None
    done = stepped(outer, dtype, _array(dtype, base), _array(dtype, merged), before)
    return b"" if done is None else b"".join(each.tobytes() for each in (done.values, *done.moments))


def _coded(transfer: Transfer, values: str) -> bytes:
    """Codes of these values of F64, and the values that they stand for, with the other sign."""
    change = _array("F64", values)
    codes, _ = encode(transfer, change)
    scales = 0 if transfer == "bfloat16" else scales_before(len(change))
    return codes.tobytes() + decode(transfer, codes[:scales], codes[scales:], len(change)).tobytes()


def _back(dtype: str, base: str, merged: str) -> bytes:
    """Codes of what was merged, and the values that base and codes give."""
    made = coded_back("int8", dtype, _array(dtype, base), _array(dtype, merged))
    return made.codes.tobytes() + made.values.tobytes()


def _array(dtype: str, bits: str) -> Array:
    """Elements written as people write numbers in hexadecimal, the highest digit first, separated by spaces."""
    kind = DTYPES[dtype]
    return np.array([int(each, 16) for each in bits.split()], f"<u{kind.itemsize}").view(kind)


_NESTEROV: Final = Outer("nesterov", 0.7, 0.9)
_ADAM: Final = Outer("adam", 0.01, 0.9)

_CHANGE: Final = (
    "3ff0000000000000 bfe0000000000000 3fb2492492492492 8000000000000000 "
    "0000000000000001 bfb999999999999a 3810000000000000"
)
"""1, -1/2, 1/14, -0.0, the least number, -0.1, 2^-126."""
_SMALL: Final = "3810000000000000 b800000000000000 380fffffffffffff 36a0000000000000"
"""2^-126 and less: scales that are 0."""

VECTORS: Final[tuple[Vector, ...]] = (
    Vector(
        "mean of F32",
        lambda: _mean(
            "F32",
            (
                "00000001 00000003 80000000 3f800000 7f7fffff 3dcccccd",
                "00000000 00000000 80000000 3f800001 7f7fffff be4ccccd",
            ),
            (1, 1),
        ),
        "0000000002000000000000800000803fffff7f7fcdcc4cbd",
    ),
    Vector(
        "mean of F32 by weight",
        lambda: _mean(
            "F32",
            (
                "00000007 80000005 007fffff 3eaaaaab",
                "80000001 00000002 00800000 3f2aaaab",
                "00000002 80000000 80800001 c0490fdb",
            ),
            (3, 5, 7),
        ),
        "02000000000000808888080016ae96bf",
    ),
    Vector(
        "mean of F64",
        lambda: _mean(
            "F64",
            (
                "0000000000000001 000fffffffffffff 8000000000000000 3fb999999999999a",
                "0000000000000002 0010000000000000 8000000000000000 3fd3333333333333",
            ),
            (1, 2),
        ),
        "020000000000000000000000000010000000000000000080ddddddddddddcd3f",
    ),
    Vector(
        "mean of BF16",
        lambda: _mean("BF16", ("0001 0003 8000 3f80 3dcd", "0000 0000 8000 3f81 be4d"), (1, 1)),
        "000002000080803f4dbd",
    ),
    Vector(
        "mean of F16",
        lambda: _mean("F16", ("0001 0003 8000 3c00 2e66", "0000 0000 8000 3c01 b266"), (1, 1)),
        "000002000080003c66aa",
    ),
    Vector(
        "mean of I64",
        lambda: _mean(
            "I64",
            (
                "7fffffffffffffff 0000000000000001 fffffffffffffffd",
                "7ffffffffffffffe 0000000000000002 fffffffffffffffa",
            ),
            (1, 1),
        ),
        "feffffffffffff7f0200000000000000fcffffffffffffff",
    ),
    Vector("mean of BOOL", lambda: _mean("BOOL", ("01 01 00", "00 01 00"), (1, 1)), "000100"),
    Vector(
        "nesterov step of F32",
        lambda: _step(
            _NESTEROV,
            "F32",
            "00000001 80000000 3f800000 3dcccccd 00800000 bf800001",
            "00000003 80000000 3f800001 be4ccccd 007fffff bf7fffff",
            "00000001 80000000 00000001 3c23d70a 80000003 00000000",
        ),
        "04000000000000800100803f5a2f96befdff7f00feff7fbf030000000000000000000034f4fd94be0400008000004034",
    ),
    Vector(
        "first nesterov step of F32",
        lambda: _step(_NESTEROV, "F32", "00000001 80000000 3f800000 3dcccccd", "00000006 00000000 3f800003 be4ccccd"),
        "08000000000000000400803f871699be05000000000000000000c0349a9999be",
    ),
    Vector(
        "nesterov step of F64",
        lambda: _step(
            _NESTEROV,
            "F64",
            "0000000000000001 8000000000000000 3fb999999999999a",
            "0000000000000004 8000000000000000 3fd3333333333333",
            "0000000000000001 8000000000000000 bfa999999999999a",
        ),
        "0600000000000000000000000000008040a4dfbe0e9cd53f04000000000000000000000000000000d6a3703d0ad7c33f",
    ),
    Vector(
        "nesterov step of BF16",
        lambda: _step(
            _NESTEROV, "BF16", "0001 8000 3f80 3dcd", "0003 8000 3f81 be4d", "00000001 80000000 00800000 3c23d70a"
        ),
        "04000080813f96be01000200000000000000003c5a2495be",
    ),
    Vector(
        "nesterov step of F16",
        lambda: _step(
            _NESTEROV, "F16", "0001 8000 3c00 2e66", "0003 8000 3c01 b266", "00000001 80000000 00800000 3c23d70a"
        ),
        "04000080013cb1b400000034000000000000803a5af494be",
    ),
    Vector(
        "adam step of F32",
        lambda: _step(
            _ADAM,
            "F32",
            "00000001 80000000 3f800000 3dcccccd",
            "00000003 80000000 3f800001 be4ccccd",
            "00000001 80000000 00000001 3c23d70a",
            "00000001 00000000 00000007 3c23d70a",
        ),
        "0b000000000000800100803f75b3c83d0100000000000000cdcc4c323108acbc01000000000000000ad723257bf2303c",
    ),
    Vector(
        "first adam step of F64",
        lambda: _step(
            _ADAM,
            "F64",
            "0000000000000001 8000000000000000 3fb999999999999a",
            "0000000000000004 8000000000000000 3fd3333333333333",
        ),
        "01000000000000000000000000000080e7c5b1a10409bc3f000000000000000000000000000000007914ae47e17a943f758cf182049cb03e758cf182049cb03ebe349fef7e473a3f",
    ),
    Vector(
        "change in int4",
        lambda: _coded("int4", _CHANGE),
        "133ed700f000000000000014f0bf000000000090db3f000000000000000000000000000000000000000000000000000000000060c23f0000000000000000",
    ),
    Vector(
        "change in int8",
        lambda: _coded("int8", _CHANGE),
        "023c7ec1090000f3000000000000feefbf0000000000fedf3f000000000048b2bf00000000000000000000000000000000000000000068ba3f0000000000000000",
    ),
    Vector(
        "small change in int8",
        lambda: _coded("int8", _SMALL),
        "0000000000000000000000000000000000000000000000000000000000000000000000000000",
    ),
    Vector(
        "change in bfloat16",
        lambda: _coded("bfloat16", _CHANGE),
        "803f00bf923d00800000cdbd8000000000000000f0bf000000000000e03f000000000040b2bf000000000000000000000000000000000000000000a0b93f00000000000010b8",
    ),
    Vector(
        "merge sent back, of F32",
        lambda: _back(
            "F32",
            "00000001 80000000 3f800000 3dcccccd 7f800000 c0490fdb 00000000",
            "00000006 00000000 3f800003 be4ccccd 3f800000 c0490fdc 80000000",
        ),
        "1b3b0000008100000001000000000000800000803f9a2d4dbe0000807fdb0f49c000000000",
    ),
    Vector(
        "merge sent back, of BF16",
        lambda: _back("BF16", "0001 8000 3f80 3dcd 7f7f", "0003 0000 3f81 be4d ff7f"),
        "0000000000000001000080803fcd3d7f7f",
    ),
    Vector(
        "merge sent back, of F16",
        lambda: _back("F16", "7a00 8000 3c00 0003", "7aff 0001 3c21 8003"),
        "81427f000000007b0080003c0300",
    ),
)
"""All golden vectors. Whatever is computed at every site and has to be the same there has one here."""


def differences(vectors: Sequence[Vector] = VECTORS) -> Iterator[str]:
    """The vectors for which this thread computes something else, for people: name, what it is and what it should be."""
    for vector in vectors:
        found = vector.compute().hex()
        if found != vector.expected:
            yield f"{vector.name}: {found or 'nothing'} instead of {vector.expected}"


def check_bits(vectors: Sequence[Vector] = VECTORS) -> None:
    """Raises `DifferentArithmetic` where this thread does not compute what all others do."""
    if found := list(differences(vectors)):
        raise DifferentArithmetic(
            f"this node computes other bits than all others ({'; '.join(found)}), so its models would part from "
            f"theirs. {_cause()}NumPy {np.__version__}, processor features: {features() or 'none'}"
        )


def require_same_bits() -> None:
    """The same, once a thread: whoever merges or steps calls it first. Raises `DifferentArithmetic`."""
    if not _thread.checked:
        check_bits()
        _thread.checked = True


def features() -> str:
    """The processor's features that NumPy uses here, for people."""
    config: Any = np.show_config(mode="dicts")
    return ", ".join(config.get("SIMD Extensions", {}).get("found", ()))


def flushes_subnormals() -> bool:
    """Whether this thread's processor takes subnormal numbers for zero, or gives zero in their place."""
    least = np.array([2.0**-1074, 2.0**-1022])
    return bool((least * np.array([1.0, 0.5]) == 0).any())


def _cause() -> str:
    if not flushes_subnormals():
        return ""
    return (
        "Subnormal numbers are flushed to zero: a library in this process was built with -ffast-math and has set the "
        "processor so; find it among the packages that were installed last, and remove or rebuild it. "
    )


class _Thread(threading.local):
    checked = False


_thread: Final = _Thread()
