"""The element-wise rule: exact to one rounding, equal models unchanged, integers half to even."""

from bisect import bisect_left
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from merge.model_files import FLOAT_BITS, INTEGERS, bfloat16
from swarmlearning.merge.arithmetic import GRID, NonFinite, narrow, weighted_mean, widen
from swarmlearning.tensors.file import DTYPES, Array

coefficients = st.lists(st.integers(0, GRID // 16), min_size=1, max_size=16).filter(any)


def finite_bits(tag: str) -> st.SearchStrategy[Array]:
    """Any finite values at all, as bits: zeros of both signs and subnormals too."""
    unsigned = np.dtype(FLOAT_BITS[tag])
    part = "F32" if tag == "C64" else tag

    def finite(bits: Array) -> Array:
        with np.errstate(invalid="ignore"):
            values = widen(part, bits.view(DTYPES[part]))
        return np.where(np.isfinite(values), bits, bits & 0x3F).astype(unsigned).view(DTYPES[tag])

    return arrays(unsigned, 8).map(finite)


@pytest.mark.parametrize("tag", ["F16", "BF16", "F32", "C64"])
@given(data=st.data(), weights=coefficients)
def test_the_mean_of_equal_models_is_exactly_that_model(tag: str, data: st.DataObject, weights: list[int]) -> None:
    model = data.draw(finite_bits(tag))
    merged = weighted_mean(tag, [model] * len(weights), weights)
    assert merged.dtype == model.dtype
    assert merged.tobytes() == model.tobytes()


@pytest.mark.parametrize("tag", FLOAT_BITS)
@given(data=st.data())
def test_a_model_of_weight_zero_changes_no_bit_of_the_mean(tag: str, data: st.DataObject) -> None:
    model, other = data.draw(finite_bits(tag)), data.draw(finite_bits(tag))
    assert weighted_mean(tag, [other, model, other], (0, 1, 0)).tobytes() == model.tobytes()


@pytest.mark.parametrize("tag", ["F16", "F32"])
@given(data=st.data(), weights=coefficients)
def test_a_mean_of_floats_agrees_with_the_exact_mean_to_half_a_unit(
    tag: str, data: st.DataObject, weights: list[int]
) -> None:
    models = [data.draw(finite_bits(tag)) for _ in weights]
    with np.errstate(all="ignore"):
        merged = weighted_mean(tag, models, weights)
    total = sum(weights)
    for index, value in enumerate(merged):
        terms = [k * Fraction(float(model[index])) for k, model in zip(weights, models, strict=True)]
        magnitude = sum(map(abs, terms), Fraction()) / total
        unit = Fraction(unit_at(np.abs(value)))
        error = abs(Fraction(float(value)) - sum(terms, Fraction()) / total)
        assert error <= unit / 2 + (len(weights) + 1) * magnitude / 2**53


def unit_at(value: np.floating[Any]) -> float:
    """The distance to the next larger number; at the largest one, of which there is none, to the one before."""
    with np.errstate(over="ignore"):
        unit = np.spacing(value)
    return float(unit if np.isfinite(unit) else value - np.nextafter(value, value.dtype.type(0)))


@given(st.lists(st.lists(st.floats(-1e300, 1e300), min_size=3, max_size=3), min_size=1, max_size=8), st.data())
def test_a_mean_of_float64_keeps_its_documented_bound(rows: list[list[float]], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(1, 100), min_size=len(rows), max_size=len(rows)))
    merged = weighted_mean("F64", [np.array(row) for row in rows], weights)
    for index, value in enumerate(merged):
        terms = [k * Fraction(row[index]) for k, row in zip(weights, rows, strict=True)]
        magnitude = sum(map(abs, terms), Fraction()) / sum(weights)
        error = abs(Fraction(float(value)) - sum(terms, Fraction()) / sum(weights))
        assert error <= (len(rows) + 2) * magnitude / 2**53 + Fraction(5e-324)


BFLOATS = np.arange(0x7F80, dtype=np.uint16)  # all that are finite and not negative, in their order
BFLOAT_VALUES = [float(value) for value in widen("BF16", BFLOATS)]


@given(st.floats(0, BFLOAT_VALUES[-1]) | st.sampled_from(BFLOAT_VALUES), st.integers(-1, 1), st.booleans())
def test_a_mean_of_bfloat16_is_rounded_once_to_the_nearest_even(value: float, nudge: int, negative: bool) -> None:
    above = bisect_left(BFLOAT_VALUES, value)
    if nudge and 0 < above < len(BFLOATS):  # a tie, or the float64 right beside it: where rounding twice goes wrong
        tie = (BFLOAT_VALUES[above - 1] + BFLOAT_VALUES[above]) / 2
        value = np.nextafter(tie, nudge * np.inf) if negative else tie
        above = bisect_left(BFLOAT_VALUES, value)
    candidates = range(max(above - 1, 0), min(above + 1, len(BFLOATS)))
    nearest = min(candidates, key=lambda i: (abs(Fraction(BFLOAT_VALUES[i]) - Fraction(value)), i % 2))
    sign = 0x8000 if negative else 0
    assert narrow("BF16", np.array([-value if negative else value])).tolist() == [nearest | sign]


@pytest.mark.parametrize("tag", [*INTEGERS, "BOOL"])
@given(data=st.data(), weights=coefficients)
def test_a_mean_of_integers_is_exact_and_half_goes_to_even(tag: str, data: st.DataObject, weights: list[int]) -> None:
    one: Any = (
        st.booleans() if tag == "BOOL" else st.integers(int(np.iinfo(DTYPES[tag]).min), int(np.iinfo(DTYPES[tag]).max))
    )
    if data.draw(st.booleans()):
        weights = [1] * (len(weights) + 1)  # ties
    rows = [data.draw(st.lists(one, min_size=4, max_size=4)) for _ in weights]
    merged = weighted_mean(tag, [np.array(row, DTYPES[tag]) for row in rows], weights)
    assert merged.dtype == DTYPES[tag]
    assert merged.tolist() == [
        round(Fraction(sum(k * x for k, x in zip(weights, column, strict=True)), sum(weights)))
        for column in zip(*rows, strict=True)
    ]


@pytest.mark.parametrize(
    ("values", "weights", "expected"),
    [
        ([True, True, False], [1, 1, 1], True),
        ([True, False, False], [1, 1, 1], False),
        ([True, False, False], [3, 1, 1], True),
        ([True, False], [1, 1], False),
        ([True, False, False], [2, 1, 1], False),
    ],
)
def test_booleans_follow_the_majority_and_a_tie_is_false(
    values: list[bool], weights: list[int], expected: bool
) -> None:
    assert weighted_mean("BOOL", [np.array([value]) for value in values], weights).tolist() == [expected]


@pytest.mark.parametrize(
    ("values", "expected"), [([1, 2], 2), ([2, 3], 2), ([-1, -2], -2), ([-2, -3], -2), ([0, -1], 0), ([1, 1], 1)]
)
def test_half_an_integer_is_rounded_to_the_even_one(values: list[int], expected: int) -> None:
    assert weighted_mean("I8", [np.array([value], np.int8) for value in values], [1, 1]).tolist() == [expected]


@pytest.mark.parametrize("tag", FLOAT_BITS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("weights", [(1, 1), (1, 0), (0, 1)])
def test_non_finite_values_are_found_whatever_their_weight(tag: str, bad: float, weights: tuple[int, int]) -> None:
    def model(value: float) -> Array:
        if tag == "BF16":
            return (np.array([1, value, 1], np.float32).view(np.uint32) >> 16).astype(np.uint16)
        return np.array([1, value, 1]).astype(DTYPES[tag])

    with pytest.raises(NonFinite), np.errstate(invalid="ignore"):
        weighted_mean(tag, [model(1), model(bad)], weights)
    assert len(weighted_mean(tag, [model(1), model(2)], weights)) == 3


def test_the_components_of_complex_numbers_are_merged_separately() -> None:
    rows = [np.array([1 + 2j, 0], np.complex64), np.array([3 - 4j, 1j], np.complex64)]
    assert weighted_mean("C64", rows, (1, 3)).tolist() == [2.5 - 2.5j, 0.75j]


def test_a_mean_of_bfloat16_has_the_expected_values() -> None:
    assert (
        weighted_mean("BF16", [bfloat16([1.0, -3.0]), bfloat16([2.0, 1.0])], (1, 1)).tolist()
        == bfloat16([1.5, -1.0]).tolist()
    )
