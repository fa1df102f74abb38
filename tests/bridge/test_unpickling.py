"""Pickles of weights: all that NumPy writes is read, and nothing else."""

import builtins
import collections
import io
import math
import os
import pickle
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy._core import numeric  # NumPy's own, which pickles refer to

from swarmlearning.bridge import unpickling
from swarmlearning.bridge.errors import Unusable
from swarmlearning.bridge.unpickling import read_weights
from swarmlearning.bridge.weights import model_from_pickle
from swarmlearning.tensors.file import Array, read

STRANGE: dict[str, Any] = {
    "float32": np.arange(12, dtype=np.float32).reshape(3, 4),
    "columns first": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": np.arange(16, dtype=np.int16).reshape(4, 4)[:, ::2],
    "big-endian": np.arange(3, dtype=">f4"),
    "of no dimension": np.array(7, np.int64),
    "scalar": np.float16(1.5),
    "empty": np.empty((0, 3), np.uint8),
    "empty and big-endian": np.empty((0, 3), ">f4"),
    "true": np.array([True, False]),
    "complex": np.array([1 + 2j], np.complex64),
    "large": np.arange(300_000, dtype=np.float64),
    "Gewicht ä": np.array([-1], np.int8),
}


def loaded(pickled: bytes, path: Path) -> dict[str, Array]:
    """The arrays, by way of a model file."""
    source, model = path / "weights.pkl", path / "model.safetensors"
    source.write_bytes(pickled)
    with source.open("rb") as file:
        names = [spec.name for spec in model_from_pickle(file, model)]
    arrays = read(model)
    return {name: arrays[name] for name in names}


def refusal(pickled: bytes) -> str:
    with pytest.raises(Unusable) as caught:
        read_weights(io.BytesIO(pickled), len(pickled))
    return str(caught.value)


def with_old_names(pickled: bytes) -> bytes:
    """The pickle as NumPy 1 writes it."""
    for module in (b"multiarray", b"numeric"):
        new, old = b"numpy._core." + module, b"numpy.core." + module
        pickled = pickled.replace(bytes([0x8C, len(new)]) + new, bytes([0x8C, len(old)]) + old).replace(new, old)
    return pickled


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("named", [bytes, with_old_names], ids=["NumPy 2", "NumPy 1"])
@pytest.mark.parametrize("container", [dict, collections.OrderedDict])
def test_arrays_of_all_kinds_are_read_from_a_pickle(
    protocol: int, named: Callable[[bytes], bytes], container: type[dict[str, Any]], tmp_path: Path
) -> None:
    pickled = named(pickle.dumps(container(STRANGE), protocol))
    assert (b"numpy.core." in pickled) == (named is with_old_names)
    arrays = loaded(pickled, tmp_path)
    assert list(arrays) == list(STRANGE)
    for name, expected in STRANGE.items():
        assert arrays[name].dtype == expected.dtype.newbyteorder("<"), name
        assert arrays[name].shape == expected.shape, name
        np.testing.assert_array_equal(arrays[name], expected)


@pytest.mark.parametrize("axes", [(0, 3, 1, 2), (0, 2, 3, 1), (3, 1, 0, 2), (1, 0, 2, 3)])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "|b1", "<c8"])
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_an_array_with_its_dimensions_in_any_order_of_memory_is_read(
    axes: tuple[int, ...], dtype: str, protocol: int, tmp_path: Path
) -> None:
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(dtype).transpose(axes)
    assert not array.flags.c_contiguous
    found = loaded(pickle.dumps({"conv.weight": array}, protocol), tmp_path)["conv.weight"]
    assert found.shape == array.shape
    np.testing.assert_array_equal(found, array)


def frombuffer(*more: Any) -> bytes:
    """A pickle with a call of NumPy's own function, as NumPy writes it, with these arguments after the shape."""
    return pickle.dumps({"w": Reduced(numeric._frombuffer, bytearray(48), np.dtype("<f4"), (3, 4), *more)}, 5)  # type: ignore[attr-defined]


def test_numpy_s_fifth_argument_without_an_order_is_understood(tmp_path: Path) -> None:
    for order in ("C", "F"):
        assert loaded(frombuffer(order, None), tmp_path)["w"].shape == (3, 4)
    assert loaded(frombuffer("K", (1, 0)), tmp_path)["w"].shape == (4, 3)


@pytest.mark.parametrize("axes", [(0,), (0, 0), (0, 2), (-1, 0), (0, 1, 2), (True, False), ("a", 0), ((0, 1), 1)])
def test_an_impossible_order_of_dimensions_is_refused(axes: tuple[Any, ...]) -> None:
    assert refusal(frombuffer("K", axes)) == "it has an array whose dimensions are in an impossible order"


@pytest.mark.parametrize("more", [("K",), ("K", None), ("A", None), ("C", (0, 1)), ("K", [0, 1]), ("K", (0, 1), 1)])
def test_other_calls_of_numpy_s_function_are_refused(more: tuple[Any, ...]) -> None:
    assert refusal(frombuffer(*more)) == "it calls _frombuffer in another way than NumPy does"


def test_an_array_under_two_names_is_read_under_both(tmp_path: Path) -> None:
    tied = np.arange(5.0)
    arrays = loaded(pickle.dumps({"a": tied, "b": tied}, 5), tmp_path)
    np.testing.assert_array_equal(arrays["a"], arrays["b"])


class Reduced:
    """Pickled as the call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch /tmp/owned",), f"{os.name}.system"),
        (builtins.eval, ("1",), "builtins.eval"),
        (builtins.getattr, ("a", "b"), "builtins.getattr"),
        (subprocess.Popen, (["true"],), "subprocess.Popen"),
        (np.load, ("file",), "numpy.load"),
        (np.fromfile, ("file",), "numpy.fromfile"),
        (pickle.loads, (b"",), "_pickle.loads"),
    ],
)
def test_a_pickle_that_calls_a_function_is_refused_by_its_name(
    function: Any, arguments: tuple[Any, ...], name: str, protocol: int
) -> None:
    for place in ({"w": Reduced(function, *arguments)}, Reduced(function, *arguments)):
        found = refusal(pickle.dumps(place, protocol))
        assert found == f"it refers to {name}, which no array of numbers needs"


def test_no_function_of_a_pickle_is_called_before_it_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    remove = Reduced(os.rmdir, str(folder))
    assert refusal(pickle.dumps({"w": Reduced(np.array, Reduced(tuple, [remove]))}, 5)).startswith("it refers to numpy")
    inside = pickle.dumps({"w": np.ones(2), "x": [Reduced(collections.OrderedDict, remove)]}, 5)
    assert refusal(inside) == f"it refers to {os.name}.rmdir, which no array of numbers needs"
    assert folder.exists()
    with pytest.raises(TypeError):
        pickle.loads(inside)  # noqa: S301
    assert not folder.exists()  # so it would have been called


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.array([print], dtype=object), "dtype 'O8'; weights are numbers"),
        (np.array([Reduced(os.system, "true")], dtype=object), "dtype 'O8'; weights are numbers"),
        (np.array(["text"]), "dtype 'U4'; weights are numbers"),
        (np.array([b"text"]), "dtype 'S4'; weights are numbers"),
        (np.zeros(2, [("a", "f4")]), "dtype 'V4'; weights are numbers"),
        (np.array(["2026-11-22"], "datetime64[D]"), "dtype 'M8'; weights are numbers"),
        (np.ma.masked_array([1.0]), "refers to numpy.ma"),
        (bytearray(3), "entry 'w' is not a NumPy array"),
        (3, "entry 'w' is not a NumPy array"),
        ([np.ones(2)], "entry 'w' is not a NumPy array"),
        ({"inner": np.ones(2)}, "entry 'w' is not a NumPy array"),
        (None, "entry 'w' is not a NumPy array"),
        (1.5, "instruction b'G' at byte"),
        ({1, 2}, "instruction b'\\x8f' at byte"),
        (object(), "refers to builtins.object"),
    ],
)
def test_values_that_are_no_arrays_of_numbers_are_refused(value: Any, reason: str) -> None:
    assert reason in refusal(pickle.dumps({"w": value}, 5))


@pytest.mark.parametrize("value", [np.ones(3), [np.ones(3)], "text", None, {3: np.ones(2)}])
def test_a_pickle_that_is_no_dict_of_names_is_refused(value: Any) -> None:
    assert refusal(pickle.dumps(value, 5)) in (
        "it does not hold a dict of arrays",
        "the key of an entry is no text",
    )


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_old_pickle_protocols_are_refused(protocol: int) -> None:
    assert refusal(pickle.dumps({"w": np.ones(2)}, protocol)) == "it is not a pickle of protocol 3, 4 or 5"


def test_a_pickle_with_any_cut_or_changed_byte_is_refused_or_read() -> None:
    pickled = pickle.dumps({"w": np.arange(3, dtype=np.float32), "v": np.float64(2)}, 5)
    for end in range(len(pickled)):
        refusal(pickled[:end])
    for at in range(len(pickled)):
        for value in (0, 0x28, 0x52, 0x62, 0x94, 0xFF, pickled[at] ^ 1):
            changed = pickled[:at] + bytes([value]) + pickled[at + 1 :]
            try:
                read_weights(io.BytesIO(changed), len(changed))
            except Unusable:
                pass


@pytest.mark.parametrize(
    ("instructions", "reason"),
    [
        (b"\x8e" + struct.pack("<Q", 2**60), "announces 1152921504606846976 bytes where 0 are left"),
        (b"\x8d" + struct.pack("<Q", 2**40), "announces 1099511627776 bytes where 0 are left"),
        (b"\x96" + struct.pack("<Q", 2**63), "bytes where 0 are left"),
        (b"r" + struct.pack("<I", 2**32 - 1) + b"X", "finds the stack empty"),
        (b"}r" + struct.pack("<I", 2**32 - 1) + b".", None),
        (b"j" + struct.pack("<I", 2**32 - 1), "recalls object 4294967295"),
        (b"\x8b" + struct.pack("<I", 2**31 - 1), "instruction b'\\x8b'"),
        (b"}" * 100, "before its end mark"),
        (b"(" * 100, "before its end mark"),
        (b"t", "has no beginning"),
        (b"R", "finds the stack empty"),
        (b"b", "finds the stack empty"),
        (b"NNR", "calls something that cannot be called"),
        (b"}}b", "sets the state of an object in another way"),
        (b"cnumpy\ndtype\n)R", "calls dtype in another way than NumPy does"),
        (b"cnumpy\nndarray\n)R", "calls ndarray in another way"),
        (b"cnumpy\nndarray\n}b", "sets the state of an object in another way"),
        (b"\x8c\x02os\x8c\x06system\x93", "refers to os.system"),
        (b"]Na]Ne", "has no beginning"),
        (b"NNa", "adds items to something that is no list"),
        (b"NNNs", "adds entries to something that is no dict"),
        (b"c" + b"x" * 10_000, "refers to"),
    ],
)
def test_instructions_of_a_pickle_are_read_or_refused_with_the_reason(instructions: bytes, reason: str | None) -> None:
    pickled = b"\x80\x04" + instructions
    if reason is None:
        assert read_weights(io.BytesIO(pickled), len(pickled)) == {}
    else:
        assert reason in refusal(pickled)


def array_of(kind: bytes, shape: bytes, data: bytes) -> bytes:
    """A pickle of one array with these instructions for its parts."""
    return (
        b"\x80\x04}\x8c\x01wcnumpy.core.numeric\n_frombuffer\n(C" + bytes([len(data)]) + data
        + b"cnumpy\ndtype\n\x8c" + bytes([len(kind)]) + kind + b"\x89\x88\x87R" + shape + b"\x8c\x01CtRs."
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "shape", "reason"),
    [
        (b"f4", b"K\x02\x85", "an array of shape [2] and dtype float32 has 4 bytes"),
        (b"f4", b"\x8a\x09" + (2**64).to_bytes(9, "little") + b"\x85", "has 4 bytes"),
        (b"f4", b"J\xff\xff\xff\xff\x85", "impossible shape"),
        (b"f4", b"\x88\x85", "impossible shape"),
        (b"f4", b"N\x85", "impossible shape"),
        (b"f4", b"(" + b"K\x01" * 65 + b"t", "impossible shape"),
        (b"f3", b"K\x01\x85", "there is no dtype 'f3'"),
        (b"f" + b"9" * 100, b"K\x01\x85", "there is no dtype"),
        (b"|O", b"K\x01\x85", "weights are numbers"),
        (b"f4,O", b"K\x01\x85", "weights are numbers"),
    ],
)
def test_impossible_arrays_are_refused(kind: bytes, shape: bytes, reason: str) -> None:
    assert read_weights(io.BytesIO(array_of(b"f4", b"K\x01\x85", b"1234")), 100)["w"].size == 4
    assert reason in refusal(array_of(kind, shape, b"1234"))


def test_a_small_pickle_does_not_become_a_huge_model() -> None:
    many = pickle.dumps(dict.fromkeys(map(str, range(100)), np.zeros(10_000)), 5)
    assert refusal(many) == "it names the same bytes as arrays again and again"


def test_steps_and_texts_of_a_pickle_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    pickled = pickle.dumps({f"layer {index}": np.ones(1) for index in range(10)}, 5)
    monkeypatch.setattr(unpickling, "MAX_STEPS", 100)
    assert refusal(pickled) == "it has more than 100 instructions"
    monkeypatch.setattr(unpickling, "MAX_TEXT", 20)
    assert refusal(pickled) == "its texts have more than 20 bytes"


# --- any bytes at all

WRITTEN: Final = [
    pickle.dumps({"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(1)}, protocol)
    for protocol in (3, 4, 5)
]
WRITTEN.append(pickle.dumps({"w": np.zeros((2, 3, 4), np.float32).transpose(1, 0, 2)}, 5))


@settings(max_examples=1000, deadline=None)
@given(
    source=st.sampled_from(WRITTEN),
    edits=st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), min_size=1, max_size=5),
    cut=st.integers(0, 30),
)
def test_an_altered_pickle_is_read_or_refused_and_arrays_lie_inside_the_file(
    source: bytes, edits: list[tuple[int, int]], cut: int
) -> None:
    altered = bytearray(source)
    for place, value in edits:
        altered[place % len(altered)] = value
    pickled = bytes(altered[: len(altered) - cut])
    try:
        arrays = read_weights(io.BytesIO(pickled), len(pickled))
    except Unusable:
        return
    for stored in arrays.values():
        assert 0 <= stored.offset <= stored.offset + stored.size <= len(pickled)
        assert math.prod(stored.shape) * stored.dtype.itemsize == stored.size
