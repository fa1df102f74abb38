"""Infinite and NaN constants, which no model is left out for, and what does make a model unusable."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merge.model_files import Model, merge_models, random_models, save, sources, stored
from swarmlearning.merge import streaming
from swarmlearning.merge.merging import Exclusion, MergeReceipt, Reason, TooFewModels, merge
from swarmlearning.merge.methods import METHODS
from swarmlearning.tensors.file import DTYPES, Array, read

every_method = pytest.mark.parametrize("method", METHODS)
INF, NAN = np.inf, np.nan

SPECIAL = {
    "F64": [0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000000, 0xFFF8000000000001, 0x7FEFFFFFFFFFFFFF],
    "F32": [0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00001, 0x7F7FFFFF],
    "F16": [0x7C00, 0xFC00, 0x7E00, 0xFE01, 0x7BFF],
    "BF16": [0x7F80, 0xFF80, 0x7FC0, 0xFFC1, 0x7F7F],
    "C64": [0x7F800000_3F800000, 0x3F800000_FF800000, 0x7FC00000_7F800000, 0xFFC00001_00000000, 0x7F7FFFFF_7F7FFFFF],
}
"""Of each dtype the bits of both infinities, of two NaNs, and of the largest finite value."""


def result(
    folder: Path, method: str, rows: list[list[float]], previous: list[float] | None = None, **options: Any
) -> tuple[list[float], MergeReceipt]:
    """Merges float64 models of one tensor `w`, and gives the values."""
    before = None if previous is None else save(folder / "previous", {"w": np.array(previous)})
    receipt = merge(method, sources(folder, [{"w": np.array(row)} for row in rows]), before, folder / "out", **options)
    return read(folder / "out")["w"].tolist(), receipt


# --- constants ---


@every_method
@pytest.mark.parametrize("tag", SPECIAL)
@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_value_that_all_models_share_to_the_bit_is_merged_to_itself(method: str, tag: str, count: int) -> None:
    constant = np.array(SPECIAL[tag], f"u{DTYPES[tag].itemsize}").view(DTYPES[tag])
    rows = random_models(tag, count, 40)
    models = [{"a.mask": stored(tag, constant), "b.weight": stored(tag, row)} for row in rows]
    merged, receipt = merge_models(method, models)
    plain, without = merge_models(method, [{"b.weight": stored(tag, row)} for row in rows])
    assert receipt.excluded == ()
    assert merged["a.mask"].tobytes() == constant.tobytes()
    assert merged["b.weight"].tobytes() == plain["b.weight"].tobytes()
    assert receipt.coefficients == without.coefficients


@every_method
@pytest.mark.parametrize("weights", [[1, 1, 1], [3, 1, 2], [9, 1, 1]])
def test_a_causal_mask_beside_weights_costs_nobody_a_part_in_the_merge(
    tmp_path: Path, method: str, weights: list[int]
) -> None:
    mask = np.triu(np.full((6, 6), -INF, np.float32), 1)
    models = [{"mask": mask, "w": row} for row in random_models("F32", 3, 100)]
    receipt = merge(method, sources(tmp_path, models, weights), None, tmp_path / "out", influence=True)
    assert receipt.contributors == ("a", "b", "c")
    assert read(tmp_path / "out")["mask"].tobytes() == mask.tobytes()
    again = merge(method, sources(tmp_path, models, weights), tmp_path / "out", tmp_path / "next", influence=True)
    assert (tmp_path / "next").read_bytes() == (tmp_path / "out").read_bytes()
    assert again.excluded == ()


@every_method
def test_the_influence_of_models_with_constants_is_that_without_them(tmp_path: Path, method: str) -> None:
    rows = random_models("F32", 3, 100)
    previous = {"w": np.ones(100, np.float32)}
    mask = {"mask": np.array([-INF, NAN, 3e38, 1.0], np.float32)}
    plain = merge(
        method, sources(tmp_path, [{"w": row} for row in rows]), save(tmp_path / "p", previous), tmp_path / "out",
        influence=True,
    )  # fmt: skip
    found = merge(
        method, sources(tmp_path, [{"w": row, **mask} for row in rows]), save(tmp_path / "p", previous | mask),
        tmp_path / "out", influence=True,
    )  # fmt: skip
    assert found.influences == plain.influences
    assert all(None not in one for one in found.influences)


@every_method
def test_the_least_float64_as_a_mask_does_not_overflow(tmp_path: Path, method: str) -> None:
    least = float(np.finfo(np.float64).min)
    values, receipt = result(tmp_path, method, [[least, 1.0], [least, 2.0], [least, 4.0]])
    assert values[0] == least
    assert np.isfinite(values[1])
    assert receipt.excluded == ()


@every_method
def test_a_constant_does_not_hide_a_model_that_is_at_fault(tmp_path: Path, method: str) -> None:
    models: list[Model] = [{"a.mask": np.array([-INF, 0.0]), "z.weight": np.array([1.0, 2.0])} for _ in range(3)]
    models[1] = {**models[1], "z.weight": np.array([1.0, NAN])}
    receipt = merge(method, sources(tmp_path, models), None, tmp_path / "out")
    assert receipt.excluded == (Exclusion("b", Reason.NON_FINITE, "z.weight"),)


@every_method
@pytest.mark.parametrize("elements", [1, 3, 1000])
def test_a_merge_with_constants_is_the_same_for_any_block_size(
    tmp_path: Path, method: str, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = [INF, 1e300, NAN, 1.7e308, 0.1, -INF]
    rows = [[*row, 0.3], [*row, 0.7], [*row, 0.9]]
    expected, _ = result(tmp_path, method, rows)
    monkeypatch.setattr(streaming, "block_elements", lambda models: elements)
    values, _ = result(tmp_path, method, rows)
    assert np.array(values).tobytes() == np.array(expected).tobytes()


# --- in the light of the previous result ---


@every_method
@pytest.mark.parametrize("constant", [INF, -INF, NAN])
def test_an_infinite_constant_stays_until_every_model_has_a_finite_value(
    tmp_path: Path, method: str, constant: float
) -> None:
    previous = [constant, 0.0]
    values, receipt = result(tmp_path, method, [[constant, 1.0], [5.0, 2.0], [constant, 3.0]], previous)
    assert receipt.excluded == ()
    np.testing.assert_equal(values[0], constant)
    values, receipt = result(tmp_path, method, [[5.0, 1.0], [5.0, 2.0], [5.0, 3.0]], previous)
    assert receipt.excluded == ()
    assert values[0] == 5.0


@every_method
def test_one_finite_value_in_a_mask_makes_no_other_model_unusable(tmp_path: Path, method: str) -> None:
    for liar in range(2):
        rows = [[-INF, 1.0], [-INF, 2.0]]
        rows[liar][0] = 0.0
        values, receipt = result(tmp_path, method, rows, [-INF, 0.0])
        assert (values[0], receipt.excluded) == (-INF, ())


@every_method
@pytest.mark.parametrize("value", [INF, NAN])
def test_of_two_models_the_one_that_left_the_previous_result_for_an_infinity_is_at_fault(
    tmp_path: Path, method: str, value: float
) -> None:
    for uid, rows in {"a": [[value, 1.0], [-INF, 2.0]], "b": [[-INF, 1.0], [value, 2.0]]}.items():
        _, receipt = result(tmp_path, method, rows, [-INF, 0.0])
        assert receipt.excluded == (Exclusion(uid, Reason.NON_FINITE, "w"),)


@every_method
def test_models_that_have_diverged_together_are_not_merged_to_nan(tmp_path: Path, method: str) -> None:
    with pytest.raises(TooFewModels) as raised:
        result(tmp_path, method, [[NAN, NAN]] * 3, [1.0, 2.0])
    assert raised.value.excluded == tuple(Exclusion(uid, Reason.NON_FINITE, "w") for uid in "abc")


@every_method
def test_infinities_that_all_models_share_are_merged_whatever_the_previous_result_had(
    tmp_path: Path, method: str
) -> None:
    values, receipt = result(tmp_path, method, [[INF, 1.0], [INF, 3.0]], [0.0, 2.0])
    assert (values[0], receipt.excluded) == (INF, ())


@pytest.mark.parametrize("bits", [0x7FF8000000000000, 0x7FF8000000000001])
def test_nans_of_other_bits_are_not_the_same_constant(tmp_path: Path, bits: int) -> None:
    own = np.array([bits], np.uint64).view(np.float64)
    other = np.array([0x7FF8000000000002], np.uint64).view(np.float64)
    models: list[Model] = [{"w": own}, {"w": own}, {"w": other}]
    receipt = merge("mean", sources(tmp_path, models), save(tmp_path / "p", {"w": own}), tmp_path / "out")
    assert receipt.excluded == (Exclusion("c", Reason.NON_FINITE, "w"),)


# --- values too large ---


@every_method
@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_model_whose_values_overflow_is_left_out_by_name(tmp_path: Path, method: str, place: int) -> None:
    rows = [[1.0, 0.5], [2.0, 0.5], [3.0, 0.5]]
    rows[place][0] = -1.7e308
    models: list[Model] = [{"a": np.array(row[1:]), "b": np.array(row[:1])} for row in rows]
    weights = [1, 1, 1]
    weights[place] = 2
    before = save(tmp_path / "p", {"a": np.zeros(1), "b": np.zeros(1)})
    receipt = merge(method, sources(tmp_path, models, weights), before, tmp_path / "out", influence=True)
    assert np.isfinite(read(tmp_path / "out")["b"]).all()
    for exclusion in receipt.excluded:
        assert exclusion == Exclusion("abc"[place], Reason.NON_FINITE, "b (its values are too large to be merged)")
    if method == "mean":
        assert receipt.excluded


@pytest.mark.parametrize("method", ["mean", "geomedian"])
def test_the_honest_one_of_two_models_is_kept_though_the_other_has_a_hundred_times_its_weight(
    tmp_path: Path, method: str
) -> None:
    for bad in range(2):
        models: list[Model] = [{"w": np.array([0.5, 1.0])}, {"w": np.array([0.25, 1.0])}]
        models[bad] = {"w": np.array([1.7e308, 1.0])}
        weights = [1, 1]
        weights[bad] = 100
        receipt = merge(method, sources(tmp_path, models, weights), None, tmp_path / "out")
        assert receipt.excluded == (
            Exclusion("ab"[bad], Reason.NON_FINITE, "w (its values are too large to be merged)"),
        )


@every_method
def test_one_of_several_models_that_are_too_large_to_add_is_kept(tmp_path: Path, method: str) -> None:
    values, receipt = result(tmp_path, method, [[1.6e308] * 2, [1.7e308] * 2, [1.75e308] * 2, [1.77e308] * 2])
    assert np.isfinite(values).all()
    assert receipt.contributors[0] == "a"
    with pytest.raises(TooFewModels):
        result(tmp_path, method, [[1.6e308], [1.7e308], [1.75e308], [1.77e308]], minimum=4)


@pytest.mark.parametrize("distance", [1e160, 1e250, 1e300])
def test_an_outlier_whose_square_is_beyond_float64_hardly_moves_the_geometric_median(
    tmp_path: Path, distance: float
) -> None:
    good = np.random.default_rng(6).standard_normal((4, 50))
    models = [{"w": row} for row in [*good, np.full(50, distance)]]
    receipt = merge("geomedian", sources(tmp_path, models), None, tmp_path / "out")
    assert receipt.excluded == ()
    assert receipt.coefficients[4] == 0
    assert np.abs(read(tmp_path / "out")["w"] - good.mean(axis=0)).max() < 10


# --- any values at all ---

values = st.sampled_from([0.0, -1.5, 2.0, 1.7e308, -1.7e308, INF, -INF, NAN])


@settings(max_examples=150, deadline=None)
@given(
    data=st.data(),
    method=st.sampled_from(sorted(METHODS)),
    count=st.integers(2, 4),
    with_previous=st.booleans(),
)
def test_every_merge_ends_and_blames_no_model_that_is_finite_or_unchanged(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, method: str, count: int, with_previous: bool
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    rows = data.draw(st.lists(st.lists(values, min_size=3, max_size=3), min_size=count, max_size=count))
    previous = data.draw(st.lists(values, min_size=3, max_size=3)) if with_previous else None
    weights = data.draw(st.lists(st.integers(1, 100), min_size=count, max_size=count))
    before = None if previous is None else save(folder / "p", {"w": np.array(previous)})
    try:
        receipt = merge(
            method, sources(folder, [{"w": np.array(row)} for row in rows], weights), before, folder / "out",
            influence=True,
        )  # fmt: skip
    except TooFewModels as failure:
        excluded = failure.excluded
    else:
        excluded = receipt.excluded
    for exclusion in excluded:
        row, text = np.array(rows["abcd".index(exclusion.uid)]), exclusion.detail
        assert exclusion.reason == Reason.NON_FINITE
        if "too large" in text:
            assert np.abs(row[np.isfinite(row)]).max() > 1e308
        else:
            assert not _usable(row, previous)


def _usable(row: Array, previous: list[float] | None) -> bool:
    same = np.zeros(3, bool) if previous is None else row.view(np.uint64) == np.array(previous).view(np.uint64)
    return bool((np.isfinite(row) | same).all())
