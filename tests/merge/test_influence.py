"""Distance and cosine of each contributor, against the same in plain NumPy over the whole vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from merge.model_files import merge_models, random_models, save, sources, stored
from swarmlearning.merge import influence, streaming
from swarmlearning.merge.arithmetic import Real
from swarmlearning.merge.influence import Influence, influences
from swarmlearning.merge.merging import merge
from swarmlearning.merge.methods import METHODS
from swarmlearning.tensors.file import Array, read

every_method = pytest.mark.parametrize("method", METHODS)


def measured(folder: Path, method: str, models: list[dict[str, Array]], previous: dict[str, Array] | None) -> Any:
    before = None if previous is None else save(folder / "previous", previous)
    receipt = merge(method, sources(folder, models), before, folder / "out", influence=True)
    return receipt, read(folder / "out")


def rounded(value: float) -> float:
    return float(f"{value:.3g}")


@every_method
def test_distance_and_cosine_follow_their_definitions(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "block_elements", lambda models: 5000)
    rng = np.random.default_rng(1)
    base = 100 * rng.standard_normal(30_000)
    vectors = [base + 1e-3 * rng.standard_normal(30_000) + 2e-3 for _ in range(3)]
    vectors += [base - 3e-3 * np.ones(30_000)]  # pulls the other way
    models = [{"a": vector[:6], "b": vector[6:].reshape(-1, 3)} for vector in vectors]
    receipt, result = measured(tmp_path, method, models, {"a": base[:6], "b": base[6:].reshape(-1, 3)})
    merged = np.concatenate([result["a"], result["b"].reshape(-1)])
    for vector, found in zip(vectors, receipt.influences, strict=True):
        own, update = vector - base, merged - base
        assert found.distance == rounded(float(np.linalg.norm(vector - merged)))
        assert found.cosine == rounded(float(own @ update / np.linalg.norm(own) / np.linalg.norm(update)))
    assert max(receipt.influences, key=lambda one: one.distance) == receipt.influences[3]
    assert receipt.influences[3].cosine < 0 < receipt.influences[0].cosine


@every_method
def test_a_model_has_no_cosine_without_a_previous_result(tmp_path: Path, method: str) -> None:
    receipt, _ = measured(tmp_path, method, [{"w": np.array([value, 0.0])} for value in (3.0, 5.0)], None)
    assert receipt.influences == (Influence(1.0, None), Influence(1.0, None))


def test_a_model_that_has_not_moved_has_no_cosine(tmp_path: Path) -> None:
    models = [{"w": np.array(point)} for point in ([1.0, 0.0], [5.0, 0.0], [1.0, 4.0])]
    receipt, _ = measured(tmp_path, "mean", models, {"w": np.array([1.0, 0.0])})
    assert [one.cosine for one in receipt.influences] == [None, 0.707, 0.707]


@every_method
def test_equal_models_have_distance_zero_and_cosine_one(tmp_path: Path, method: str) -> None:
    models = [{"w": row} for row in random_models("F32", 1, 1000) * 3]
    receipt, _ = measured(tmp_path, method, models, {"w": models[0]["w"] / 2})
    assert receipt.influences == (Influence(0.0, 1.0),) * 3


@pytest.mark.parametrize("tag", ["F16", "BF16", "F32", "F64", "C64"])
def test_every_float_dtype_has_an_influence(tmp_path: Path, tag: str) -> None:
    rows = random_models(tag, 3, 100)
    found = merge(
        "mean", sources(tmp_path, [{"w": stored(tag, row)} for row in rows]), None, tmp_path / "out", influence=True
    )
    assert all(one.distance and one.distance > 0 for one in found.influences)


def test_integers_have_no_influence(tmp_path: Path) -> None:
    models = [{"w": np.array([value]), "steps": np.array([1000 * int(value)])} for value in (1.0, 3.0)]
    receipt, _ = measured(tmp_path, "mean", models, None)
    assert receipt.influences == (Influence(1.0, None),) * 2


def test_an_outlier_has_a_distance_unless_its_square_overflows(tmp_path: Path) -> None:
    models = [{"w": np.array([value, 0], np.float32)} for value in (1, 1, 1, 1e30)]
    receipt, _ = measured(tmp_path, "coordmedian", models, None)
    assert receipt.influences[3] == Influence(1e30, None)
    receipt, _ = measured(tmp_path, "coordmedian", [{"w": np.array([value])} for value in (1.0, 1.0, 1e200)], None)
    assert receipt.influences[2] == Influence(None, None)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e25])
def test_squares_beyond_single_precision_are_measured_all_the_same(tmp_path: Path, scale: float) -> None:
    models = [{"w": np.array([value, 0], np.float32) * np.float32(scale)} for value in (2, 4, 9)]
    receipt, _ = measured(tmp_path, "mean", models, {"w": np.zeros(2, np.float32)})
    assert receipt.influences == tuple(Influence(rounded(apart * scale), 1.0) for apart in (3, 1, 4))


def test_layers_that_nobody_has_changed_are_measured_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used, sums = [], influence._sums

    def noted(real: Real, *rest: Any) -> Any:
        used.append(real)
        return sums(real, *rest)

    monkeypatch.setattr(influence, "_sums", noted)
    model = {"w": random_models("F32", 1, 1000)[0]}
    receipt, _ = measured(tmp_path, "mean", [model, model], model)
    assert receipt.influences == (Influence(0.0, None),) * 2
    assert used == [np.float32]


@pytest.mark.parametrize("previous", [False, True])
def test_a_block_of_infinities_that_all_models_share_costs_nobody_its_influence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, previous: bool
) -> None:
    monkeypatch.setattr(streaming, "block_elements", lambda models: 2)
    models = [{"a.mask": np.array([-np.inf, np.inf], np.float32), "b": np.array([value], "f4")} for value in (1, 2, 6)]
    receipt, _ = measured(tmp_path, "mean", models, {**models[0], "b": np.zeros(1, "f4")} if previous else None)
    cosine = 1.0 if previous else None
    assert receipt.influences == (Influence(2.0, cosine), Influence(1.0, cosine), Influence(3.0, cosine))


def test_influences_are_measured_on_request_only_and_change_no_bit(tmp_path: Path) -> None:
    models = [{"w": row} for row in random_models("F32", 3, 1000)]
    receipt, result = measured(tmp_path, "mean", models, None)
    plain, without = merge_models("mean", models)
    assert (len(receipt.influences), without.influences) == (3, ())
    assert result["w"].tobytes() == plain["w"].tobytes()


def test_sums_of_squares_beyond_float64_give_no_influence() -> None:
    sums = np.array([[np.inf, np.nan, np.inf], [4.0, 0.0, 1.0]])
    assert influences(sums) == (Influence(None, None), Influence(2.0, 0.447))
