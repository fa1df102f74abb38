"""The coefficients of a geometric median against those of the longest floats; and where single precision finds them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from merge.model_files import SIZE, Model, line, noise, sources, stored
from swarmlearning.merge.arithmetic import GRID
from swarmlearning.merge.merging import merge
from swarmlearning.tensors.file import Array, read_header

SINGLE, AGAIN, OVERFLOWN, BOTH = 2, 3, 4, 5
"""The number of times that models are read: one to three times for their Gram matrix, once more where that overflows,
and to build the result."""

Draw = Callable[[np.random.Generator], Array]


def merged(folder: Path, models: Sequence[Model], weights: Sequence[int]) -> tuple[float, Array]:
    """The number of times that the models were read, and the shares that resulted."""
    read: list[int] = []
    receipt = merge("geomedian", sources(folder, models, weights), None, folder / "out", on_read=read.append, threads=1)
    entries = read_header(folder / "out").entries
    return sum(read) / (len(models) * entries[-1].end), np.array(receipt.coefficients) / GRID


def reference(models: Array, weights: Array) -> Array:
    """The shares of the median by Weiszfeld's iteration over the vectors themselves, unless it is one of them."""
    points = models.astype(np.longdouble)
    for index, point in enumerate(points):
        apart = points - point
        away = apart.any(axis=1)
        pulls = weights[away] / np.linalg.norm(apart[away], axis=1)
        if np.linalg.norm(pulls @ apart[away]) <= weights[~away].sum():
            vertex: Array = np.eye(len(points))[index]
            return vertex
    shares: Array = weights / weights.sum()
    for _ in range(4000):
        pulls = weights / np.linalg.norm(points - shares @ points, axis=1)
        shares, before = pulls / pulls.sum(), shares
        if np.abs(shares - before).max() < 1e-16:
            break
    return shares


def check(shares: Array, models: Array, weights: Array) -> None:
    expected = reference(models, weights)
    np.testing.assert_allclose(shares, expected, rtol=0, atol=1e-6)
    about = models - expected @ models.astype(np.longdouble)
    objective = [weights @ np.linalg.norm(about - some @ about, axis=1) for some in (shares, expected)]
    assert objective[0] <= objective[1] * (1 + 1e-9)


def signs(rng: np.random.Generator, sizes: Sequence[float]) -> Array:
    """Steps of one size, as the first of Adam: the roundings of their products all go the same way."""
    result: Array = np.outer(sizes, np.ones(SIZE)) * np.sign(rng.standard_normal((len(sizes), SIZE)))
    return result


def around(rng: np.random.Generator, scale: float) -> Array:
    """Six models and one near their mean."""
    others = rng.standard_normal((6, SIZE))
    return np.vstack([others, others.mean(axis=0) + scale * rng.standard_normal(SIZE)])


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("draw", "dtype", "times"),
    [
        pytest.param(lambda rng: noise(rng, [1] * 8), "f4", SINGLE, id="noise"),
        pytest.param(lambda rng: noise(rng, [1e-4] * 8, about=100), "f4", SINGLE, id="late in training"),
        pytest.param(lambda rng: noise(rng, [1e-9] * 8, about=100), "f8", SINGLE, id="late, in float64"),
        pytest.param(lambda rng: noise(rng, [0.01, 0.02, 0.03, 0.04, 1]), "f4", SINGLE, id="one unlike the others"),
        pytest.param(lambda rng: noise(rng, [1e6, 1, 1, 1, 1, 1]), "f4", SINGLE, id="an outlier"),
        pytest.param(lambda rng: noise(rng, [1e6, 1e6, 1, 1, 1, 1]), "f4", AGAIN, id="two outliers among three"),
        pytest.param(
            lambda rng: 1e16 * noise(rng, [1e5, 1, 1, 1, 1, 1]), "f4", OVERFLOWN, id="an outlier of large values"
        ),
        pytest.param(lambda rng: 1e16 * noise(rng, [1e5, 1e5, 1, 1, 1, 1]), "f4", BOTH, id="two of large values"),
        pytest.param(lambda rng: noise(rng, [1] * 4).repeat([2, 1, 1, 1], 0), "f4", SINGLE, id="a duplicate"),
        pytest.param(lambda rng: noise(rng, [1] * 3).repeat([3, 1, 2], 0), "f4", AGAIN, id="duplicates are the median"),
        pytest.param(lambda rng: line(rng, [0, 1, 2, 4, 8], 1e-3), "f4", AGAIN, id="nearly on a line"),
        pytest.param(lambda rng: line(rng, [0, 0, 1, 1], 0.1), "f4", AGAIN, id="two groups"),
        pytest.param(lambda rng: line(rng, [0, 1, 8, 10], 1), "f4", AGAIN, id="along a line"),
        pytest.param(lambda rng: around(rng, 1e-4), "f4", AGAIN, id="one is the median"),
        pytest.param(lambda rng: around(rng, 0.15), "f4", AGAIN, id="one is the median, though not the mean"),
        pytest.param(lambda rng: signs(rng, [1e-3] * 8), "f4", SINGLE, id="steps of one size"),
        pytest.param(lambda rng: signs(rng, 1 + rng.random(8)), "f4", SINGLE, id="steps of a size each"),
        pytest.param(lambda rng: np.clip(6e4 * noise(rng, [1] * 6), -65504, 65504), "f2", SINGLE, id="large float16"),
        pytest.param(lambda rng: 6e-8 * rng.integers(-20, 20, (6, SIZE)), "f2", SINGLE, id="subnormal float16"),
        pytest.param(lambda rng: 1e-21 * noise(rng, [1] * 6), "f4", AGAIN, id="subnormal squares"),
        pytest.param(lambda rng: 1e-41 * noise(rng, [1] * 6), "f4", AGAIN, id="subnormal"),
        pytest.param(lambda rng: signs(rng, [3.4e38] * 6), "f4", OVERFLOWN, id="the largest"),
    ],
)
def test_the_shares_of_models_of_many_kinds_are_exact_enough_at_the_expected_number_of_reads(
    tmp_path: Path, draw: Draw, dtype: str, times: int, seed: int
) -> None:
    models = draw(np.random.default_rng(seed)).astype(dtype)
    read, shares = merged(tmp_path, [{"w": model} for model in models], [1] * len(models))
    check(shares, models, np.ones(len(models)))
    assert read == times


@pytest.mark.parametrize("tag", ["BF16", "C64"])
def test_the_shares_of_other_dtypes_and_weights_are_exact_enough(tmp_path: Path, tag: str) -> None:
    models, weights = noise(np.random.default_rng(3), [0.1] * 6).astype(np.float32), [3, 1, 2, 1, 1, 1]
    if tag == "C64":
        read, shares = merged(tmp_path, [{"w": model.view(np.complex64)} for model in models], weights)
    else:
        bits = models.view(np.uint32) & 0xFFFF0000
        models = bits.view(np.float32)
        read, shares = merged(tmp_path, [{"w": stored(tag, (row >> 16).astype(np.uint16))} for row in bits], weights)
    check(shares, models, np.array(weights))
    assert read == SINGLE


def test_the_shares_of_models_with_several_dtypes_are_exact_enough(tmp_path: Path) -> None:
    rows = noise(np.random.default_rng(4), [1] * 5)
    models: list[Model] = [
        {"a": row[:500].astype("f2"), "b": row[500:900].astype("f4"), "c": row[900:]} for row in rows
    ]
    _, shares = merged(tmp_path, models, [1] * 5)
    whole = [np.concatenate([np.asarray(tensor, np.float64) for tensor in model.values()]) for model in models]
    check(shares, np.array(whole), np.ones(5))


def test_two_pairs_of_equal_models_have_equal_shares(tmp_path: Path) -> None:
    pair = noise(np.random.default_rng(5), [1, 1]).astype(np.float32)
    _, shares = merged(tmp_path, [{"w": pair[index]} for index in (0, 1, 0, 1)], [1] * 4)
    np.testing.assert_allclose(shares, 0.25, rtol=0, atol=1e-6)
