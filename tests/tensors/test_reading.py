"""Reading model files: what a sound one contains, and that any other is refused with path and reason."""

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load as library_load

from support.tensors import assert_same_arrays
from swarmlearning.tensors.file import MAX_HEADER, Tensor, TensorFileError, read, read_header, write
from swarmlearning.tensors.structure import structure_digest


def test_arrays_that_were_read_are_writable_and_independent_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m"
    write(path, {"a": Tensor.of(np.ones(4)), "b": Tensor.of(np.ones(4))})
    first = read(path)
    first["a"][:] = 5.0
    write(path, {"a": Tensor.of(np.zeros(4)), "b": Tensor.of(np.zeros(4))})
    assert_same_arrays(first, {"a": np.full(4, 5.0), "b": np.ones(4)})
    assert all(array.flags.aligned for array in first.values())


def test_the_header_gives_the_place_of_every_tensor_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m"
    write(path, {"b": Tensor.of(np.zeros((2, 3), np.float32)), "a": Tensor.of(np.array(True))})
    header = read_header(path)
    assert header.entries == (("b", "F32", (2, 3), 0, 24), ("a", "BOOL", (), 24, 25))
    assert header.data_start % 8 == 0
    assert header.file_size == header.data_start + 25 == path.stat().st_size
    assert header.specs == (("b", "F32", (2, 3)), ("a", "BOOL", ()))
    assert structure_digest(header.specs) == structure_digest(reversed(header.specs))


def raw_file(header: Any, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: Any, shape: Any, *offsets: Any, **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": list(offsets), **more}


GOOD = raw_file({"a": entry("F32", [2], 0, 8), "b": entry("U8", [3], 8, 11)}, bytes(11))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "0 bytes are no model file", id="empty"),
        pytest.param(GOOD[:7], "7 bytes are no model file", id="no length"),
        pytest.param(GOOD[:50], "but has 50 bytes in all", id="header cut"),
        pytest.param(GOOD[:-1], "its header describes", id="data cut"),
        pytest.param(GOOD + b"\0", "its header describes", id="data too long"),
        pytest.param(struct.pack("<Q", 2**63) + GOOD[8:], "announces a header", id="header length huge"),
        pytest.param(struct.pack("<Q", MAX_HEADER + 1) + GOOD[8:], "over 16777216", id="header over limit"),
        pytest.param(raw_file(b"{", b""), "malformed header", id="no JSON"),
        pytest.param(raw_file(b"", b""), "malformed header", id="no header"),
        pytest.param(raw_file(b"[]", b""), "malformed header", id="a list"),
        pytest.param(raw_file(b"[" * 100_000, b""), "malformed header", id="deep"),
        pytest.param(raw_file(b'{"\xff":1}', b""), "malformed header", id="no UTF-8"),
        pytest.param(raw_file({"a": [1]}, b""), "malformed header", id="an entry of another kind"),
        pytest.param(raw_file({"a": {"dtype": "U8", "shape": [1]}}, b"1"), "malformed header", id="a field missing"),
        pytest.param(raw_file({"a": entry("U8", [1], 0, 1, x=1)}, b"1"), "malformed header", id="a field more"),
        pytest.param(raw_file({"a": entry("U8", ["1"], 0, 1)}, b"1"), "malformed header", id="text shape"),
        pytest.param(raw_file({"a": entry("U8", [True], 0, 1)}, b"1"), "malformed header", id="boolean shape"),
        pytest.param(raw_file({"a": entry(1, [1], 0, 1)}, b"1"), "malformed header", id="number dtype"),
        pytest.param(raw_file({"a": entry("U8", [1], 0)}, b"1"), "malformed header", id="one offset"),
        pytest.param(
            raw_file({"__metadata__": {"a": "b"}, "a": entry("U8", [1], 0, 1)}, b"1"), "metadata", id="metadata"
        ),
        pytest.param(raw_file({"a": entry("F4", [2], 0, 1)}, b"1"), "unknown dtype 'F4'", id="dtype"),
        pytest.param(raw_file({"a": entry("U8", [-1], 0, 1)}, b"1"), "impossible shape", id="negative"),
        pytest.param(raw_file({"a": entry("U8", [-1, -1], 0, 1)}, b"1"), "impossible shape", id="twice negative"),
        pytest.param(raw_file({"a": entry("U8", [2**62, 2**62, 0], 0, 0)}, b""), "impossible shape", id="overflow"),
        pytest.param(raw_file({"a": entry("U8", [1] * 65, 0, 1)}, b"1"), "65 dimensions", id="dimensions"),
        pytest.param(raw_file({"a": entry("F32", [2], 0, 7)}, bytes(7)), r"'a': lies at \[0, 7\]", id="size and shape"),
        pytest.param(
            raw_file({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 2, 6)}, bytes(6)),
            r"'b': lies at \[2, 6\]",
            id="overlap",
        ),
        pytest.param(
            raw_file({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 5, 9)}, bytes(9)),
            r"'b': lies at \[5, 9\]",
            id="gap",
        ),
        pytest.param(raw_file({"a": entry("U8", [1], -1, 0)}, b""), r"lies at \[-1, 0\]", id="before"),
        pytest.param(raw_file({"a": entry("U8", [9], 0, 9)}, bytes(4)), "its header describes", id="beyond the end"),
        pytest.param(
            raw_file({"b": entry("U8", [1], 0, 1), "a": entry("U8", [1], 1, 2)}, bytes(2)),
            "lies at",
            id="another order",
        ),
        pytest.param(
            raw_file(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},' * 2 + b'"b":0}', b""),
            "malformed header",
            id="repeated and broken",
        ),
        pytest.param(
            raw_file(
                b'{"a":{"dtype":"U8","shape":[0,3],"data_offsets":[0,0]},'
                b'"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
                b"",
            ),
            "canonical form",
            id="repeated key",
        ),
        pytest.param(
            raw_file(b'{"\\u0061":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"1"),
            "canonical form",
            id="needless escape",
        ),
        pytest.param(
            raw_file(b'{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}', b"1"),
            "canonical form|malformed header",
            id="number with a point",
        ),
        pytest.param(
            raw_file(b'{"\\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"1"),
            "malformed header|not valid Unicode",
            id="half a surrogate",
        ),
        pytest.param(
            raw_file(b'{"a": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"1"),
            "canonical form",
            id="spaces",
        ),
        pytest.param(
            raw_file(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}\0', b"1"),
            "malformed header",
            id="padded with a zero",
        ),
    ],
)
def test_a_malformed_model_file_is_refused_with_path_and_reason(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad").write_bytes(content)
    for reader in (read_header, read):
        with pytest.raises(TensorFileError, match=rf"bad: .*({message})"):
            reader(tmp_path / "bad")


def test_the_sound_file_that_the_malformed_ones_are_made_from_is_read(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(GOOD)
    assert list(read(tmp_path / "good")) == ["a", "b"]


def test_the_error_about_a_tensor_with_a_very_long_name_stays_short(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(raw_file({"n" * 100_000: entry("U" * 100_000, [1], 0, 1)}, b"1"))
    with pytest.raises(TensorFileError) as raised:
        read_header(tmp_path / "bad")
    assert len(str(raised.value)) < 1000


def test_a_boolean_tensor_with_bytes_other_than_0_and_1_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(raw_file({"mask": entry("BOOL", [2], 0, 2)}, b"\x01\x02"))
    with pytest.raises(TensorFileError, match="'mask': booleans"):
        read(tmp_path / "m")


def test_reading_a_missing_file_or_a_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(TensorFileError, match="none: cannot be read: No such file"):
        read(tmp_path / "none")
    with pytest.raises(TensorFileError, match="is not a regular file"):
        read_header(tmp_path)


def test_a_pipe_in_place_of_a_model_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TensorFileError, match="pipe: is not a regular file"):
        read_header(tmp_path / "pipe")


@given(st.data())
def test_a_damaged_file_is_refused_or_read_as_the_library_reads_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.sampled_from([len(content), *range(len(content))])) :]
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    try:
        ours = read(path)
    except TensorFileError:
        return
    try:
        assert_same_arrays(ours, library_load(bytes(content)))
    except SafetensorError as error:
        pytest.fail(f"read, but the library refuses: {error}")
