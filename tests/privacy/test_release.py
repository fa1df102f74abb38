"""What a privacy lock makes of a model: clipped to the norm, with noise, whatever the dtypes and values."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merge.model_files import FLOAT_BITS, INTEGERS, Model, bfloat16, random_models, save, stored
from swarmlearning.merge.arithmetic import widen
from swarmlearning.privacy.gaussian import Noise
from swarmlearning.privacy.release import Clipping, ReleaseError, release
from swarmlearning.tensors.file import DTYPES, Array, read, read_header

KEY = bytes(32)


def released(
    folder: Path, model: Model, base: Model, norm: float, deviation: float = 0.0, key: bytes = KEY
) -> tuple[dict[str, Array], bool]:
    """What is given, and whether the change could be measured."""
    paths = save(folder / "model", model), save(folder / "base", base)
    noise = (Noise(key), deviation) if deviation else None
    measured = release(*paths, folder / "out", Clipping(norm, noise), lambda size: None)
    assert read_header(folder / "out") == read_header(paths[1])
    return read(folder / "out"), measured


def length(folder: Path) -> float:
    """The L2 norm of what was given less the base, over all floats, exactly added up."""
    base, given = read(folder / "base"), read(folder / "out")
    tags = {entry.name: entry.dtype for entry in read_header(folder / "base").entries}
    squares = []
    for name, tag in tags.items():
        if tag in FLOAT_BITS:
            change = widen(tag, given[name].reshape(-1)) - widen(tag, base[name].reshape(-1))
            squares += [float(value) ** 2 for value in change if math.isfinite(value)]
    return math.sqrt(math.fsum(squares))


def test_a_change_within_the_norm_is_given_to_the_bit(tmp_path: Path) -> None:
    model = {"w": np.array([1.5, 2.0, -0.0], np.float32)}
    found, _ = released(tmp_path, model, {"w": np.array([1.0, 2.0, 0.0], np.float32)}, norm=1.0)
    assert found["w"].tobytes() == model["w"].tobytes()


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_a_longer_change_keeps_its_direction_and_gets_the_norm(tmp_path: Path, kind: Any) -> None:
    found, _ = released(tmp_path, {"w": np.array([4, 5], kind)}, {"w": np.array([1, 1], kind)}, norm=1.0)
    np.testing.assert_allclose(found["w"], [1.6, 1.8], rtol=1e-6)
    assert length(tmp_path) <= 1.0


def test_the_norm_is_that_of_all_tensors_together(tmp_path: Path) -> None:
    base: Model = {"a": np.zeros(1), "b": np.zeros(1, np.float32), "c": np.zeros(1, np.complex64)}
    model: Model = {"a": np.array([6.0]), "b": np.array([0.0], np.float32), "c": np.array([8j], np.complex64)}
    found, _ = released(tmp_path, model, base, norm=5.0)
    np.testing.assert_allclose([found["a"][0], abs(found["c"][0])], [3.0, 4.0], rtol=1e-6)


@settings(max_examples=60)
@given(data=st.data())
def test_without_noise_no_change_exceeds_the_norm(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("models")
    tags = data.draw(st.lists(st.sampled_from(sorted(FLOAT_BITS)), min_size=1, max_size=3))
    seed, size = data.draw(st.integers(0, 2**16)), data.draw(st.integers(1, 40))
    norm = data.draw(st.sampled_from([1e-9, 1e-6, 1e-3, 0.5, 1.0, 1e3, 1e9]))
    shrunk = data.draw(st.sampled_from([1.0, 1e-3, 1e-30]))
    made: list[dict[str, Any]] = [{}, {}]
    for number, tag in enumerate(tags):
        for which, array in enumerate(random_models(tag, 2, size, seed + number)):
            small = array if tag == "BF16" else (array * shrunk).astype(DTYPES[tag])
            made[which][f"t{number}"] = stored(tag, small)
    released(folder, made[0], made[1], norm)
    assert length(folder) <= norm


@pytest.mark.parametrize("tag", [*INTEGERS, "BOOL"])
def test_what_is_no_float_is_that_of_the_base_with_noise_too(tmp_path: Path, tag: str) -> None:
    model, base = random_models(tag, 2, 50)
    found, _ = released(tmp_path, {"n": model, "w": np.ones(9)}, {"n": base, "w": np.zeros(9)}, 1.0, deviation=3.0)
    assert found["n"].tobytes() == base.tobytes()


@pytest.mark.parametrize("deviation", [0.0, 2.0])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_change_that_is_not_finite_counts_as_none(tmp_path: Path, bad: float, deviation: float) -> None:
    base = {"w": np.arange(1000.0), "v": np.ones(4, np.float32)}
    model = {"w": np.full(1000, 50.0), "v": np.array([1, bad, 1, 1], np.float32)}
    found, measured = released(tmp_path, model, base, 1.0, deviation)
    without, _ = released(tmp_path, base, base, 1.0, deviation)
    assert not measured
    assert all(found[name].tobytes() == without[name].tobytes() for name in found)


def test_a_change_beyond_all_bounds_counts_as_none(tmp_path: Path) -> None:
    found, measured = released(tmp_path, {"w": np.array([1.7e308])}, {"w": np.array([-1.7e308])}, 1.0)
    assert (found["w"][0], measured) == (-1.7e308, False)


@pytest.mark.parametrize("deviation", [0.0, 2.0])
def test_what_is_not_finite_in_the_base_stays_as_it_is(tmp_path: Path, deviation: float) -> None:
    base = {"mask": np.array([-np.inf, 0.0, np.nan], np.float32)}
    found, measured = released(tmp_path, {"mask": np.array([7.0, 0.5, np.nan], np.float32)}, base, 1.0, deviation)
    assert measured
    assert (found["mask"][0], np.isnan(found["mask"][2])) == (-np.inf, True)
    assert np.isfinite(found["mask"][1])


def test_the_noise_has_the_stated_deviation_on_every_float(tmp_path: Path) -> None:
    base: Model = {"w": np.zeros((500, 40), np.float32), "b": np.zeros(20_000), "c": np.zeros(5_000, np.complex64)}
    found, _ = released(tmp_path, base, base, norm=1.0, deviation=3.0, key=bytes(range(32)))
    for values in (found["w"], found["b"], found["c"].view(np.float32)):
        assert abs(values.std() / 3.0 - 1) < 0.03
        assert abs(values.mean()) < 0.15
        assert (values != 0).all()


def test_the_change_is_clipped_before_the_noise_is_added(tmp_path: Path) -> None:
    base = {"w": np.zeros(64)}
    loud, _ = released(tmp_path, {"w": np.full(64, 1e6)}, base, norm=2.0, deviation=1.0)
    silent, _ = released(tmp_path, base, base, norm=2.0, deviation=1.0)
    assert np.linalg.norm(loud["w"] - silent["w"]) == pytest.approx(2.0)


@pytest.mark.parametrize("tag", sorted(FLOAT_BITS))
def test_noise_makes_no_value_infinite(tmp_path: Path, tag: str) -> None:
    largest = {"F16": 65504.0, "BF16": 3e38, "F32": 3e38, "C64": 3e38, "F64": 1.7e308}[tag]
    base = bfloat16([2.0**127] * 50) if tag == "BF16" else np.full(50, largest, DTYPES[tag])
    released(tmp_path, {"w": stored(tag, base)}, {"w": stored(tag, base)}, norm=1.0, deviation=largest)
    assert np.isfinite(widen(tag, read(tmp_path / "out")["w"])).all()


def test_a_model_of_another_structure_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="another structure than the base"):
        released(tmp_path, {"w": np.ones(3)}, {"w": np.ones(4)}, 1.0)


def test_each_release_has_noise_of_its_own() -> None:
    assert (Noise().normal(100) != Noise().normal(100)).all()
    same, key = Noise(KEY), Noise(KEY)
    assert (same.normal(101) == key.normal(101)).all()
    assert (same.normal(100) != same.normal(100)).all()


def test_the_noise_is_normal() -> None:
    found = Noise(KEY).normal(400_001)
    assert found.shape == (400_001,)
    for bound, share in ((0.6745, 0.5), (1.0, 0.6827), (1.96, 0.95), (3.0, 0.9973)):
        assert abs((np.abs(found) < bound).mean() - share) < 0.004
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.01
