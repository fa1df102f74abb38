"""Model files equal those of the safetensors library byte for byte, and a failed write leaves no part of one."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load as library_load
from safetensors.numpy import save as library_save

from support.tensors import assert_same_arrays
from swarmlearning.tensors.file import DTYPES, MAX_HEADER, Array, Tensor, TensorFileError, read, read_header, write

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


def test_a_written_model_file_equals_that_of_the_safetensors_library(tmp_path: Path) -> None:
    arrays = arrays_of_all_dtypes()
    write(tmp_path / "m", tensors(arrays))
    assert (tmp_path / "m").read_bytes() == library_save(arrays)
    assert_same_arrays(library_load((tmp_path / "m").read_bytes()), arrays)


def test_a_model_file_written_by_the_safetensors_library_is_read(tmp_path: Path) -> None:
    arrays = arrays_of_all_dtypes()
    (tmp_path / "m").write_bytes(library_save(arrays))
    assert_same_arrays(read(tmp_path / "m"), arrays)


def test_a_model_without_tensors_is_written_and_read(tmp_path: Path) -> None:
    write(tmp_path / "m", {})
    assert (tmp_path / "m").read_bytes() == library_save({})
    assert read(tmp_path / "m") == {}


def test_every_dtype_of_torch_is_read_from_and_written_to_files_as_the_library_does(tmp_path: Path) -> None:
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
def test_any_names_and_shapes_are_stored_as_by_the_safetensors_library(
    tmp_path_factory: pytest.TempPathFactory, described: dict[str, tuple[str, tuple[int, ...]]]
) -> None:
    arrays: dict[str, Array] = {name: np.ones(shape, DTYPES[tag]) for name, (tag, shape) in described.items()}
    path = tmp_path_factory.getbasetemp() / "any"
    write(path, tensors(arrays))
    assert path.read_bytes() == library_save(arrays)
    assert_same_arrays(read(path), arrays)


def test_the_order_of_the_tensors_does_not_change_the_file(tmp_path: Path) -> None:
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
    assert_same_arrays(read(path), {"a": np.zeros(3)})


def test_writing_to_a_full_disk_is_an_error_that_names_the_file() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    with pytest.raises(TensorFileError, match="/dev/full: cannot be written: No space left"):
        write(Path("/dev/full"), {"a": Tensor.of(np.ones(3))})


def test_writing_to_a_missing_folder_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(TensorFileError, match="nowhere/m: cannot be written: No such file"):
        write(tmp_path / "nowhere" / "m", {})


def test_a_file_that_was_only_partly_written_is_emptied(
    tmp_path: Path, largest_file: Callable[[int], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "m"
    write(path, {"a": Tensor.of(np.zeros(150)), "b": Tensor.of(np.zeros(1))})
    with largest_file(2000), pytest.raises(TensorFileError, match="m: cannot be written: File too large"):
        write(path, {"a": Tensor.of(np.ones(150)), "b": Tensor.of(np.ones(150))})
    assert path.read_bytes() == b""
