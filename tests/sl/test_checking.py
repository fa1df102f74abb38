"""Results of other organisations' nodes, checked before they reach the training script."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from swarmlearning.sl.checking import fault_of_own, fault_of_result
from swarmlearning.tensors.file import Array, Tensor, read_header, write
from swarmlearning.tensors.structure import structure_digest

SIZE = 300_000
"""Of the largest tensor: several blocks."""


def arrays(**changes: Array) -> dict[str, Array]:
    return {
        "conv": np.ones(SIZE, np.float32),
        "half": np.ones(5, np.float16),
        "double": np.ones((2, 3), np.float64),
        "complex": np.ones(3, np.complex64),
        "count": np.array(7, np.int64),
        "mask": np.zeros(9, np.bool_),
        **changes,
    }


def stored(path: Path, tensors: Mapping[str, Array]) -> Path:
    write(path, {name: Tensor.of(array, name) for name, array in tensors.items()})
    return path


def with_value(array: Array, index: int, value: complex) -> Array:
    changed = array.copy()
    changed.reshape(-1)[index] = value
    return changed


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return stored(tmp_path / "own", arrays())


@pytest.fixture
def structure(own: Path) -> str:
    return structure_digest(read_header(own).specs)


def test_a_sound_result_has_no_fault(own: Path, structure: str, tmp_path: Path) -> None:
    result = stored(tmp_path / "result", arrays(conv=np.full(SIZE, -1e30, np.float32)))
    assert fault_of_result(result, structure, own) == ""


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("name", "index"), [("conv", 0), ("conv", SIZE - 1), ("half", 4), ("double", 5), ("complex", 1)]
)
def test_the_first_tensor_of_a_result_that_is_not_finite_is_named(
    name: str, index: int, value: float, own: Path, structure: str, tmp_path: Path
) -> None:
    result = stored(tmp_path / "result", arrays(**{name: with_value(arrays()[name], index, value)}))
    assert fault_of_result(result, structure, own) == f"tensor {name!r} has NaN or infinity"
    assert fault_of_own(result) == f"tensor {name!r} has NaN or infinity"


def test_bfloat16_values_are_checked_in_their_own_format(tmp_path: Path) -> None:
    for bits, fault in ((0x3F80, ""), (0x7F80, "tensor 'b' has NaN or infinity"), (0x7F7F, "")):
        path = tmp_path / "model"
        write(path, {"b": Tensor("BF16", (3,), np.array([0, bits, 0], np.uint16).tobytes())})
        assert fault_of_own(path) == fault


def test_constants_that_are_infinite_in_the_sites_own_model_may_be_so_in_the_result(
    structure: str, tmp_path: Path
) -> None:
    mask = np.where(np.arange(SIZE) % 3, np.float32(0), np.float32(-np.inf))
    own = stored(tmp_path / "own", arrays(conv=mask))
    assert fault_of_result(stored(tmp_path / "same", arrays(conv=mask)), structure, own) == ""
    worse = stored(tmp_path / "worse", arrays(conv=with_value(mask, 1, np.nan)))
    assert fault_of_result(worse, structure, own) == "tensor 'conv' has NaN or infinity"


def test_an_infinity_of_the_previous_result_may_stay_though_this_site_has_a_finite_value_there(
    own: Path, structure: str, tmp_path: Path
) -> None:
    bounds = np.full(SIZE, np.inf, np.float32)  # of observers: this site has seen data, another one has not
    result, before = (stored(tmp_path / name, arrays(conv=bounds)) for name in ("result", "before"))
    assert fault_of_result(result, structure, own, before) == ""
    worse = stored(tmp_path / "worse", arrays(conv=bounds, half=np.full(5, np.inf, np.float16)))
    assert fault_of_result(worse, structure, own, before) == "tensor 'half' has NaN or infinity"


def test_constants_that_are_infinite_in_a_sites_base_are_no_fault_of_its_own_model(tmp_path: Path) -> None:
    mask = np.where(np.arange(SIZE) % 3, np.float32(0), np.float32(-np.inf))
    own, base = (stored(tmp_path / name, arrays(conv=mask)) for name in ("own", "base"))
    assert fault_of_own(own) == "tensor 'conv' has NaN or infinity"
    assert fault_of_own(own, [base]) == ""
    worse = stored(tmp_path / "worse", arrays(conv=with_value(mask, 1, np.nan)))
    assert fault_of_own(worse, [base]) == "tensor 'conv' has NaN or infinity"


def test_a_base_of_another_structure_excuses_nothing(tmp_path: Path) -> None:
    own = stored(tmp_path / "own", arrays(conv=np.full(SIZE, np.inf, np.float32)))
    base = stored(tmp_path / "base", {"conv": np.full(SIZE * 4, np.inf, np.float32)})
    assert fault_of_own(own, [base]) == "tensor 'conv' has NaN or infinity"


def test_a_boolean_of_another_value_than_0_and_1_is_a_fault(own: Path, structure: str, tmp_path: Path) -> None:
    tensors = {name: Tensor.of(array, name) for name, array in arrays().items()}
    write(tmp_path / "result", tensors | {"mask": Tensor("BOOL", (9,), bytes([0, 1, 2, 0, 0, 0, 0, 0, 0]))})
    assert fault_of_result(tmp_path / "result", structure, own) == "tensor 'mask' has booleans other than 0 and 1"


def test_a_result_of_another_structure_is_described(own: Path, structure: str, tmp_path: Path) -> None:
    result = stored(tmp_path / "result", arrays(half=np.ones(6, np.float16)))
    fault = fault_of_result(result, structure, own)
    assert fault.startswith("its structure is not that of this training: ")
    assert "'half'" in fault
    assert fault_of_result(result, structure, None) == "its structure is not that of this training"


@pytest.mark.parametrize("content", [b"", b"junk", b"\xff" * 1000, (2**40).to_bytes(8, "little") + b"{}"])
def test_a_file_that_is_no_model_is_a_fault(content: bytes, own: Path, structure: str, tmp_path: Path) -> None:
    (tmp_path / "result").write_bytes(content)
    assert fault_of_result(tmp_path / "result", structure, own).startswith("it cannot be read: ")


def test_values_of_a_result_are_not_checked_without_a_model_to_compare_with(structure: str, tmp_path: Path) -> None:
    result = stored(tmp_path / "result", arrays(conv=np.full(SIZE, np.nan, np.float32)))
    assert fault_of_result(result, structure, None) == ""
