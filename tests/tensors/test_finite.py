import numpy as np
import pytest

from swarmlearning.tensors.file import DTYPES, MERGEABLE, Tensor, TensorFileError, require_mergeable
from swarmlearning.tensors.finite import non_finite

BF16_INFINITY, BF16_NAN, BF16_LARGEST = 0x7F80, 0xFFC1, 0xFF7F


def bfloat16(*bits: int) -> Tensor:
    return Tensor.of(np.array(bits, np.uint16))._replace(dtype="BF16")


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.complex64])
def test_a_single_value_that_is_not_finite_is_found_wherever_it_is(dtype: type[np.generic], value: float) -> None:
    sound = np.full(2**20 + 3, 1e4, dtype)  # several pieces
    models = {f"at {place}": sound.copy() for place in (0, 2**19, 2**20 + 2)}
    for name, array in models.items():
        array[int(name.removeprefix("at "))] = value
    tensors = {name: Tensor.of(array) for name, array in {"sound": sound, **models}.items()}
    assert non_finite(tensors) == list(models)


def test_values_of_bfloat16_that_are_not_finite_are_found() -> None:
    tensors = {
        "infinity": bfloat16(0, BF16_INFINITY),
        "nan": bfloat16(0, BF16_NAN),
        "largest": bfloat16(0, BF16_LARGEST),
        "integers": Tensor.of(np.array([0, BF16_INFINITY], np.uint16)),
    }
    assert non_finite(tensors) == ["infinity", "nan"]


def test_empty_tensors_and_integers_are_finite() -> None:
    arrays = {"none": np.zeros((0, 3), np.float32), "scalar": np.array(7), "flags": np.ones(3, bool)}
    assert non_finite({name: Tensor.of(array) for name, array in arrays.items()}) == []


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_only_eight_bit_floats_cannot_be_merged(dtype: str) -> None:
    specs = [("sound", "F32", (1,)), ("odd", dtype, (1,))]
    if dtype in MERGEABLE:
        require_mergeable(specs)
    else:
        assert dtype.startswith("F8")
        with pytest.raises(TensorFileError, match=f"tensor 'odd' is {dtype}, which cannot be merged"):
            require_mergeable(specs)
