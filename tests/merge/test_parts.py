"""Sums over ranges: together they give what the whole merge finds, and what another site sends is examined first."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from merge.model_files import Model, line, noise, random_models, ranges, save, sources
from swarmlearning.merge.arithmetic import GRID
from swarmlearning.merge.geomedian import Survey, begin, settle
from swarmlearning.merge.influence import influences
from swarmlearning.merge.merging import MergeError, Source, merge
from swarmlearning.merge.parts import MOST_MODELS, GramPart, InfluencePart, PartError, total_gram, total_influence
from swarmlearning.merge.ranges import gram_part
from swarmlearning.merge.streaming import Range
from swarmlearning.tensors.file import Array, Header, read_header

WHOLE = Range(0, 80)


def settled(given_sources: Sequence[Source], cuts: Sequence[int]) -> tuple[int, tuple[int, ...]]:
    """The number of surveys, and the coefficients, from parts that other sites send."""
    header, weights = read_header(given_sources[0].path), [source.weight for source in given_sources]
    found, surveys = begin(weights), 0
    while isinstance(found, Survey):
        survey, parts = found, []
        for part in ranges(header, cuts):
            one = gram_part(given_sources, None, header, part, survey)
            again = gram_part(given_sources[::-1], None, header, part, survey, threads=1)
            assert again.digest == one.digest
            parts.append(GramPart.read(one.to_bytes(), header, part, len(weights)))
            assert parts[-1].to_bytes() == one.to_bytes()
        found, surveys = settle(weights, header, survey, parts[::-1]), surveys + 1
    return surveys, found


@pytest.mark.parametrize(
    ("draw", "dtype", "surveys"),
    [
        pytest.param(lambda rng: noise(rng, [1] * 8), "f4", 1, id="noise"),
        pytest.param(lambda rng: noise(rng, [1e-9] * 8, about=100), "f8", 1, id="late, in float64"),
        pytest.param(lambda rng: noise(rng, [1e6, 1e6, 1, 1, 1, 1]), "f4", 2, id="two outliers among three"),
        pytest.param(lambda rng: 1e16 * noise(rng, [1e5, 1, 1, 1, 1]), "f4", 1, id="an outlier of large values"),
        pytest.param(lambda rng: 1e150 * noise(rng, [1e50, 1, 1, 1, 1]), "f8", 1, id="squares beyond float64"),
        pytest.param(lambda rng: noise(rng, [1] * 3).repeat([3, 1, 2], 0), "f4", 2, id="duplicates are the median"),
        pytest.param(lambda rng: line(rng, [0, 1, 2, 4, 8], 1e-3), "f4", 2, id="nearly on a line"),
        pytest.param(lambda rng: noise(rng, [1, 1]), "f4", 0, id="two"),
    ],
)
@pytest.mark.parametrize("cuts", [[], [1, 2, 3, 250], [499]])
def test_parts_give_the_coefficients_of_the_whole(
    tmp_path: Path, draw: Callable[[np.random.Generator], Array], dtype: str, surveys: int, cuts: list[int]
) -> None:
    rows = draw(np.random.default_rng(7)).astype(dtype)
    given_sources = sources(tmp_path, [{"w": row, "n": np.arange(50)} for row in rows])
    found, coefficients = settled(given_sources, cuts)
    expected = merge("geomedian", given_sources, None, tmp_path / "out").coefficients
    assert found == surveys
    assert sum(coefficients) == GRID
    moved = max(abs(one - other) for one, other in zip(coefficients, expected, strict=True))
    assert moved <= 1e-6 * GRID


def test_a_range_of_large_values_is_added_to_those_of_others(tmp_path: Path) -> None:
    """One range is measured in float32, one in float64, and one with a scale."""
    rng = np.random.default_rng(3)
    rows = noise(rng, [1] * 5) * np.repeat([1, 1e25, 1e160], [400, 300, 300])
    models: list[Model] = [
        {"c": row[:400].astype("f4"), "b": row[400:700].astype("f4"), "a": row[700:]} for row in rows
    ]
    given_sources = sources(tmp_path, models)
    header = read_header(tmp_path / "a")
    parts = [gram_part(given_sources, None, header, part, Survey()) for part in ranges(header, [300, 450, 460])]
    assert [part.scaled for part in parts] == [True, False, False, False]
    _, coefficients = settled(given_sources, [300, 450, 460])
    expected = merge("geomedian", given_sources, None, tmp_path / "out").coefficients
    assert max(abs(one - other) for one, other in zip(coefficients, expected, strict=True)) <= 1e-6 * GRID


@pytest.mark.parametrize("about", [(1.0,), (0.5, 0.5, 0.5), (2.0, -1.0, 0.0), (np.nan, 0.5, 0.5), (1e300, 0.0, 0.0)])
def test_a_survey_about_no_point_among_the_models_is_refused(tmp_path: Path, about: tuple[float, ...]) -> None:
    given_sources = sources(tmp_path, [{"w": row} for row in random_models("F32", 3, 10)])
    with pytest.raises(MergeError, match="each of 3 models has a share, and they sum to 1"):
        gram_part(given_sources, None, read_header(tmp_path / "a"), Range(0, 40), Survey(about))


# --- parts from other sites ---


@pytest.fixture
def header(tmp_path: Path) -> Header:
    return read_header(save(tmp_path / "m", {"w": np.zeros(20, np.float32)}))


def gram(rows: int = 3, part: Range = WHOLE, scaled: bool = False) -> GramPart:
    values = np.random.default_rng(1).standard_normal((rows, 20))
    return GramPart(part, values @ values.T, scaled)


def altered(change: Callable[[Array], None]) -> GramPart:
    part = gram()
    change(part.gram)
    return part


def longer(products: Array) -> None:
    products[0, 1] = products[1, 0] = 1.0001 * np.sqrt(products[0, 0] * products[1, 1])


def test_a_part_of_the_most_models_is_small(header: Header) -> None:
    data = gram(MOST_MODELS).to_bytes()
    assert len(data) < 17_000
    assert GramPart.read(data, header, WHOLE, MOST_MODELS).digest == gram(MOST_MODELS).digest
    with pytest.raises(PartError, match="of 64 models at most, these are 65"):
        GramPart.read(gram(65).to_bytes(), header, WHOLE, 65)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param(b"", "0 bytes are no part 0..80 of 3 models", id="nothing"),
        pytest.param(gram().to_bytes()[:-1], "78 bytes are no part", id="too short"),
        pytest.param(gram().to_bytes() + bytes(8), "87 bytes are no part", id="too long"),
        pytest.param(gram(4).to_bytes(), "are no part 0..80 of 3 models", id="another number of models"),
        pytest.param(gram(part=Range(0, 72)).to_bytes(), "are no part 0..80", id="another range"),
        pytest.param(b"swarm-gram-2" + gram().to_bytes()[12:], "are no part", id="another format"),
        pytest.param(gram().to_bytes()[:30] + b"\x02" + gram().to_bytes()[31:], "are no part", id="another flag"),
        pytest.param(altered(lambda at: at.__setitem__((0, 1), np.nan)).to_bytes(), "not finite", id="NaN"),
        pytest.param(altered(lambda at: at.__setitem__((2, 2), np.inf)).to_bytes(), "not finite", id="infinite"),
        pytest.param(altered(lambda at: at.__setitem__((2, 2), -1e-9)).to_bytes(), "negative", id="negative"),
        pytest.param(GramPart(WHOLE, 1e305 * np.eye(3), scaled=True).to_bytes(), "not finite", id="scaled too little"),
        pytest.param(altered(longer).to_bytes(), "larger than its vectors are long", id="longer"),
        pytest.param(
            altered(lambda at: at.__setitem__((1, 1), 0)).to_bytes(), "larger than", id="of a vector of zeros"
        ),
    ],
)
def test_what_no_models_could_give_is_no_part(header: Header, data: bytes, text: str) -> None:
    with pytest.raises(PartError, match=text):
        GramPart.read(data, header, WHOLE, 3)


def test_a_vector_whose_square_float32_has_no_room_for_is_no_lie(tmp_path: Path) -> None:
    rows = [np.full(20, value, np.float32) for value in (0, 0, 1e-25, 1e3)]
    given_sources = sources(tmp_path, [{"w": row} for row in rows])
    header = read_header(tmp_path / "a")
    part = gram_part(given_sources, None, header, WHOLE, Survey())
    assert part.gram[2, 2] == 0 < part.gram[2, 3]
    assert GramPart.read(part.to_bytes(), header, WHOLE, 4).digest == part.digest


def test_short_vectors_beside_such_as_are_beyond_float64_are_no_lie(tmp_path: Path) -> None:
    given_sources = sources(tmp_path, [{"w": np.full(10, value)} for value in (0.0, 0.0, 1.0, 1e200)])
    header = read_header(tmp_path / "a")
    part = gram_part(given_sources, None, header, WHOLE, Survey())
    assert part.scaled
    assert part.gram[2, 2] == 0 < part.gram[2, 3]
    assert GramPart.read(part.to_bytes(), header, WHOLE, 4).digest == part.digest


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ([], "the parts end at byte 0, the models at 80"),
        ([(0, 40)], "the parts end at byte 40, the models at 80"),
        ([(0, 40), (48, 80)], "one ends at byte 40, the next begins at 48"),
        ([(0, 48), (40, 80)], "one ends at byte 48, the next begins at 40"),
        ([(0, 80), (0, 80)], "one ends at byte 80, the next begins at 0"),
        ([(0, 80), (80, 160)], "the parts end at byte 160"),
    ],
)
def test_parts_that_are_not_of_all_ranges_are_refused(header: Header, bounds: list[tuple[int, int]], text: str) -> None:
    with pytest.raises(PartError, match=text):
        settle([1, 1, 1], header, Survey(), [gram(part=Range(*each)) for each in bounds])
    with pytest.raises(PartError, match=text):
        total_influence([InfluencePart(Range(*each), np.zeros((3, 3))) for each in bounds], header)


def test_parts_of_other_numbers_of_models_are_refused(header: Header) -> None:
    with pytest.raises(PartError, match="a part is not of the 4 models"):
        settle([1] * 4, header, Survey(), [gram(3)])
    with pytest.raises(PartError, match="not of the same models"):
        total_influence([InfluencePart(Range(*at), np.zeros((at[0] + 1, 3))) for at in ((0, 8), (8, 80))], header)


def test_products_that_only_their_sum_takes_beyond_float64_are_scaled(header: Header) -> None:
    parts = [GramPart(Range(*at), 1e308 * np.eye(3)) for at in ((0, 40), (40, 80))]
    total = total_gram(parts, header, 3)
    np.testing.assert_allclose(np.diag(total) * 2.0**600 * 2.0**599, 1e308, rtol=1e-12)


@pytest.mark.parametrize("sums", [1e300, 1e308, 0.0])
def test_whatever_products_are_read_give_coefficients(header: Header, sums: float) -> None:
    products = GramPart(WHOLE, np.full((3, 3), sums))
    for survey in (Survey(), Survey((0.2, 0.3, 0.5))):
        found = settle([1, 1, 1], header, survey, [GramPart.read(products.to_bytes(), header, WHOLE, 3)])
        if isinstance(found, Survey):
            found = settle([1, 1, 1], header, found, [products])
        assert not isinstance(found, Survey)
        assert sum(found) == GRID


def test_machines_agree_that_round_otherwise_and_not_with_a_lie(tmp_path: Path) -> None:
    rows = noise(np.random.default_rng(2), [0.1] * 5).astype(np.float32)
    given_sources = sources(tmp_path, [{"w": row} for row in rows])
    header, part = read_header(tmp_path / "a"), Range(0, 4000)
    one = gram_part(given_sources, None, header, part, Survey())
    exact = rows.astype(np.float64) - np.median(rows[:3], axis=0)
    other = GramPart(part, exact @ exact.T)
    assert one.digest != other.digest
    assert one.agrees(other, header)
    assert other.agrees(one, header)
    assert not one.agrees(GramPart(part, 1.001 * one.gram), header)
    assert not one.agrees(GramPart(part, one.gram, scaled=True), header)
    assert not one.agrees(GramPart(Range(0, 3992), one.gram), header)
    assert not one.agrees(GramPart(part, one.gram[:4, :4]), header)


# --- influence ---


def influence_data(sums: Any, part: Range = WHOLE) -> bytes:
    return InfluencePart(part, np.array(sums, np.float64)).to_bytes()


def test_influence_of_parts_is_that_of_their_sums(header: Header) -> None:
    sums = [[[4.0, 0.0, 1.0], [9.0, 1.0, 1.0]], [[5.0, 0.0, 8.0], [7.0, 2.0, 8.0]]]
    bounds = [Range(0, 40), Range(40, 80)]
    parts = [InfluencePart.read(influence_data(own, at), at, 2) for own, at in zip(sums, bounds, strict=True)]
    assert influences(total_influence(parts[::-1], header)) == influences(np.array(sums).sum(axis=0))


def test_a_first_round_has_sums_of_distances_only() -> None:
    data = influence_data([[4.0, np.nan, -np.nan]])
    assert InfluencePart.read(data, WHOLE, 1).to_bytes() == data == influence_data([[4.0, np.nan, np.nan]])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        influence_data([[1.0, 1, 1]])[:-1],
        influence_data([[-1.0, 1, 1]]),
        influence_data([[1.0, 1, -1]]),
        gram(1).to_bytes(),
    ],
)
def test_what_is_no_part_of_an_influence_is_refused(data: bytes) -> None:
    with pytest.raises(PartError):
        InfluencePart.read(data, WHOLE, 1)
