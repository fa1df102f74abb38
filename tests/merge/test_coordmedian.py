import hashlib
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merge.model_files import FLOAT_BITS, INTEGERS, bfloat16, merge_arrays, merge_models, random_models, stored
from swarmlearning.merge.coordmedian import _sorting_network
from swarmlearning.tensors.file import DTYPES, MERGEABLE


def reference(values: list[Fraction], weights: list[int]) -> Fraction:
    """The documented rule, word for word."""
    total, cumulative = sum(weights), 0
    ordered = sorted((value, weight) for value, weight in zip(values, weights, strict=True) if weight)
    for index, (value, weight) in enumerate(ordered):
        cumulative += weight
        if 2 * cumulative == total:
            return (value + ordered[index + 1][0]) / 2
        if 2 * cumulative > total:
            return value
    raise AssertionError


@pytest.mark.parametrize(
    ("values", "weights", "expected"),
    [
        ([5.0], [3], 5.0),
        ([1.0, 2.0], [1, 1], 1.5),
        ([9.0, 1.0, 2.0], [1, 1, 1], 2.0),
        ([9.0, 1.0, 2.0, 3.0], [1, 1, 1, 1], 2.5),
        ([9.0, 1.0, 2.0, 3.0], [7, 7, 7, 7], 2.5),
        ([1.0, 2.0], [1, 2], 2.0),
        ([1.0, 2.0, 3.0], [3, 1, 1], 1.0),
        ([1.0, 2.0, 3.0], [2, 1, 1], 1.5),  # cumulative 2 of 4: the average with the next
        ([3.0, 2.0, 1.0], [2, 1, 1], 2.5),
        ([1.0, 1.0, 3.0], [1, 2, 3], 2.0),
        ([1.0, 2.0, 300.0], [1, 1, 0], 1.5),
        ([1e30, 0.5, -1e30], [1, 1, 1], 0.5),
    ],
)
def test_the_coordinate_median_is_weighted_as_in_the_table(
    values: list[float], weights: list[int], expected: float
) -> None:
    merged = merge_arrays("coordmedian", [np.full(3, value, np.float32) for value in values], weights)
    assert merged.tolist() == [expected] * 3


@settings(max_examples=50)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=7).flatmap(
        lambda weights: st.tuples(
            st.just(weights),
            st.lists(
                st.lists(st.sampled_from([-3.0, -1.5, -0.0, 0.0, 0.25, 2.0, 7.0]), min_size=5, max_size=5),
                min_size=len(weights),
                max_size=len(weights),
            ),
        )
    )
)
def test_the_coordinate_median_of_any_values_and_weights_follows_its_definition(
    case: tuple[list[int], list[list[float]]],
) -> None:
    weights, rows = case
    merged = merge_arrays("coordmedian", [np.array(row, np.float32) for row in rows], weights)
    for index, value in enumerate(merged):
        expected = reference([Fraction(row[index]) for row in rows], weights)
        assert Fraction(float(value)) == expected


@pytest.mark.parametrize("tag", [*INTEGERS, "BOOL", "F16", "F32", "F64"])
@pytest.mark.parametrize("weights", [[1, 1, 1], [1, 1, 1, 1], [3, 1, 2, 1, 3], [2, 1, 1]])
def test_the_coordinate_median_of_every_dtype_follows_its_definition(tag: str, weights: list[int]) -> None:
    rows = random_models(tag, len(weights), 200, seed=3)
    merged = merge_arrays("coordmedian", rows, weights)
    assert merged.dtype == DTYPES[tag]
    for index, value in enumerate(merged.tolist()):
        exact = reference([Fraction(row[index].item()) for row in rows], weights)
        if tag in INTEGERS or tag == "BOOL":
            assert value == round(exact)
        else:
            assert value == DTYPES[tag].type(float(exact)).item()


def test_the_coordinate_median_of_bfloat16_and_complex_follows_its_definition() -> None:
    rows = [bfloat16([1.0, -8.0]), bfloat16([-2.0, -4.0]), bfloat16([0.5, 3.0])]
    assert merge_arrays("coordmedian", rows, tag="BF16").tolist() == bfloat16([0.5, -4.0]).tolist()
    assert merge_arrays("coordmedian", rows[:2], tag="BF16").tolist() == bfloat16([-0.5, -6.0]).tolist()
    complex_rows = [np.array([value], np.complex64) for value in (1 + 9j, 2 + 8j, 3 - 7j)]
    assert merge_arrays("coordmedian", complex_rows).tolist() == [2 + 8j]


@pytest.mark.parametrize("tag", FLOAT_BITS)
@pytest.mark.parametrize("weights", [[1], [1, 1], [1, 1, 1], [2, 1, 1], [1, 5, 3]])
def test_the_coordinate_median_of_equal_models_is_exactly_that_model(tag: str, weights: list[int]) -> None:
    model = random_models(tag, 1, 500)[0]
    model[:2] = np.array([0x0001, 0x8000 if tag in ("F16", "BF16") else 0], np.uint16).astype(DTYPES[tag])
    merged = merge_arrays("coordmedian", [model] * len(weights), weights, tag)
    assert merged.tobytes() == model.tobytes()


def test_the_coordinate_median_orders_minus_zero_below_zero() -> None:
    rows = [np.array([value], np.float32) for value in (0.0, -0.0, -0.0)]
    assert np.signbit(merge_arrays("coordmedian", rows))[0]
    assert not np.signbit(merge_arrays("coordmedian", [*rows, rows[0], rows[0]]))[0]


def test_outliers_of_a_minority_do_not_move_the_coordinate_median() -> None:
    rows = random_models("F32", 5, 300)
    outlier = np.full(300, 3e38, np.float32)
    merged = merge_arrays("coordmedian", [*rows, outlier, -outlier])
    np.testing.assert_array_equal(merged, np.median(rows, axis=0))


@pytest.mark.parametrize("count", range(1, 10))
def test_the_sorting_network_sorts_every_sequence_of_zeros_and_ones(count: int) -> None:
    # Which is enough for it to sort everything (the 0-1 principle).
    network = list(_sorting_network(count))
    for bits in product((0, 1), repeat=count):
        values = list(bits)
        for i, j in network:
            if values[i] > values[j]:
                values[i], values[j] = values[j], values[i]
        assert values == sorted(bits)


@pytest.mark.parametrize("weights", [[1] * 5, [2, 1, 1, 3, 1]])
def test_the_bytes_of_a_coordinate_median_never_change(weights: list[int]) -> None:
    columns = {tag: random_models(tag, 5, 500, seed=11) for tag in sorted(MERGEABLE)}
    models = [{tag: stored(tag, rows[index]) for tag, rows in columns.items()} for index in range(5)]
    merged, receipt = merge_models("coordmedian", models, weights)
    assert receipt.coefficients == ()
    digest = hashlib.sha256(b"".join(merged[tag].tobytes() for tag in sorted(merged))).hexdigest()
    assert (
        digest
        == {
            1: "0a20daac7a7afcc52cb3d0dfe9f04dcf71743c8a61dd363c626a145597b21800",
            2: "9b33dd66a14639b238a9e85e817a11455d36893de0fa9b3e88a85fd3fb896711",
        }[weights[0]]
    )
