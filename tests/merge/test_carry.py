"""A straggler's change since its base, added to a newer model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from merge.model_files import Model, bfloat16, save, stored
from swarmlearning.merge.carry import carry, damping
from swarmlearning.merge.merging import MergeError
from swarmlearning.tensors.file import Array, read


def carried(folder: Path, trained: Model, base: Model, newer: Model, missed: int = 3) -> dict[str, Array]:
    models = {"trained": trained, "base": base, "newer": newer}
    paths = {name: save(folder / name, model) for name, model in models.items()}
    carry(**paths, out=folder / "out", missed=missed, on_read=lambda size: None)
    return read(folder / "out")


@pytest.mark.parametrize(("missed", "factor"), [(1, 2**-0.5), (3, 0.5), (8, 1 / 3)])
def test_a_carried_change_counts_less_the_more_rounds_it_has_missed(missed: int, factor: float) -> None:
    assert damping(missed) == pytest.approx(factor)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
def test_a_carried_change_is_added_to_the_newer_model(tmp_path: Path, kind: Any) -> None:
    model = carried(
        tmp_path, {"w": np.array([3, 5], kind)}, {"w": np.array([1, 5], kind)}, {"w": np.array([10, -2], kind)}
    )
    np.testing.assert_array_equal(model["w"], np.array([11, -2], kind))


def test_a_change_in_bfloat16_is_carried(tmp_path: Path) -> None:
    trained, base, newer = ({"w": stored("BF16", bfloat16([value]))} for value in (3.0, 1.0, 10.0))
    np.testing.assert_array_equal(carried(tmp_path, trained, base, newer)["w"], bfloat16([11.0]))


def test_carrying_no_change_leaves_every_bit_of_the_newer_model(tmp_path: Path) -> None:
    same, newer = np.random.default_rng(1).normal(size=(2, 500)).astype(np.float32)
    assert carried(tmp_path, {"w": same}, {"w": same}, {"w": newer})["w"].tobytes() == newer.tobytes()


def test_a_carried_model_has_the_integers_and_booleans_of_the_newer_one(tmp_path: Path) -> None:
    columns: dict[str, Any] = {"count": np.int64, "mask": np.bool_}
    models: list[Model] = [{name: np.array([n], kind) for name, kind in columns.items()} for n in (7, 1, 0)]
    found = carried(tmp_path, models[0], models[1], models[2])
    assert (found["count"][0], found["mask"][0]) == (0, False)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("constant", [np.inf, -np.inf, np.nan])
def test_a_constant_that_is_not_finite_is_carried_unchanged(tmp_path: Path, kind: Any, constant: float) -> None:
    trained, base, newer = ({"w": np.array([constant, value], kind)} for value in (3.0, 1.0, 10.0))
    np.testing.assert_array_equal(carried(tmp_path, trained, base, newer)["w"], np.array([constant, 11.0], kind))


def test_a_first_finite_value_in_place_of_an_infinity_is_kept_unless_the_newer_model_has_one(tmp_path: Path) -> None:
    trained, base = {"w": np.array([2.0, 2.0])}, {"w": np.array([np.inf, np.inf])}
    newer = {"w": np.array([np.inf, 5.0])}
    np.testing.assert_array_equal(carried(tmp_path, trained, base, newer)["w"], [2.0, 5.0])


def test_a_value_that_is_not_finite_stays_so_when_it_is_carried(tmp_path: Path) -> None:
    trained, base, newer = ({"w": np.array([value, 1.0])} for value in (np.nan, 0.0, 0.0))
    assert np.isnan(carried(tmp_path, trained, base, newer)["w"]).tolist() == [True, False]


def test_carrying_is_refused_for_another_structure_or_a_missing_file(tmp_path: Path) -> None:
    one = {"w": np.zeros(2)}
    with pytest.raises(MergeError, match="base model has another structure"):
        carried(tmp_path, one, {"w": np.zeros(3)}, one)
    with pytest.raises(MergeError, match="gone"):
        carry(tmp_path / "gone", tmp_path / "newer", tmp_path / "newer", tmp_path / "out", 1, lambda size: None)
