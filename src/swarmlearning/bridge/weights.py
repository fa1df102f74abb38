"""Model files from the weights of the original's client, and back, in both of its dialects.

In a file: a pickled dict of NumPy arrays. The arrays' bytes are copied from file to file, a piece at a time, whatever
the size of the model. What goes back is written in the instructions of protocol 4 and with the module names of NumPy 1,
which every NumPy since understands; NumPy 2's own pickles cannot be read by the client's NumPy 1.

In the message: `Weights {map<string, NDArray> weights = 1}`, `NDArray {string dtype = 1, repeated uint32 shape = 2,
bytes data = 3}`, where dtype is the text "dtype('float32')" and data is in C order. Such a model lies in memory; a
message has at most 2 GiB.

The client loads an array with `torch.Tensor(array)`, which interprets an integer of no dimension as a *size* and
returns as many uninitialised values. So those, and booleans of no dimension, go back as float64; the client's model
turns them into its own dtype again.
"""

import math
import os
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from swarmlearning.bridge import wire
from swarmlearning.bridge.errors import Unusable
from swarmlearning.bridge.unpickling import MAX_DIMENSIONS, Stored, read_weights
from swarmlearning.bridge.wire import MAX_REPEATED, Fields
from swarmlearning.channel.messages import TensorSpec
from swarmlearning.tensors import file as tensor_file
from swarmlearning.tensors.file import DTYPES, Tensor, TensorFileError, tag_of

_PIECE: Final = 2**20
_DTYPE_TEXT: Final = re.compile(r"dtype\('([<>|=]?[a-z]{1,20}[0-9]{0,5})'\)")
_NUMBERS: Final = "biufc"


def model_from_pickle(source: BinaryIO, path: Path) -> tuple[TensorSpec, ...]:
    """Writes the model file `path` from a pickle; its structure in the pickle's order.

    Raises `Unusable`, and `TensorFileError` when the file cannot be written.
    """
    with _refused():
        arrays = read_weights(source, os.fstat(source.fileno()).st_size)
        structure = tuple(TensorSpec(name, tag_of(stored.dtype, name), stored.shape) for name, stored in arrays.items())
        with tensor_file.overwrite(path, ((spec.name, spec.dtype, spec.shape) for spec in structure)) as (fd, header):
            for entry in header.entries:
                _copy_array(source, arrays[entry.name], fd, header.data_start + entry.start)
    return structure


def model_from_message(weights: memoryview, path: Path) -> tuple[TensorSpec, ...]:
    """Writes the model file `path` from encoded `Weights`; its structure in their order.

    Raises as `model_from_pickle`.
    """
    tensors: dict[str, Tensor] = {}
    with _refused():
        for entry in Fields(weights, MAX_REPEATED).messages(1):
            name = entry.text(1)
            tensors[name] = Tensor.of(_array(entry.message(2), name), name)
        tensor_file.write(path, tensors)
    return tuple(TensorSpec(name, tensor.dtype, tensor.shape) for name, tensor in tensors.items())


def model_to_pickle(path: Path, names: Sequence[str], target: BinaryIO) -> None:
    """Writes the model file's tensors, in the order of `names`, as a pickle in place of what `target` holds.

    Raises `OSError` and `TensorFileError`.
    """
    header = tensor_file.read_header(path)
    entries = {entry.name: entry for entry in header.entries}
    with path.open("rb", buffering=0) as source:
        target.write(b"\x80\x04}")
        for name in names:
            entry = entries[name]
            start, size, dtype = header.data_start + entry.start, entry.end - entry.start, DTYPES[entry.dtype]
            if _taken_for_size(dtype, entry.shape):
                value = np.frombuffer(b"".join(_pieces(source, start, size)), dtype).astype(np.float64)
                target.write(_pickled_head(name, value.dtype, (), value.nbytes) + value.tobytes())
            else:
                target.write(_pickled_head(name, dtype, entry.shape, size))
                for piece in _pieces(source, start, size):
                    target.write(piece)
            target.write(b"tbs")
        target.write(b".")
    target.truncate()


def model_to_message(path: Path, names: Iterable[str]) -> list[bytes | memoryview]:
    """Encoded `Weights` of the model file, in the order of `names`, in pieces. Raises `TensorFileError`."""
    arrays = tensor_file.read(path)
    pieces: list[bytes | memoryview] = []
    for name in names:
        array = arrays[name]
        if _taken_for_size(array.dtype, array.shape):
            array = array.astype(np.float64)
        head = wire.text(1, repr(array.dtype)) + wire.data(2, b"".join(map(wire.varint, array.shape)))
        head += wire.announced(3, array.nbytes)
        length = len(head) + array.nbytes
        entry = wire.text(1, name) + wire.announced(2, length)
        pieces.append(wire.announced(1, len(entry) + length) + entry + head)
        pieces.append(array.reshape(-1).view(np.uint8).data)
    return pieces


def _taken_for_size(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    return shape == () and dtype.kind in "iub"


@contextmanager
def _refused() -> Iterator[None]:
    """Tensors that make no model file are the client's fault; a file that cannot be written is not."""
    try:
        yield
    except TensorFileError as error:
        if isinstance(error.__cause__, OSError):
            raise
        raise Unusable(str(error)) from error


def _copy_array(source: BinaryIO, stored: Stored, fd: int, offset: int) -> None:
    """Writes an array at `offset` of `fd`, in C order and little-endian."""
    if stored.in_c_order and stored.dtype.newbyteorder("<") == stored.dtype:
        for piece in _pieces(source, stored.offset, stored.size):
            tensor_file.write_at(fd, piece, offset)
            offset += len(piece)
        return
    data = b"".join(_pieces(source, stored.offset, stored.size))
    array = np.ndarray(stored.laid_out, stored.dtype, data).transpose(stored.axes)
    tensor_file.write_at(fd, Tensor.of(array).data, offset)


def _pieces(source: BinaryIO, offset: int, size: int) -> Iterable[bytes]:
    """These bytes of a file. Raises `Unusable` when it has become shorter."""
    end = offset + size
    while offset < end:
        piece = os.pread(source.fileno(), min(_PIECE, end - offset), offset)
        if not piece:
            raise Unusable("it became shorter while it was read")
        yield piece
        offset += len(piece)


def _array(fields: Fields, name: str) -> np.ndarray[Any, np.dtype[Any]]:
    """An `NDArray`; its memory is the message's."""
    text, shape, data = fields.text(1), fields.integers(2, MAX_DIMENSIONS), fields.data(3)
    found = _DTYPE_TEXT.fullmatch(text)
    try:
        dtype = np.dtype(found[1]) if found else None
    except TypeError:
        dtype = None
    if dtype is None or dtype.kind not in _NUMBERS:
        raise Unusable(f"entry {name[:100]!r} has dtype {text[:100]!r}; weights are arrays of numbers")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise Unusable(f"entry {name[:100]!r} of shape {shape[:10]} and dtype {dtype} has {len(data)} bytes")
    try:
        return np.ndarray(shape, dtype, data)
    except (ValueError, OverflowError) as error:
        raise Unusable(f"entry {name[:100]!r}: {error}") from error


def _pickled_head(name: str, dtype: np.dtype[Any], shape: tuple[int, ...], size: int) -> bytes:
    """The instructions for one entry of the dict up to the array's bytes; `tbs` comes after them."""
    order = b"|" if dtype.itemsize == 1 else b"<"
    code = f"{dtype.kind}{dtype.itemsize}".encode()
    text = name.encode()
    return b"".join(
        (
            b"X" + struct.pack("<I", len(text)) + text,
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R",
            b"(K\x01(" + b"".join(b"\x8a\x08" + struct.pack("<q", length) for length in shape) + b"t",
            b"cnumpy\ndtype\n\x8c" + bytes([len(code)]) + code + b"\x89\x88\x87R",
            b"(K\x03\x8c\x01" + order + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
            b"\x89\x8e" + struct.pack("<Q", size),
        )
    )
