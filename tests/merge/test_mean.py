import hashlib
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merge.model_files import Model, merge_arrays, merge_models, random_models, save, stored
from swarmlearning.merge.merging import Source, merge
from swarmlearning.tensors.file import MERGEABLE, read


@pytest.mark.parametrize(
    ("values", "weights", "expected"),
    [
        ([1.0], [7], 1.0),
        ([1.0, 2.0], [1, 1], 1.5),
        ([1.0, 2.0, 6.0], [1, 1, 1], 3.0),
        ([1.0, 3.0], [3, 1], 1.5),
        ([1.0, 100.0], [1, 0], 1.0),
        ([-1.0, 1.0], [1, 1], 0.0),
    ],
)
def test_the_mean_is_weighted_as_in_the_table(values: list[float], weights: list[int], expected: float) -> None:
    merged = merge_arrays("mean", [np.full((2, 2), value, np.float32) for value in values], weights)
    np.testing.assert_array_equal(merged, np.full((2, 2), expected, np.float32))


def test_the_receipt_of_a_mean_lists_weights_in_uid_order(tmp_path: Path) -> None:
    paths = {uid: save(tmp_path / uid, {"w": np.ones(2)}) for uid in ("b", "a", "C")}
    receipt = merge(
        "mean",
        [Source(uid, weight, paths[uid]) for uid, weight in (("b", 2), ("a", 3), ("C", 5))],
        None,
        tmp_path / "o",
    )
    assert receipt.contributors == ("C", "a", "b")
    assert receipt.coefficients == (5, 3, 2)
    assert receipt.excluded == ()


@settings(max_examples=25)
@given(st.lists(st.integers(1, 100), min_size=2, max_size=6))
def test_a_float32_mean_agrees_with_a_float64_reference(weights: list[int]) -> None:
    models = random_models("F32", len(weights), 300)
    reference = np.average([model.astype(np.float64) for model in models], axis=0, weights=weights)
    np.testing.assert_array_max_ulp(merge_arrays("mean", models, weights), reference.astype(np.float32), 1)


def test_tensors_of_all_dtypes_in_one_model_are_merged_as_if_alone() -> None:
    columns = {tag: random_models(tag, 3, 10, seed=5) for tag in sorted(MERGEABLE)}
    models = [{tag: stored(tag, rows[index]) for tag, rows in columns.items()} for index in range(3)]
    merged, _ = merge_models("mean", models, [1, 2, 3])
    for tag, rows in columns.items():
        alone = merge_arrays("mean", rows, [1, 2, 3], tag)
        assert merged[tag].tobytes() == alone.tobytes(), tag


def test_scalars_and_empty_tensors_are_merged() -> None:
    models: list[Model] = [
        {"steps": np.array(step, np.int64), "none": np.zeros((0, 3), np.float32), "x": np.array(0.5 * step)}
        for step in (10, 13)
    ]
    merged, _ = merge_models("mean", models)
    assert merged["steps"].shape == merged["x"].shape == ()
    assert merged["steps"].item() == 12
    assert merged["x"].item() == 5.75
    assert merged["none"].shape == (0, 3)


def test_models_without_tensors_are_merged_to_one_without() -> None:
    assert merge_models("mean", [{}, {}])[0] == {}


def test_every_order_of_sources_gives_the_same_bytes(tmp_path: Path) -> None:
    models = random_models("F64", 4, 1000)  # in float32 the order of a sum rarely shows
    given_sources = [
        Source(uid, weight, save(tmp_path / uid, {"w": model}))
        for uid, weight, model in zip("abcd", (1, 2, 3, 4), models, strict=True)
    ]
    seen = set()
    for order in permutations(given_sources):
        merge("mean", order, None, tmp_path / "out")
        seen.add((tmp_path / "out").read_bytes())
    assert len(seen) == 1


def test_the_bytes_of_a_mean_never_change() -> None:
    # Any change of the arithmetic shows here; a verifier recomputes old rounds.
    merged, _ = merge_models(
        "mean",
        [
            {tag: stored(tag, random_models(tag, 3, 500, seed=9)[index]) for tag in sorted(MERGEABLE)}
            for index in range(3)
        ],
        [3, 1, 7],
    )
    digest = hashlib.sha256(b"".join(merged[tag].tobytes() for tag in sorted(merged))).hexdigest()
    assert digest == "e162b340ba9a16b98769686698f039bea40f1c069fb4c80f63fc91203c9e97f6"


def test_the_result_has_the_layout_of_its_sources(tmp_path: Path) -> None:
    path = save(tmp_path / "a", {"b": np.ones(3, np.float32), "a": np.ones((2, 2)), "c": np.array(4)})
    merge("mean", [Source("a", 1, path)], None, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == path.read_bytes()
    assert list(read(tmp_path / "out")) == ["c", "a", "b"]
