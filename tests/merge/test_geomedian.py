"""The geometric median against what geometry knows, and against a float64 iteration over the vectors themselves."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merge.model_files import merge_arrays, merge_models, random_models
from swarmlearning.merge.arithmetic import GRID
from swarmlearning.merge.geomedian import majority, minimise, on_grid
from swarmlearning.tensors.file import Array

Points = list[list[float]]


def merged_points(points: Any, weights: list[int] | None = None) -> Array:
    return merge_arrays("geomedian", [np.array(point, np.float64) for point in points], weights)


def objective(points: Array, weights: Array, at: Array) -> float:
    return float(weights @ np.linalg.norm(points - at, axis=1))


SQRT3 = 3**0.5


@pytest.mark.parametrize(
    ("points", "weights", "expected"),
    [
        pytest.param([[4, 5]], [1], [4, 5], id="one model"),
        pytest.param([[0, 0], [2, 4]], [1, 1], [1, 2], id="two equal: the middle"),
        pytest.param([[0, 0], [2, 4]], [2, 3], [2, 4], id="two unequal: the heavier"),
        pytest.param([[0, 0], [2, 0], [1, SQRT3]], None, [1, 1 / SQRT3], id="equilateral: the centre"),
        pytest.param([[0, 0], [4, 0], [2, 0.1]], None, [2, 0.1], id="a wide angle: its corner"),
        pytest.param([[0, 0], [5, 1], [4, 4], [1, 4]], None, None, id="four corners: where the diagonals cross"),
        pytest.param([[0, 0], [4, 0], [2, 3], [2, 1]], None, [2, 1], id="one inside a triangle: that one"),
        pytest.param([[1], [2], [9]], None, [2], id="on a line: the median"),
        pytest.param([[1], [2], [3], [4], [90]], None, [3], id="on a line, five"),
        pytest.param([[0, 0], [1, 0], [0, 1]], [5, 2, 2], [0, 0], id="more than half"),
        pytest.param([[0, 0], [1, 0], [1, 0]], [2, 1, 1], [0, 0], id="exactly half"),
        pytest.param([[1, 1], [1, 1], [5, 0]], None, [1, 1], id="two of three agree"),
        pytest.param([[1, 1], [1, 1], [5, 0], [5, 0]], None, [3, 0.5], id="two pairs: the middle"),
        pytest.param([[3, 3]] * 4, [1, 2, 3, 4], [3, 3], id="all agree"),
    ],
)
def test_the_geometric_median_is_weighted_as_in_the_table(
    points: Points, weights: list[int] | None, expected: list[float] | None
) -> None:
    if expected is None:  # diagonals (0,0)-(4,4) and (5,1)-(1,4)
        expected = [19 / 7, 19 / 7]
    np.testing.assert_allclose(merged_points(points, weights), expected, rtol=0, atol=1e-7)


def test_a_model_with_half_of_the_weight_is_the_geometric_median_to_the_bit() -> None:
    models = random_models("F32", 3, 500)
    models[1][:2] = -0.0
    assert merge_arrays("geomedian", models, [1, 2, 1]).tobytes() == models[1].tobytes()


@pytest.mark.parametrize(
    ("weights", "expected"), [([1], 0), ([1, 1], None), ([1, 2], 1), ([1, 2, 1], 1), ([1, 1, 1], None), ([9, 1, 1], 0)]
)
def test_a_majority_is_the_model_with_at_least_half_of_the_weight(weights: list[int], expected: int | None) -> None:
    assert majority(weights) == expected


@settings(max_examples=40)
@given(
    st.integers(3, 9), st.integers(1, 20), st.integers(0, 10**6), st.floats(1e-3, 1e3), st.sampled_from([0, 10, 1e4])
)
def test_no_point_near_a_geometric_median_is_better(
    count: int, dimension: int, seed: int, spread: float, offset: float
) -> None:
    rng = np.random.default_rng(seed)
    points = offset + spread * rng.standard_normal((count, dimension))
    weights = rng.integers(1, 10, count)
    found = merged_points(points, weights.tolist())
    least = objective(points, weights, found)
    assert all(least <= objective(points, weights, point) * (1 + 1e-12) for point in points)
    for step in (1e-1, 1e-3, 1e-5):
        for direction in rng.standard_normal((20, dimension)):
            assert least <= objective(points, weights, found + step * spread * direction) * (1 + 1e-12)


def iterated(points: Array, weights: Array) -> Array:
    """Weiszfeld's method on the vectors themselves, in float64, about their mean."""
    centre = points.mean(axis=0)
    moved = points - centre
    at = np.average(moved, axis=0, weights=weights)
    for _ in range(3000):
        pull = weights / np.linalg.norm(moved - at, axis=1)
        at = pull @ moved / pull.sum()
    result: Array = at + centre
    return result


@settings(max_examples=20)
@given(st.integers(4, 8), st.integers(0, 10**6))
def test_the_geometric_median_agrees_with_the_iteration_over_whole_vectors(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((count, 50))
    weights = rng.integers(2, 5, count)
    np.testing.assert_allclose(merged_points(points, weights.tolist()), iterated(points, weights), rtol=0, atol=1e-6)


def test_the_geometric_median_is_exact_for_models_close_together_and_far_from_zero() -> None:
    # Without centring, distances of 1e-8 about values of 1e3 are lost in the rounding of their squares.
    rng = np.random.default_rng(4)
    base = 1e3 * rng.standard_normal(400)
    steps = 1e-8 * rng.standard_normal((5, 400)) * np.array([[1], [1], [1], [1], [30]])
    merged, _ = merge_models("geomedian", [{"w": base + step} for step in steps])
    expected = iterated(np.array([base + step - base for step in steps]), np.ones(5))
    np.testing.assert_allclose(merged["w"] - base, expected, rtol=0, atol=1e-11)


def test_the_previous_result_has_no_part_in_a_geometric_median() -> None:
    models = [{"w": model} for model in random_models("F32", 5, 1000)]
    _, alone = merge_models("geomedian", models)
    _, receipt = merge_models("geomedian", models, previous={"w": np.full(1000, 1e7, np.float32)})
    assert receipt.coefficients == alone.coefficients


@pytest.mark.parametrize("distance", [1e3, 1e6, 1e9, 1e12, 1e30])
@pytest.mark.parametrize("place", [0, 2, 4])
def test_an_outlier_hardly_moves_the_geometric_median(distance: float, place: int) -> None:
    rng = np.random.default_rng(6)
    good = rng.standard_normal((4, 200)).astype(np.float32)
    outlier = np.full(200, distance, np.float32)
    models = [{"w": model} for model in np.insert(good, place, outlier, axis=0)]
    for previous in (None, {"w": np.zeros(200, np.float32)}):
        merged, receipt = merge_models("geomedian", models, previous=previous)
        assert receipt.coefficients[place] < 1e-1 * GRID
        spread = np.linalg.norm(good - good.mean(axis=0), axis=1).max()
        assert np.linalg.norm(merged["w"] - good.mean(axis=0)) < spread


def test_integers_have_no_part_in_the_geometry_but_are_merged_alike() -> None:
    floats = [[0.0, 0.0], [4.0, 0.0], [2.0, 3.0], [2.0, 1.25]]  # the last one is the median
    models = [{"w": np.array(point), "n": np.array([10**index])} for index, point in enumerate(floats)]
    merged, receipt = merge_models("geomedian", models)
    assert merged["n"].tolist() == [1000]
    assert receipt.coefficients == (0, 0, 0, GRID)


def test_the_geometric_median_of_integers_only_is_a_mean() -> None:
    merged, _ = merge_models("geomedian", [{"n": np.array([value])} for value in (1, 2, 6)])
    assert merged["n"].tolist() == [3]


def test_the_coefficients_of_a_geometric_median_are_on_the_grid_and_give_the_result() -> None:
    models = random_models("F32", 5, 1000)
    merged, receipt = merge_models("geomedian", [{"w": model} for model in models], [1, 2, 3, 2, 1])
    assert sum(receipt.coefficients) == GRID == 2**29
    exact = np.zeros(1000)
    for k, model in zip(receipt.coefficients, models, strict=True):
        exact += k * model.astype(np.float64)
    assert merged["w"].tobytes() == (exact / GRID).astype(np.float32).tobytes()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20).filter(lambda shares: sum(shares) > 1e-3))
def test_shares_on_the_grid_sum_to_one_and_are_nearest(shares: list[float]) -> None:
    normalised = np.array(shares) / sum(shares)
    whole = on_grid(normalised)
    assert sum(whole) == GRID
    assert all(abs(k - share * GRID) <= 1 + 1e-6 for k, share in zip(whole, normalised, strict=True))


def test_ties_between_shares_on_the_grid_go_to_the_first() -> None:
    third = GRID // 3
    assert on_grid(np.full(3, 1 / 3)) == (third + 1, third + 1, third)
    extra = GRID % 100
    assert on_grid(np.full(100, 0.01)) == (GRID // 100 + 1,) * extra + (GRID // 100,) * (100 - extra)


def test_the_iteration_leaves_a_model_that_is_not_the_geometric_median() -> None:
    # The weighted mean, where the iteration starts, lies on the fourth model.
    points = np.array([[-4.0, 0.0], [1.0, 2.0], [1.0, -2.0], [0.0, 0.0], [2.0, 0.0]])
    weights = np.array([2.0, 2.0, 2.0, 0.5, 2.0])
    assert np.average(points, axis=0, weights=weights).tolist() == [0.0, 0.0]
    shares, _ = minimise(points @ points.T, weights / weights.sum())
    found = objective(points, weights, shares @ points)
    around = [objective(points, weights, np.array([x, 0.0])) for x in np.linspace(-1, 2, 3001)]
    assert found <= min(around) + 1e-9
    assert found < objective(points, weights, points[3]) - 1e-3


def test_the_coefficients_of_a_geometric_median_never_change() -> None:
    models = [{"w": model} for model in random_models("F32", 4, 500, seed=13)]
    _, receipt = merge_models("geomedian", models, [1, 2, 1, 1])
    expected = (54880139, 367532928, 61444339, 53013506)
    assert max(abs(k - e) for k, e in zip(receipt.coefficients, expected, strict=True)) <= 1e-7 * GRID
