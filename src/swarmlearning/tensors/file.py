"""The model file: safetensors without metadata, in exactly one layout.

    8 bytes   length of the header, unsigned little-endian
    header    JSON {name: {"dtype", "shape", "data_offsets": [start, end]}}, padded with spaces to 8 bytes
    data      the tensors one after another, C order, little-endian; offsets count from here

Tensors lie in the order of the safetensors library: by dtype as listed in `DTYPES`, then by name. What the library
writes (without metadata) and what we write is therefore the same to the byte, equal tensors always have the equal
digest, and models of one structure have equal headers. Any other layout is refused on reading: there is nothing
to interpret in a header that is not the one its own tensors give.

Not done with the library because that copies each tensor, scrambles arrays that are not C-contiguous and has no
bfloat16 in NumPy.
"""

import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec
import numpy as np

from swarmlearning.tensors.structure import Spec, label

Array = np.ndarray[Any, np.dtype[Any]]

DTYPES: Final[Mapping[str, np.dtype[Any]]] = MappingProxyType(
    {
        "U64": np.dtype("<u8"),
        "I64": np.dtype("<i8"),
        "F64": np.dtype("<f8"),
        "C64": np.dtype("<c8"),
        "F32": np.dtype("<f4"),
        "U32": np.dtype("<u4"),
        "I32": np.dtype("<i4"),
        "BF16": np.dtype("<u2"),
        "F16": np.dtype("<f2"),
        "U16": np.dtype("<u2"),
        "I16": np.dtype("<i2"),
        "F8_E4M3": np.dtype("u1"),
        "F8_E5M2": np.dtype("u1"),
        "I8": np.dtype("i1"),
        "U8": np.dtype("u1"),
        "BOOL": np.dtype("?"),
    }
)
"""Tag -> NumPy dtype of the stored bytes, in the order of the file. BF16 and F8_*, which NumPy does not have, are
handled as unsigned integers of the same width."""

MERGEABLE: Final = frozenset(DTYPES) - {"F8_E4M3", "F8_E5M2"}
"""Tags of what models can be merged from: 8-bit floats are too coarse for a mean of them to be one."""

_RAW: Final = frozenset({"BF16", "F8_E4M3", "F8_E5M2"})
_TAGS: Final = {dtype: tag for tag, dtype in DTYPES.items() if tag not in _RAW}
_RANK: Final = {tag: rank for rank, tag in enumerate(DTYPES)}

MAX_HEADER: Final = 16 * 2**20
_MAX_BYTES: Final = 2**63 - 1
_MAX_DIMENSIONS: Final = 64  # NumPy's limit
_METADATA: Final = "__metadata__"


class TensorFileError(Exception):
    """A model file, or a tensor meant for one, is not usable; the text contains which and why."""


class Tensor(NamedTuple):
    """One tensor as it lies in the file: `data` holds prod(shape) elements, C order, little-endian."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview | bytes

    @classmethod
    def of(cls, array: Array, name: str = "?") -> "Tensor":
        """The tensor of a NumPy array; its memory is shared unless the array is strided or big-endian.

        Raises TensorFileError, naming `name`, when the file format has no such dtype.
        """
        tag = tag_of(array.dtype, name)
        flat = np.ascontiguousarray(array, dtype=DTYPES[tag]).reshape(-1)
        return cls(tag, array.shape, flat.view(np.uint8).data)


def tag_of(dtype: np.dtype[Any], name: str = "?") -> str:
    """The file format's tag for a NumPy dtype of any byte order. Raises TensorFileError, naming `name`, without one."""
    tag = _TAGS.get(dtype.newbyteorder("<"))
    if tag is None:
        raise TensorFileError(
            f"tensor {label(name)}: dtype {dtype} cannot be stored; use one of {', '.join(_TAGS.values())}"
        )
    return tag


def require_mergeable(specs: Iterable[Spec]) -> None:
    """Raises TensorFileError, naming the first tensor whose dtype is not in `MERGEABLE`."""
    for name, dtype, _ in specs:
        if dtype not in MERGEABLE:
            raise TensorFileError(f"tensor {label(name)} is {dtype}, which cannot be merged; keep it in BF16 or F16")


class Entry(NamedTuple):
    """One tensor's place: `start` and `end` count bytes from the beginning of the data section."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """The place of each tensor in a model file: `entries` in file order, `data_start` and `file_size` in bytes."""

    entries: tuple[Entry, ...]
    data_start: int
    file_size: int

    @property
    def data_size(self) -> int:
        """Bytes of the data section."""
        return self.file_size - self.data_start

    @property
    def specs(self) -> tuple[Spec, ...]:
        return tuple((entry.name, entry.dtype, entry.shape) for entry in self.entries)


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    """One tensor's description in the header's JSON; the field order is the library's."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write the model file, in place when `path` exists (see `overwrite`).

    Raises TensorFileError on a tensor that does not fit its own description, on a full disk, and on any other
    failure of the file system.
    """
    for name, tensor in tensors.items():
        expected = _checked_size(name, tensor.dtype, tensor.shape)
        given = memoryview(tensor.data).nbytes
        if given != expected:
            raise TensorFileError(
                f"tensor {label(name)}: {given} bytes given, dtype {tensor.dtype} and shape {list(tensor.shape)} "
                f"need {expected}"
            )
    specs = ((name, tensor.dtype, tensor.shape) for name, tensor in tensors.items())
    with overwrite(path, specs) as (fd, header):
        for entry in header.entries:
            write_at(fd, tensors[entry.name].data, header.data_start + entry.start)


@contextmanager
def overwrite(path: Path, specs: Iterable[Spec]) -> Iterator[tuple[int, Header]]:
    """Open `path` to receive a model of this structure: yields the file descriptor and where each tensor goes.

    The header is already written; the caller fills the data section. An existing file is overwritten in place,
    not replaced: its pages in the cache are recycled, at twice the speed of a new file. So nobody may still be
    reading it. When anything fails, the file is emptied, so that a mixture of old and new never looks like a model.
    Raises TensorFileError for every OSError meanwhile.
    """
    header, encoded = _layout(specs)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with os.fdopen(fd, "r+b", buffering=0):
            try:
                write_at(fd, encoded, 0)
                yield fd, header
                os.ftruncate(fd, header.file_size)
            except BaseException:
                with suppress(OSError):
                    os.ftruncate(fd, 0)
                raise
    except OSError as error:
        raise TensorFileError(f"{path}: cannot be written: {error.strerror}") from error


def allocate(path: Path, specs: Iterable[Spec]) -> Header:
    """Write a file of this structure whose data section has no content yet: it comes range by range (`amend`).

    An existing file is emptied first. Raises TensorFileError, for a failure of the file system too.
    """
    header, encoded = _layout(specs)
    try:
        path.write_bytes(encoded)
        os.truncate(path, header.file_size)
    except OSError as error:
        raise TensorFileError(f"{path}: cannot be written: {error.strerror}") from error
    return header


@contextmanager
def amend(path: Path, header: Header) -> Iterator[int]:
    """Open a file that has the place of a whole model, to write some of it: yields the file descriptor.

    Nothing else of the file changes, whatever fails. One that is shorter, as while its chunks still come, gets the
    place; where there is none, it is made, without content and header. Raises TensorFileError for every OSError.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with os.fdopen(fd, "r+b", buffering=0):
            if os.fstat(fd).st_size < header.file_size:
                os.ftruncate(fd, header.file_size)
            yield fd
    except OSError as error:
        raise TensorFileError(f"{path}: cannot be written: {error.strerror}") from error


def open_private(path: Path) -> BinaryIO:
    """Opens a file for changes in place, which is made where there is none, for this user alone. Raises OSError."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", buffering=0)


def write_at(fd: int, data: memoryview | bytes, offset: int) -> None:
    """Write all of `data` at the file offset; raises OSError."""
    rest = as_bytes(data)
    while rest:
        written = os.pwrite(fd, rest, offset)
        rest, offset = rest[written:], offset + written


def as_bytes(data: memoryview | bytes) -> memoryview:
    """The same memory, seen as single bytes."""
    view = memoryview(data)
    return view.cast("B") if view.nbytes else memoryview(b"")  # an empty view cannot be cast


def read_at(fd: int, buffer: memoryview, offset: int) -> bool:
    """Fill `buffer` from the file offset; False when the file ends before that. Raises OSError."""
    while buffer:
        count = os.preadv(fd, [buffer], offset)
        if count == 0:
            return False
        buffer, offset = buffer[count:], offset + count
    return True


def read_header(path: Path) -> Header:
    """The header, fully checked against the file's size: every byte is accounted for exactly once.

    Raises TensorFileError with what is wrong. What a malicious file can make us read is bounded by MAX_HEADER.
    """
    with _opened(path) as fd:
        return _read_header(fd, path)


def first_bytes(path: Path, length: int) -> bytes:
    """The beginning of a file. Raises TensorFileError, also where the file is shorter."""
    with _opened(path) as fd:
        row = np.empty(length, dtype=np.uint8)
        if not read_at(fd, row.data, 0):
            raise TensorFileError(f"{path}: is shorter than the header of its models")
    return row.tobytes()


def read(path: Path) -> dict[str, Array]:
    """All tensors, in file order, as writable arrays over one freshly read block of memory.

    BF16 and F8_* come as uint16 and uint8; `read_header` returns their tags. Raises TensorFileError.
    """
    with _opened(path) as fd:
        header = _read_header(fd, path)
        data = np.empty(header.file_size - header.data_start, dtype=np.uint8)
        if not read_at(fd, data.data, header.data_start):
            raise TensorFileError(f"{path}: became shorter while it was read")
    for entry in header.entries:
        # NumPy computes nonsense with booleans other than 0 and 1.
        if entry.dtype == "BOOL" and (data[entry.start : entry.end] > 1).any():
            raise TensorFileError(f"{path}: tensor {label(entry.name)}: booleans other than 0 and 1")
    return {
        entry.name: data[entry.start : entry.end].view(DTYPES[entry.dtype]).reshape(entry.shape)
        for entry in header.entries
    }


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        # Without waiting: a pipe in place of a model would otherwise stop the node until somebody writes into it.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise TensorFileError(f"{path}: is not a regular file; write the model itself there")
            yield fd
        finally:
            os.close(fd)
    except OSError as error:
        raise TensorFileError(f"{path}: cannot be read: {error.strerror}") from error


def file_size(specs: Iterable[Spec]) -> int:
    """Bytes of a model file with these tensors: there is one way to write it. Raises `TensorFileError`."""
    return _layout(specs)[0].file_size


def _layout(specs: Iterable[Spec]) -> tuple[Header, bytes]:
    """The one header for these tensors, and its bytes."""
    sizes = {spec: _checked_size(*spec) for spec in specs}
    entries: list[Entry] = []
    stored: dict[str, _Stored] = {}
    end = 0
    for spec in sorted(sizes, key=lambda spec: (_RANK[spec[1]], spec[0])):
        name, dtype, shape = spec
        start, end = end, end + sizes[spec]
        entries.append(Entry(name, dtype, shape, start, end))
        stored[name] = _Stored(dtype, shape, (start, end))
    text = msgspec.json.encode(stored)
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise TensorFileError(f"{len(entries)} tensors need a header of {len(text)} bytes, over {MAX_HEADER}")
    encoded = len(text).to_bytes(8, "little") + text
    return Header(tuple(entries), len(encoded), len(encoded) + end), encoded


def _checked_size(name: str, dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor so described; raises TensorFileError when the description is not sound."""
    if name == _METADATA:
        raise TensorFileError(f"{_METADATA!r}: model files carry no metadata")
    if dtype not in DTYPES:
        raise TensorFileError(f"tensor {label(name)}: unknown dtype {label(dtype)}")
    if len(shape) > _MAX_DIMENSIONS:
        raise TensorFileError(f"tensor {label(name)}: {len(shape)} dimensions, over {_MAX_DIMENSIONS}")
    # Readers count in 63 bits, and NumPy leaves out dimensions of 0 when it does.
    span = math.prod(length or 1 for length in shape) * DTYPES[dtype].itemsize
    if any(length < 0 for length in shape) or span > _MAX_BYTES:
        raise TensorFileError(f"tensor {label(name)}: impossible shape {list(shape)}")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TensorFileError(f"tensor {label(name)}: the name is not valid Unicode") from error
    return math.prod(shape) * DTYPES[dtype].itemsize


def _read_header(fd: int, path: Path) -> Header:
    file_size = os.fstat(fd).st_size
    length_field = bytearray(8)
    if not read_at(fd, memoryview(length_field), 0):
        raise TensorFileError(f"{path}: {file_size} bytes are no model file")
    length = int.from_bytes(length_field, "little")
    if length > MAX_HEADER:
        raise TensorFileError(f"{path}: announces a header of {length} bytes, over {MAX_HEADER}")
    text = bytearray(length)
    if not read_at(fd, memoryview(text), 8):
        raise TensorFileError(f"{path}: announces a header of {length} bytes, but has {file_size} bytes in all")
    try:
        return _parse(bytes(text), file_size)
    except TensorFileError as error:
        raise TensorFileError(f"{path}: {error}") from error


def _parse(text: bytes, file_size: int) -> Header:
    if f'"{_METADATA}"'.encode() in text:
        raise TensorFileError("has metadata; model files carry none")
    try:
        stored = msgspec.json.decode(text, type=dict[str, _Stored])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TensorFileError(f"malformed header: {error}") from error
    header, encoded = _layout((name, entry.dtype, entry.shape) for name, entry in stored.items())
    for entry in header.entries:
        if stored[entry.name].data_offsets != (entry.start, entry.end):
            raise TensorFileError(
                f"tensor {label(entry.name)}: lies at {list(stored[entry.name].data_offsets)} of the data section; "
                f"the dtypes and shapes of this file put it at {[entry.start, entry.end]}"
            )
    # What is left are repeated keys, another order of keys and freedoms of JSON.
    if encoded[8:] != text:
        raise TensorFileError("the header is not in the canonical form; write the file with this package")
    if header.file_size != file_size:
        raise TensorFileError(f"has {file_size} bytes; its header describes {header.file_size}")
    return header
