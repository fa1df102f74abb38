"""The model file: byte for byte what the safetensors library writes, and nothing else is read."""

import json
import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load as library_load
from safetensors.numpy import save as library_save

from swarmlearning.tensors.file import (
    DTYPES,
    MAX_HEADER,
    Array,
    Tensor,
    TensorFileError,
    read,
    read_header,
    write,
)
from swarmlearning.tensors.structure import structure_digest

NUMPY_TAGS = [tag for tag in DTYPES if tag not in ("BF16", "F8_E4M3", "F8_E5M2")]


def arrays_of_all_dtypes() -> dict[str, Array]:
    rng = np.random.default_rng(1)
    made: dict[str, Array] = {tag: (rng.standard_normal((3, 5)) * 50).astype(DTYPES[tag]) for tag in NUMPY_TAGS}
    return {
        **made,
        "scalar": np.array(7, np.int64),
        "empty": np.zeros((0, 4), np.float16),
        'odd "name"\n\u00e9\u4e2d\U0001f600\x7f\x01\\/': np.ones(3, np.float32),
        "": np.ones(1, np.uint8),
    }


def tensors(arrays: dict[str, Array]) -> dict[str, Tensor]:
    return {name: Tensor.of(array, name) for name, array in arrays.items()}


def same(ours: dict[str, Array], theirs: dict[str, Array]) -> None:
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        assert ours[name].dtype == array.dtype
        assert ours[name].shape == array.shape
        assert ours[name].tobytes() == array.tobytes()


# --- the contract with the library ---


def test_the_bytes_are_those_of_the_library(tmp_path: Path) -> None:
    arrays = arrays_of_all_dtypes()
    write(tmp_path / "m", tensors(arrays))
    assert (tmp_path / "m").read_bytes() == library_save(arrays)
    same(library_load((tmp_path / "m").read_bytes()), arrays)


def test_a_file_of_the_library_is_read(tmp_path: Path) -> None:
    arrays = arrays_of_all_dtypes()
    (tmp_path / "m").write_bytes(library_save(arrays))
    same(read(tmp_path / "m"), arrays)


def test_a_model_without_tensors(tmp_path: Path) -> None:
    write(tmp_path / "m", {})
    assert (tmp_path / "m").read_bytes() == library_save({})
    assert read(tmp_path / "m") == {}


def test_every_dtype_of_torch_both_ways(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load, save

    torch_dtypes = {
        "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "U16": torch.uint16, "I16": torch.int16,
        "F16": torch.float16, "BF16": torch.bfloat16, "U32": torch.uint32, "I32": torch.int32,
        "F32": torch.float32, "U64": torch.uint64, "I64": torch.int64, "F64": torch.float64,
        "C64": torch.complex64, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    }  # fmt: skip
    assert torch_dtypes.keys() == DTYPES.keys()
    bits = np.random.default_rng(2).integers(0, 2, 64, np.uint8)
    model = {}
    for tag, dtype in torch_dtypes.items():
        for name, shape in ((f"{tag} b", (2, 4)), (f"{tag} a", (1, 1, 8))):
            raw = torch.from_numpy(bits[: 8 * DTYPES[tag].itemsize].copy())
            model[name] = raw.view(dtype).reshape(shape)
    theirs = save(model)
    (tmp_path / "theirs").write_bytes(theirs)
    header = read_header(tmp_path / "theirs")
    assert {entry.name: (entry.dtype, entry.shape) for entry in header.entries} == {
        name: (name.split()[0], tuple(tensor.shape)) for name, tensor in model.items()
    }
    read_back = read(tmp_path / "theirs")
    write(
        tmp_path / "ours",
        {
            entry.name: Tensor(entry.dtype, entry.shape, read_back[entry.name].reshape(-1).view(np.uint8).data)
            for entry in header.entries
        },
    )
    assert (tmp_path / "ours").read_bytes() == theirs
    loaded = load((tmp_path / "ours").read_bytes())
    for name, tensor in model.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(
            loaded[name].reshape(-1).view(torch.uint8), tensor.reshape(-1).contiguous().view(torch.uint8)
        )


names = st.text(st.characters(codec="utf-8"), max_size=12).filter(lambda name: name != "__metadata__")
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@given(st.dictionaries(names, st.tuples(st.sampled_from(NUMPY_TAGS), shapes), max_size=6))
def test_any_names_and_shapes_as_the_library(
    tmp_path_factory: pytest.TempPathFactory, described: dict[str, tuple[str, tuple[int, ...]]]
) -> None:
    arrays: dict[str, Array] = {name: np.ones(shape, DTYPES[tag]) for name, (tag, shape) in described.items()}
    path = tmp_path_factory.getbasetemp() / "any"
    write(path, tensors(arrays))
    assert path.read_bytes() == library_save(arrays)
    same(read(path), arrays)


# --- writing ---


def test_the_order_of_the_dictionary_is_immaterial(tmp_path: Path) -> None:
    arrays = arrays_of_all_dtypes()
    write(tmp_path / "a", tensors(arrays))
    write(tmp_path / "b", tensors(dict(reversed(arrays.items()))))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_strided_and_big_endian_arrays_are_stored_by_value(tmp_path: Path) -> None:
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    views: dict[str, Array] = {
        "transposed": base.T,
        "every other": base[::2, ::3],
        "backwards": base[::-1],
        "broadcast": np.broadcast_to(base[0], (3, 6)),
        "fortran": np.asfortranarray(base),
        "big-endian": base.astype(">f4"),
    }
    write(tmp_path / "m", tensors(views))
    for name, array in read(tmp_path / "m").items():
        np.testing.assert_array_equal(array, views[name])
        assert array.dtype == np.dtype("<f4")


def test_contiguous_arrays_are_not_copied() -> None:
    array = np.zeros((2, 3), np.float32)
    tensor = Tensor.of(array)
    array[1, 2] = 1.0
    assert bytes(tensor.data) == array.tobytes()


@pytest.mark.parametrize("array", [np.zeros(2, np.complex128), np.array(["a"]), np.array([None])])
def test_an_unsupported_dtype_names_the_tensor(array: Array) -> None:
    with pytest.raises(TensorFileError, match=r"'fc\.weight'.*cannot be stored"):
        Tensor.of(array, "fc.weight")


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("w", Tensor("F32", (2,), b"1234567"), r"'w': 7 bytes given, dtype F32 and shape \[2\] need 8"),
        ("w", Tensor("F31", (2,), b"12345678"), "unknown dtype 'F31'"),
        ("w", Tensor("U8", (-1,), b""), "impossible shape"),
        ("w", Tensor("U8", (1,) * 65, b"1"), "65 dimensions"),
        ("__metadata__", Tensor("U8", (1,), b"1"), "metadata"),
        ("\ud800", Tensor("U8", (1,), b"1"), "not valid Unicode"),
        ("n" * MAX_HEADER, Tensor("U8", (1,), b"1"), "header"),
    ],
)
def test_an_unsound_tensor_is_refused_and_the_old_file_kept(
    tmp_path: Path, name: str, tensor: Tensor, message: str
) -> None:
    (tmp_path / "m").write_bytes(b"old")
    with pytest.raises(TensorFileError, match=message) as raised:
        write(tmp_path / "m", {name: tensor})
    assert len(str(raised.value)) < 1000
    assert (tmp_path / "m").read_bytes() == b"old"


def test_an_existing_file_is_overwritten_in_place_and_cut(tmp_path: Path) -> None:
    path = tmp_path / "m"
    write(path, {"a": Tensor.of(np.ones(10_000))})
    inode = path.stat().st_ino
    write(path, {"a": Tensor.of(np.zeros(3))})
    assert path.stat().st_ino == inode
    same(read(path), {"a": np.zeros(3)})


def test_a_full_disk_is_named() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    with pytest.raises(TensorFileError, match="/dev/full: cannot be written: No space left"):
        write(Path("/dev/full"), {"a": Tensor.of(np.ones(3))})


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(TensorFileError, match="nowhere/m: cannot be written: No such file"):
        write(tmp_path / "nowhere" / "m", {})


@contextmanager
def small_files_only() -> Iterator[None]:
    """Not for a whole test: pytest's own output may go to a file that is larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_half_written_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "m"
    write(path, {"a": Tensor.of(np.zeros(150)), "b": Tensor.of(np.zeros(1))})
    with small_files_only(), pytest.raises(TensorFileError, match="m: cannot be written: File too large"):
        write(path, {"a": Tensor.of(np.ones(150)), "b": Tensor.of(np.ones(150))})
    assert path.read_bytes() == b""


# --- reading ---


def test_arrays_are_writable_and_their_own(tmp_path: Path) -> None:
    path = tmp_path / "m"
    write(path, {"a": Tensor.of(np.ones(4)), "b": Tensor.of(np.ones(4))})
    first = read(path)
    first["a"][:] = 5.0
    write(path, {"a": Tensor.of(np.zeros(4)), "b": Tensor.of(np.zeros(4))})
    same(first, {"a": np.full(4, 5.0), "b": np.ones(4)})
    assert all(array.flags.aligned for array in first.values())


def test_the_header_tells_where_everything_lies(tmp_path: Path) -> None:
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
def test_bad_files_are_refused_with_path_and_reason(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad").write_bytes(content)
    for reader in (read_header, read):
        with pytest.raises(TensorFileError, match=rf"bad: .*({message})"):
            reader(tmp_path / "bad")


def test_the_good_example_is_good(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(GOOD)
    assert list(read(tmp_path / "good")) == ["a", "b"]


def test_messages_stay_short_whatever_the_name(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(raw_file({"n" * 100_000: entry("U" * 100_000, [1], 0, 1)}, b"1"))
    with pytest.raises(TensorFileError) as raised:
        read_header(tmp_path / "bad")
    assert len(str(raised.value)) < 1000


def test_booleans_other_than_0_and_1_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(raw_file({"mask": entry("BOOL", [2], 0, 2)}, b"\x01\x02"))
    with pytest.raises(TensorFileError, match="'mask': booleans"):
        read(tmp_path / "m")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(TensorFileError, match="none: cannot be read: No such file"):
        read(tmp_path / "none")
    with pytest.raises(TensorFileError, match="cannot be read: Is a directory"):
        read_header(tmp_path)


@given(st.data())
def test_a_damaged_file_gives_a_tensor_file_error_or_what_the_library_reads(
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
        same(ours, library_load(bytes(content)))
    except SafetensorError as error:
        pytest.fail(f"read, but the library refuses: {error}")
