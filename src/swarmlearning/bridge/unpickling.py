"""Weights out of a pickle file: a dict of NumPy arrays, and nothing else.

A pickle is a program for a small stack machine. This one does not use Python's: that can be made to call anything, and
to reserve any amount of memory. It knows the instructions with which pickle (protocols 3 to 5) writes dicts, texts,
whole numbers and arrays. The few names that NumPy's arrays refer to, by the module names of NumPy 1 and of NumPy 2,
stand for themselves here: nothing is ever imported or called. All else is refused by name.

The bytes of arrays are not read: what comes out is where in the file they are (`Stored`). So a gigabyte of weights
costs no memory, and a size that is claimed but not there costs nothing either.
"""

import math
import struct
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from swarmlearning.bridge.errors import Unusable

MAX_STEPS: Final = 4_000_000
"""Instructions of one pickle; an array needs some thirty, and a model file holds about 100,000."""
MAX_TEXT: Final = 16 * 2**20
"""Bytes of all texts (the names of arrays) in one pickle."""
MAX_DIMENSIONS: Final = 64
"""Of an array, as NumPy has it."""
_PROTOCOLS: Final = (3, 4, 5)
_KINDS: Final = "biufc"
"""Booleans, integers, floats and complex numbers; not texts, records, times, and least of all Python's objects."""


class Stored(NamedTuple):
    """An array of a file: `size` bytes from `offset`, of the shape `laid_out` in C order.

    Dimension i of the array is dimension `axes[i]` of that layout: Fortran's order has them backwards.
    """

    dtype: np.dtype[np.generic]
    laid_out: tuple[int, ...]
    axes: tuple[int, ...]
    offset: int
    size: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array itself."""
        return tuple(self.laid_out[axis] for axis in self.axes)

    @property
    def in_c_order(self) -> bool:
        return self.axes == tuple(range(len(self.axes)))


def read_weights(file: BinaryIO, size: int) -> dict[str, Stored]:
    """The arrays by name, in their order; `file` has `size` bytes and is at its beginning.

    Raises `Unusable` naming what is in it that must not be.
    """
    result = _Machine(file, size).run()
    if not isinstance(result, dict):
        raise Unusable("it does not hold a dict of arrays")
    arrays: dict[str, Stored] = {}
    for name, value in result.items():
        if not isinstance(value, _Array) or value.stored is None:
            raise Unusable(f"entry {name[:100]!r} is not a NumPy array")
        arrays[name] = value.stored
    if sum(stored.size for stored in arrays.values()) > 2 * size:  # an array may be there under two names
        raise Unusable("it names the same bytes as arrays again and again")
    return arrays


_Order: TypeAlias = Literal["<", ">", "|", "="]


class _Name(Enum):
    """The names that a pickle of arrays refers to."""

    RECONSTRUCT = "_reconstruct"
    FROM_BUFFER = "_frombuffer"
    SCALAR = "scalar"
    ARRAY = "ndarray"
    DTYPE = "dtype"
    ORDERED = "OrderedDict"


_NAMES: Final = {
    ("numpy", "ndarray"): _Name.ARRAY,
    ("numpy", "dtype"): _Name.DTYPE,
    ("collections", "OrderedDict"): _Name.ORDERED,
    **{
        (f"numpy.{core}.{module}", name.value): name
        for core in ("core", "_core")
        for module, name in (
            ("multiarray", _Name.RECONSTRUCT),
            ("multiarray", _Name.SCALAR),
            ("numeric", _Name.FROM_BUFFER),
        )
    },
}


class _Bytes(NamedTuple):
    """Bytes of the file."""

    offset: int
    size: int


@dataclass
class _Dtype:
    kind: str
    order: _Order = "|"

    @property
    def known(self) -> np.dtype[np.generic]:
        return np.dtype(self.kind).newbyteorder(self.order)


@dataclass
class _Array:
    stored: Stored | None = None  # until its state is set


_Object: TypeAlias = (
    "str | int | tuple[_Object, ...] | list[_Object] | dict[str, _Object] | _Name | _Bytes | _Dtype | _Array | None"
)


class _Machine:
    """Runs one pickle. `_marks` are the stacks that were left at a mark; `_stack` holds what came since."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._at = 0
        self._texts = 0
        self._stack: list[_Object] = []
        self._marks: list[list[_Object]] = []
        self._memo: dict[int, _Object] = {}

    def run(self) -> _Object:
        if self._take(1) != b"\x80" or self._number("<B") not in _PROTOCOLS:
            raise Unusable("it is not a pickle of protocol 3, 4 or 5")
        for _ in range(MAX_STEPS):
            if (code := self._take(1)) == b".":
                return self._pop()
            self._step(code)
        raise Unusable(f"it has more than {MAX_STEPS} instructions")

    def _step(self, code: bytes) -> None:
        if code in _LENGTHS:
            self._push_data(code)
        elif code in _NUMBERS:
            self._stack.append(self._number(_NUMBERS[code]))
        elif code in _CONSTANTS:
            self._stack.append(_CONSTANTS[code])
        elif code in _COLLECTIONS:
            self._collect(code)
        elif code in _REMEMBER or code in _RECALL or code == b"\x94":
            self._use_memo(code)
        else:
            self._act(code)

    def _act(self, code: bytes) -> None:
        match code:
            case b"\x95":  # FRAME: how much a reader may read ahead
                self._take(8)
            case b"}":
                self._stack.append({})
            case b"]":
                self._stack.append([])
            case b"(":
                self._marks.append(self._stack)
                self._stack = []
            case b"\x8a":
                self._stack.append(int.from_bytes(self._take(self._number("<B")), "little", signed=True))
            case b"c":
                self._stack.append(_named(self._line(), self._line()))
            case b"\x93":
                name, module = self._pop(), self._pop()
                self._stack.append(_named(module, name))
            case b"R":
                arguments, name = self._pop(), self._pop()
                self._stack.append(_made(name, arguments))
            case b"b":
                state = self._pop()
                _set_state(self._top(), state)
            case _:
                raise Unusable(f"instruction {code!r} at byte {self._at - 1} is not allowed: arrays need none such")

    # --- values

    def _push_data(self, code: bytes) -> None:
        form, is_text = _LENGTHS[code]
        length = self._number(form)
        if length > self._size - self._at:
            raise Unusable(f"it announces {length} bytes where {self._size - self._at} are left")
        if not is_text:
            self._stack.append(_Bytes(self._at, length))
            self._at += length
            self._file.seek(self._at)
            return
        self._texts += length
        if self._texts > MAX_TEXT:
            raise Unusable(f"its texts have more than {MAX_TEXT} bytes")
        try:
            self._stack.append(str(self._take(length), "utf-8"))
        except UnicodeDecodeError:
            raise Unusable(f"the text before byte {self._at} is not UTF-8") from None

    def _collect(self, code: bytes) -> None:
        if (count := _COLLECTIONS[code]) is not None:
            items = [self._pop() for _ in range(count)][::-1]
        else:
            if not self._marks:
                raise Unusable(f"instruction {code!r} at byte {self._at - 1} has no beginning")
            items, self._stack = self._stack, self._marks.pop()
        if code in b"t)\x85\x86\x87":
            self._stack.append(tuple(items))
        elif code in b"ea":
            if not isinstance(target := self._top(), list):
                raise Unusable("it adds items to something that is no list")
            target.extend(items)
        else:
            if not isinstance(entries := self._top(), dict) or len(items) % 2:
                raise Unusable("it adds entries to something that is no dict")
            for name, value in zip(items[::2], items[1::2], strict=True):
                if not isinstance(name, str):
                    raise Unusable("the key of an entry is no text")
                entries[name] = value

    def _use_memo(self, code: bytes) -> None:
        if code in _RECALL:
            index = self._number(_RECALL[code])
            if index not in self._memo:
                raise Unusable(f"it recalls object {index}, which it has not kept")
            self._stack.append(self._memo[index])
        else:
            index = self._number(_REMEMBER[code]) if code in _REMEMBER else len(self._memo)
            self._memo[index] = self._top()

    # --- the stack and the file

    def _pop(self) -> _Object:
        self._top()
        return self._stack.pop()

    def _top(self) -> _Object:
        if not self._stack:
            raise Unusable(f"the instruction at byte {self._at - 1} finds the stack empty")
        return self._stack[-1]

    def _take(self, count: int) -> bytes:
        found = self._file.read(count)
        self._at += len(found)
        if len(found) < count:
            raise Unusable(f"it ends at byte {self._at}, before its end mark")
        return found

    def _number(self, form: str) -> int:
        (value,) = struct.unpack(form, self._take(struct.calcsize(form)))
        return int(value)

    def _line(self) -> str:
        line = self._file.readline(256)
        self._at += len(line)
        return line.decode("utf-8", "replace").removesuffix("\n")


_LENGTHS: Final = {
    b"\x8c": ("<B", True),
    b"X": ("<I", True),
    b"\x8d": ("<Q", True),
    b"C": ("<B", False),
    b"B": ("<I", False),
    b"\x8e": ("<Q", False),
    b"\x96": ("<Q", False),
}
"""Texts (True) and bytes, by how their length is written."""
_NUMBERS: Final = {b"J": "<i", b"K": "<B", b"M": "<H"}
_CONSTANTS: Final[dict[bytes, _Object]] = {b"N": None, b"\x88": True, b"\x89": False}
_COLLECTIONS: Final = {
    b")": 0, b"\x85": 1, b"\x86": 2, b"\x87": 3, b"t": None,
    b"a": 1, b"e": None, b"s": 2, b"u": None,
}  # fmt: skip
"""Tuples, and what adds to lists and dicts, by the number of items; None: all since the last mark."""
_REMEMBER: Final = {b"q": "<B", b"r": "<I"}
_RECALL: Final = {b"h": "<B", b"j": "<I"}


def _named(module: _Object, name: _Object) -> _Name:
    found = _NAMES.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
    if found is None:
        raise Unusable(f"it refers to {str(module)[:100]}.{str(name)[:100]}, which no array of numbers needs")
    return found


def _made(name: _Object, arguments: _Object) -> _Object:
    """Returns the result of a call of that name."""
    match name, arguments:
        case _Name.RECONSTRUCT, (_Name.ARRAY, (0,), _Bytes() | str()):
            return _Array()
        case _Name.FROM_BUFFER, (_Bytes() as data, _Dtype() as dtype, tuple() as shape, "C" | "F" as order):
            return _Array(_stored(dtype, shape, order == "F", data))
        case _Name.FROM_BUFFER, (_Bytes(), _Dtype(), tuple(), "C" | "F", None):
            return _made(name, arguments[:4])
        case _Name.FROM_BUFFER, (_Bytes() as data, _Dtype() as dtype, tuple() as shape, "K", tuple() as axes):
            return _Array(_permuted(_stored(dtype, shape, False, data), axes))
        case _Name.SCALAR, (_Dtype() as dtype, _Bytes() as data):
            return _Array(_stored(dtype, (), False, data))
        case _Name.DTYPE, (str() as kind, bool(), bool()):
            return _dtype(kind)
        case _Name.ORDERED, ():
            return {}
        case _Name(), _:
            raise Unusable(f"it calls {name.value} in another way than NumPy does")
    raise Unusable("it calls something that cannot be called")


def _set_state(target: _Object, state: _Object) -> None:
    match target, state:
        case _Dtype(), (int(), "<" | ">" | "|" | "=" as order, None, None, None, -1, -1, int()):
            target.order = order
        case _Array(stored=None), (1, tuple() as shape, _Dtype() as dtype, bool() as columns_first, _Bytes() as data):
            target.stored = _stored(dtype, shape, columns_first, data)
        case _:
            raise Unusable("it sets the state of an object in another way than NumPy does")


def _dtype(kind: str) -> _Dtype:
    if not (kind[:1] in tuple(_KINDS) and kind[1:].isascii() and kind[1:].isdigit()):
        raise Unusable(f"it has an array of dtype {kind[:100]!r}; weights are numbers")
    try:
        np.dtype(kind)
    except (TypeError, ValueError, OverflowError):
        raise Unusable(f"there is no dtype {kind[:100]!r}") from None
    return _Dtype(kind)


def _permuted(stored: Stored, axes: tuple[_Object, ...]) -> Stored:
    """Since NumPy 2.3 an array whose dimensions are in another order in memory is pickled with that order."""
    order = tuple(axis for axis in axes if type(axis) is int)
    if sorted(order) != list(range(len(stored.laid_out))) or len(order) != len(axes):
        raise Unusable("it has an array whose dimensions are in an impossible order")
    return stored._replace(axes=order)


def _stored(dtype: _Dtype, shape: tuple[_Object, ...], columns_first: bool, data: _Bytes) -> Stored:
    lengths = tuple(length for length in shape if type(length) is int and length >= 0)
    known = dtype.known
    if len(lengths) != len(shape) or len(shape) > MAX_DIMENSIONS:
        raise Unusable("it has an array of an impossible shape")
    if math.prod(lengths) * known.itemsize != data.size:
        raise Unusable(f"an array of shape {list(lengths)[:10]} and dtype {known} has {data.size} bytes")
    axes = tuple(range(len(lengths)))
    if columns_first:
        return Stored(known, lengths[::-1], axes[::-1], data.offset, data.size)
    return Stored(known, lengths, axes, data.offset, data.size)
