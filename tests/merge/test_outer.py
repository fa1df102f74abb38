"""The outer step: its arithmetic against Python's own floats, and whole models."""

import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merge.model_files import Model, bfloat16, random_models, save, stored
from swarmlearning.merge.merging import MergeError
from swarmlearning.merge.outer import Outer, stepped
from swarmlearning.merge.stepping import take_step
from swarmlearning.tensors.file import DTYPES, Array, Tensor, read, read_header

NESTEROV, ADAM = Outer("nesterov", 0.7, 0.9), Outer("adam", 0.01, 0.9)
PLAIN = Outer("nesterov", 1.0, 0.0)

singles = st.floats(-(2.0**60), 2.0**60, width=32)


def single(value: float) -> float:
    """The nearest float32, without NumPy."""
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded


def by_the_formula(outer: Outer, x: float, m: float, kept: Sequence[float]) -> tuple[float, ...]:
    """One value's step as the rules state it, in Python's floats, each operation rounded by itself."""
    d, beta = m - x, outer.momentum
    if outer.method == "nesterov":
        v = single(beta * kept[0] + d)
        step = outer.rate * (d + beta * v)
        moments: tuple[float, ...] = (v,)
    else:
        p = single(beta * kept[0] + (1 - beta) * d)
        q = single(0.99 * kept[1] + (1 - 0.99) * (d * d))
        step = outer.rate * (p / (math.sqrt(q) + 1e-3))
        moments = (p, q)
    return (single(m if step == d else x + step), *moments)


def bits(values: Any) -> list[int]:
    return [int(one) for one in np.asarray(values, np.float32).reshape(-1).view(np.uint32)]


@settings(max_examples=60)
@given(x=singles, m=singles, first=singles, second=st.floats(0, 2.0**60, width=32), adam=st.booleans())
def test_a_step_is_that_of_the_formula_to_the_bit(x: float, m: float, first: float, second: float, adam: bool) -> None:
    outer, kept = (ADAM, (first, second)) if adam else (NESTEROV, (first,))
    moments = [np.array([one], np.float32) for one in kept]
    done = stepped(outer, "F32", np.array([x], np.float32), np.array([m], np.float32), moments)
    assert done is not None
    expected = by_the_formula(outer, x, m, kept)
    assert [bits(done.values)[0], *(bits(one)[0] for one in done.moments)] == bits(expected)


@pytest.mark.parametrize("tag", ["F64", "C64", "F32", "BF16", "F16"])
def test_with_rate_1_and_no_momentum_the_result_is_the_merge_to_the_bit(tag: str) -> None:
    """Whatever the base is: also where base + (merge - base) would round, or lose the sign of a zero."""
    base, merged = random_models(tag, 2, 4000)
    base[:2000], merged[10] = random_models(tag, 1, 2000, seed=7)[0], base[10]
    merged[11:13] = 0
    if tag != "C64":
        merged.view(f"<u{merged.itemsize}")[12] = 1 << (8 * merged.itemsize - 1)  # -0.0
    done = stepped(PLAIN, tag, base, merged, None)
    assert done is not None
    assert done.values.tobytes() == merged.tobytes()


@pytest.mark.parametrize(("outer", "least"), [(NESTEROV, 0.5), (ADAM, 0.001)])
def test_a_step_goes_towards_the_merge(outer: Outer, least: float) -> None:
    base, merged = np.zeros(2, np.float32), np.array([1, -1], np.float32)
    done = stepped(outer, "F32", base, merged, None)
    assert done is not None
    assert done.values[0] > least
    assert done.values[1] < -least


def test_momentum_goes_on_after_the_change_that_made_it() -> None:
    base = np.zeros(1, np.float32)
    first = stepped(NESTEROV, "F32", base, np.ones(1, np.float32), None)
    assert first is not None
    second = stepped(NESTEROV, "F32", first.values, first.values, first.moments)
    assert second is not None
    assert second.values[0] - first.values[0] == pytest.approx(0.7 * 0.9 * 0.9)


@pytest.mark.parametrize("constant", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_is_not_stepped_and_keeps_no_other_value_from_it(constant: float) -> None:
    base, merged = np.array([constant, 0], np.float32), np.array([constant, 1], np.float32)
    for outer in (NESTEROV, ADAM):
        done = stepped(outer, "F32", base, merged, None)
        assert done is not None
        assert bits(done.values)[0] == bits(merged)[0]
        assert done.values[1] != 0
        assert [one[0] for one in done.moments] == [np.float32(one[0]) for one in outer.at_first(1)]


# --- whole models ---------------------------------------------------------------------------------------------------


def mixed() -> tuple[dict[str, Any], dict[str, Any]]:
    """Base and merge of a model with tensors of every kind that a step treats differently."""
    models = []
    for at in range(2):
        model: dict[str, Any] = {
            tag: stored(tag, random_models(tag, 2, 77, seed=3)[at]) for tag in ("F64", "C64", "F32", "BF16", "F16")
        }
        model |= {"running_mean": np.full(5, at, np.float32), "steps": np.array([at], np.int64)}
        model |= {"empty": np.empty((0, 3), np.float32), "scalar": np.array(1.5 + at, np.float32)}
        models.append(model)
    return models[0], models[1]


PARAMETERS = {"F64", "C64", "F32", "BF16", "F16", "empty", "scalar"}


def step_files(
    folder: Path, outer: Outer, base: Model, merged: Model, momentum: Path | None = None, **options: Any
) -> tuple[Path, Path]:
    paths = folder / "x", folder / "v"
    fault = take_step(
        outer,
        save(folder / "base", base),
        momentum,
        save(folder / "merged", merged),
        options.pop("parameters", PARAMETERS),
        *paths,
        **options,
    )
    assert not fault, fault
    return paths


@pytest.mark.parametrize("outer", [NESTEROV, ADAM])
def test_two_steps_of_a_model_give_the_same_bytes_however_the_work_is_cut(tmp_path: Path, outer: Outer) -> None:
    base, merged = mixed()
    found = []
    for at, (threads, elements) in enumerate([(1, 2**16), (1, 1), (3, 7), (4, 100)]):
        folder = tmp_path / str(at)
        folder.mkdir()
        x, v = step_files(folder, outer, base, merged, threads=threads, elements=elements)
        (tmp_path / "momentum").write_bytes(v.read_bytes())
        x, v = step_files(folder, outer, base, merged, tmp_path / "momentum", threads=threads, elements=elements)
        found.append((x.read_bytes(), v.read_bytes()))
    assert len(set(found)) == 1


def test_only_parameters_of_floats_are_stepped(tmp_path: Path) -> None:
    base, merged = mixed()
    x, v = step_files(tmp_path, NESTEROV, base, merged, parameters={*PARAMETERS, "steps"})
    found = read(x)
    assert found["running_mean"].tolist() == [1.0] * 5
    assert found["steps"].tolist() == [1]
    assert found["scalar"] == np.float32(1.5 + 0.7 * 1.9)
    kept = {entry.name: entry.dtype for entry in read_header(v).entries}
    assert kept == {"F64": "F64", "C64": "C64"} | dict.fromkeys(["F32", "BF16", "F16", "empty", "scalar"], "F32")


def test_a_models_step_is_that_of_each_of_its_tensors(tmp_path: Path) -> None:
    base, merged = mixed()
    found = read(step_files(tmp_path, ADAM, base, merged)[0])
    for tag in ("F64", "C64", "F32", "BF16", "F16"):
        done = stepped(ADAM, tag, _values(base, tag), _values(merged, tag), None)
        assert done is not None
        assert found[tag].tobytes() == done.values.tobytes()


def _values(model: Mapping[str, Any], tag: str) -> Array:
    tensor = model[tag]
    assert isinstance(tensor, Tensor)
    return np.frombuffer(tensor.data, DTYPES[tag])


@pytest.mark.parametrize(
    ("base", "merged", "kept"),
    [
        (np.array([-1e308]), np.array([1e308]), None),  # of F64: the change itself overflows
        (np.array([6e4], np.float16), np.array([65504], np.float16), 6e4),  # the result does
        (bfloat16([-(2.0**127)]), bfloat16([2.0**127]), 3.2e38),  # the momentum does
    ],
)
def test_a_step_that_is_not_finite_is_none_and_names_its_tensor(
    tmp_path: Path, base: Array, merged: Array, kept: float | None
) -> None:
    tag = {"float64": "F64", "float16": "F16", "uint16": "BF16"}[base.dtype.name]
    before = None if kept is None else save(tmp_path / "v0", {"w": np.array([kept], np.float32)})
    models = [save(tmp_path / name, {"w": stored(tag, one)}) for name, one in (("x0", base), ("m", merged))]
    out, momentum = tmp_path / "x", tmp_path / "v"
    assert take_step(NESTEROV, models[0], before, models[1], {"w"}, out, momentum) == "'w'"
    assert (out.stat().st_size, momentum.stat().st_size) == (0, 0)


def test_models_and_momentum_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    base, merged = {"w": np.zeros(3, np.float32)}, {"w": np.zeros(4, np.float32)}
    with pytest.raises(MergeError, match="another structure"):
        step_files(tmp_path, NESTEROV, base, merged, parameters={"w"})
    other = save(tmp_path / "v0", {"w": np.zeros(4, np.float32)})
    with pytest.raises(MergeError, match="momentum is none of"):
        step_files(tmp_path, NESTEROV, base, base, other, parameters={"w"})
