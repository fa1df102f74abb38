"""Weights between the client's two dialects and model files."""

import io
import pickle
import pickletools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support import original_client
from swarmlearning.bridge import weights
from swarmlearning.bridge.errors import Unusable
from swarmlearning.bridge.unpickling import read_weights
from swarmlearning.bridge.weights import model_from_message, model_from_pickle, model_to_message, model_to_pickle
from swarmlearning.channel.messages import TensorSpec
from swarmlearning.tensors.file import Array, Tensor, TensorFileError, read_header, write

MODEL: dict[str, Array] = {
    "z": np.arange(12, dtype=np.float32).reshape(3, 4),
    "a": np.array(-7, np.int64),
    "Gewicht ä": np.array([True, False]),
    "m": np.empty((0, 3), np.float16),
    "t": np.array(True),
    "u": np.array(200, np.uint8),
    "b": np.arange(300_000, dtype=np.float64),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def stored(path: Path) -> list[str]:
    write(path, {name: Tensor.of(array, name) for name, array in MODEL.items()})
    return list(MODEL)


def assert_same(arrays: Mapping[str, Array]) -> None:
    """Numbers without dimension come as float64."""
    for name, expected in MODEL.items():
        dtype = np.dtype(np.float64) if expected.shape == () else expected.dtype
        assert (arrays[name].dtype, arrays[name].shape) == (dtype, expected.shape), name
        np.testing.assert_array_equal(arrays[name], expected)


def test_a_model_is_written_as_a_pickle_that_python_reads_with_any_numpy(path: Path) -> None:
    target = io.BytesIO(b"x" * 5_000_000)  # what was there before and was longer
    model_to_pickle(path, stored(path), target)
    pickled = target.getvalue()
    arrays = pickle.loads(pickled)  # noqa: S301
    assert pickled.endswith(b"tbs.")
    assert list(arrays) == list(MODEL)
    assert_same(arrays)
    assert all(array.flags.writeable for array in arrays.values())
    names = {argument for code, argument, _ in pickletools.genops(pickled) if code.name == "GLOBAL"}
    assert names == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}  # NumPy 1 has no _core
    assert max(code.proto for code, _, _ in pickletools.genops(pickled)) == 4


def test_the_bytes_of_a_model_s_pickle_stay_as_documented(path: Path) -> None:
    write(path, {"w": Tensor.of(np.array([1.5], np.float32), "w")})
    target = io.BytesIO()
    model_to_pickle(path, ["w"], target)
    assert target.getvalue() == (
        b"\x80\x04}X\x01\0\0\0wcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R"
        b"(K\x01(\x8a\x08\x01\0\0\0\0\0\0\0tcnumpy\ndtype\n\x8c\x02f4\x89\x88\x87R"
        b"(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89\x8e\x04\0\0\0\0\0\0\0\0\0\xc0\x3ftbs."
    )


def test_a_model_is_written_into_a_message(path: Path) -> None:
    encoded = b"".join(model_to_message(path, stored(path)))
    client = original_client.Client.__new__(original_client.Client)
    client.in_message = True
    arrays = client.merged(encoded)
    assert list(arrays) == list(MODEL)
    assert_same(arrays)


@pytest.mark.parametrize("dialect", ["in a file", "in a message"])
def test_every_array_is_loaded_by_pytorch_s_tensor_constructor_with_its_value(path: Path, dialect: str) -> None:
    names = stored(path)
    client = original_client.Client.__new__(original_client.Client)
    client.in_message = True
    if dialect == "in a file":
        target = io.BytesIO()
        model_to_pickle(path, names, target)
        arrays = pickle.loads(target.getvalue())  # noqa: S301
    else:
        arrays = client.merged(b"".join(model_to_message(path, names)))
    for name, expected in MODEL.items():
        tensor = torch.Tensor(arrays[name].copy())
        assert tuple(tensor.shape) == expected.shape, name
        np.testing.assert_array_equal(tensor.numpy(), expected.astype(np.float32))


@pytest.mark.parametrize(
    "array", [np.array(3), np.array(2.5), np.array([3]), np.array([[1, 2]]), np.array(0, np.uint8)]
)
def test_the_stand_in_client_loads_arrays_as_pytorch_s_tensor_constructor_does(array: Array) -> None:
    ours, theirs = original_client.as_tensor(array), torch.Tensor(array)
    assert ours.shape == tuple(theirs.shape)
    if ours.shape == array.shape:
        np.testing.assert_array_equal(ours, theirs.numpy())


def test_the_bytes_of_a_model_s_message_stay_as_documented(path: Path) -> None:
    write(path, {"w": Tensor.of(np.array([[1.5]], np.float32), "w")})
    array = b"\x0a\x10dtype('float32')\x12\x02\x01\x01\x1a\x04\x00\x00\xc0\x3f"
    entry = b"\x0a\x01w\x12" + bytes([len(array)]) + array
    assert b"".join(model_to_message(path, ["w"])) == b"\x0a" + bytes([len(entry)]) + entry


def test_models_from_messages_and_pickles_become_the_same_file_in_their_own_order(path: Path, tmp_path: Path) -> None:
    client = original_client.Client.__new__(original_client.Client)
    client.in_message = True
    by_message = model_from_message(memoryview(client.weights(MODEL)), path)
    pickled = tmp_path / "weights.pkl"
    pickled.write_bytes(pickle.dumps(MODEL, 5))
    with pickled.open("rb") as file:
        by_pickle = model_from_pickle(file, tmp_path / "other.safetensors")
    assert [spec.name for spec in by_pickle] == list(MODEL)
    assert [spec.name for spec in by_message] == sorted(MODEL)
    assert sorted(by_pickle, key=lambda spec: spec.name) == list(by_message)
    assert by_pickle[1] == TensorSpec("a", "I64", ())
    assert path.read_bytes() == (tmp_path / "other.safetensors").read_bytes()
    assert len(read_header(path).entries) == len(MODEL)


def entry(dtype: str, shape: list[int], data: bytes, name: str = "w") -> memoryview:
    lengths = b"".join(map(original_client.varint, shape))
    array = original_client.text(1, dtype) + original_client.data(2, lengths) + original_client.data(3, data)
    return memoryview(original_client.data(1, original_client.text(1, name) + original_client.data(2, array)))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (entry("dtype('O')", [1], b"12345678"), "entry 'w' has dtype \"dtype('O')\""),
        (entry("dtype('object')", [1], b"12345678"), "entry 'w' has dtype"),
        (entry("dtype('<U4')", [1], b"12345678"), "entry 'w' has dtype"),
        (entry("dtype('str')", [1], b""), "entry 'w' has dtype"),
        (entry("dtype('nothing')", [1], b""), "entry 'w' has dtype"),
        (entry("__import__('os').system('true')", [1], b""), "entry 'w' has dtype"),
        (entry("dtype('complex128')", [1], bytes(16)), "dtype complex128 cannot be stored"),
        (entry("dtype('float32')", [2], b"1234"), "of shape [2] and dtype float32 has 4 bytes"),
        (entry("dtype('float32')", [2**40], b"1234"), "has 4 bytes"),
        (entry("dtype('float32')", [1] * 65, b"1234"), "field 2 has more than 64 numbers"),
        (entry("dtype('float32')", [0, 2**62], b""), "entry 'w': "),
        (entry("dtype('float32')", [0, 2**63], b""), "entry 'w': "),
        (memoryview(b"\x0a\x05ab"), "ends in the middle"),
        (memoryview(b"not a message"), ""),
    ],
)
def test_weights_in_a_message_that_cannot_be_used_are_refused(message: memoryview, reason: str, path: Path) -> None:
    with pytest.raises(Unusable) as caught:
        model_from_message(message, path)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [(np.zeros(2, np.complex128), "dtype complex128 cannot be stored"), (None, "not a NumPy array")],
)
def test_weights_in_a_file_that_cannot_be_used_are_refused(value: Any, reason: str, path: Path, tmp_path: Path) -> None:
    pickled = tmp_path / "weights.pkl"
    pickled.write_bytes(pickle.dumps({"w": value}, 5))
    with pickled.open("rb") as file, pytest.raises(Unusable, match=reason):
        model_from_pickle(file, path)


def test_a_file_of_weights_that_is_cut_while_it_is_read_is_refused(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickled = tmp_path / "weights.pkl"
    pickled.write_bytes(pickle.dumps(MODEL, 5))

    def read_then_cut(file: Any, size: int) -> Any:
        arrays = read_weights(file, size)
        pickled.write_bytes(b"")
        return arrays

    monkeypatch.setattr(weights, "read_weights", read_then_cut)
    with pickled.open("rb") as file, pytest.raises(Unusable, match="became shorter while it was read"):
        model_from_pickle(file, path)
    assert path.stat().st_size == 0


def test_a_file_that_cannot_be_written_is_not_reported_as_the_client_s_fault(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "model.safetensors"
    client = original_client.Client.__new__(original_client.Client)
    client.in_message = True
    with pytest.raises(TensorFileError, match="cannot be written"):
        model_from_message(memoryview(client.weights(MODEL)), path)
    pickled = tmp_path / "weights.pkl"
    pickled.write_bytes(pickle.dumps(MODEL, protocol=5))
    with pickled.open("rb") as file, pytest.raises(TensorFileError, match="cannot be written"):
        model_from_pickle(file, path)
