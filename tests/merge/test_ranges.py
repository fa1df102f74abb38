"""Ranges merged one by one are the whole merge to the bit, wherever it is cut, and need nothing else of the models."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from merge.model_files import Model, random_bytes, random_models, ranges, save, sources, stored
from swarmlearning.merge import streaming
from swarmlearning.merge.arithmetic import GRID
from swarmlearning.merge.influence import influences
from swarmlearning.merge.merging import MergeError, MergeReceipt, Source, UnmergeableError, merge
from swarmlearning.merge.methods import METHODS, RANGED
from swarmlearning.merge.parts import InfluencePart, total_influence
from swarmlearning.merge.ranges import merge_range
from swarmlearning.merge.streaming import ALIGNMENT, ModelUnreadable, Range
from swarmlearning.tensors.file import MERGEABLE, Header, allocate, read, read_at, read_header

every_method = pytest.mark.parametrize("method", RANGED)

WEIGHTS = [3, 1, 2, 2, 1]
SPECIAL = np.array([0x7F800000, 0xFFC00001, 0x7FC00000, 0xFF800000], np.uint32).view(np.float32)
"""An infinity, two NaNs, and minus infinity."""


def test_every_method_is_merged_in_ranges() -> None:
    assert set(RANGED) == set(METHODS)


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Source], Path]:
    """Five models of every dtype, with tensors of any length; and the previous result. Without that, the last two
    models are left out: what is not finite in it is still so in them."""
    columns = {
        f"{tag} {length}": (tag, random_models(tag, 6, length, seed=length))
        for tag in MERGEABLE
        for length in (0, 1, 5, 31)
    }
    models: list[Model] = []
    for index in range(6):
        observer = np.where(np.arange(4) < 2 + 2 * (index > 2), SPECIAL, np.float32(index))
        tensors = {name: stored(tag, rows[index]) for name, (tag, rows) in columns.items()}
        models.append({**tensors, "mask": SPECIAL, "observer": observer})
    folder = tmp_path_factory.mktemp("five")
    return sources(folder, models[:5], WEIGHTS), save(folder / "previous", models[5])


@every_method
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_ranges_are_together_the_whole_merge_and_need_nothing_else(
    five: tuple[list[Source], Path], method: str, data: st.DataObject
) -> None:
    given_sources, previous = five
    header, out, whole = read_header(previous), previous.with_name("out"), previous.with_name("whole")
    before = data.draw(st.sampled_from([None, previous]))
    receipt = merge(method, given_sources, before, whole, influence=True)
    assert len(receipt.contributors) == (3 if before is None else 5)
    cuts = data.draw(st.lists(st.integers(0, header.data_size // ALIGNMENT), max_size=6))
    allocate(out, header.specs)
    content, expected = bytearray(out.read_bytes()), whole.read_bytes()
    assert len(content) == len(expected)
    parts = []
    for part in data.draw(st.permutations(ranges(header, cuts))):
        with only_this(part, header, with_coefficients(given_sources, receipt), before) as (alone, its_previous):
            found = merge_range(method, alone[::-1], its_previous, out, header, part, influence=True)
        assert found is not None
        parts.append(InfluencePart.read(found.to_bytes(), part, len(alone)))
        place = slice(header.data_start + part.start, header.data_start + part.stop)
        content[place] = expected[place]
        assert out.read_bytes() == content
    assert out.read_bytes() == expected
    for own, one in zip(influences(total_influence(parts, header)), receipt.influences, strict=True):
        assert own.distance == pytest.approx(one.distance, rel=2e-3)
        assert own.cosine == (None if one.cosine is None else pytest.approx(one.cosine, rel=2e-3))


def with_coefficients(given_sources: Sequence[Source], receipt: MergeReceipt) -> list[Source]:
    """What a range is merged from: the contributors, with their coefficients if the method has some."""
    left = [source for source in given_sources if source.uid in receipt.contributors]
    coefficients = receipt.coefficients or [source.weight for source in left]
    return [replace(source, weight=weight) for source, weight in zip(left, coefficients, strict=True)]


@contextmanager
def only_this(
    part: Range, header: Header, given_sources: Sequence[Source], previous: Path | None
) -> Iterator[tuple[list[Source], Path | None]]:
    """Copies of the files with noise or nothing beside this range; fails where anything else is read."""
    start, stop = header.data_start + part.start, header.data_start + part.stop

    def read_here(fd: int, buffer: memoryview, offset: int) -> bool:
        assert start <= offset
        assert offset + len(buffer) <= stop
        return read_at(fd, buffer, offset)

    def copy(path: Path, number: int) -> Path:
        content, alone = path.read_bytes(), path.with_name(f"{path.name} alone")
        before = random_bytes(number, start) if number % 2 else bytes(start)
        after = random_bytes(number, len(content) - stop) if number % 3 else b""
        alone.write_bytes(before + content[start:stop] + after)
        return alone

    alone = [replace(source, path=copy(source.path, number)) for number, source in enumerate(given_sources)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "read_at", read_here)
        patch.setattr(streaming, "block_elements", lambda models: 7 + part.start % 90)
        yield alone, copy(previous, 9) if previous else None


MIDDLE = Range(8, 24)


@pytest.fixture
def two(tmp_path: Path) -> list[Source]:
    return sources(tmp_path, [{"w": np.arange(4.0)}, {"w": np.ones(4)}])


def ranged(given_sources: Sequence[Source], part: Range = MIDDLE, method: str = "mean", **options: Any) -> Path:
    """The result of merging this range alone."""
    out = given_sources[0].path.with_name("out")
    merge_range(method, given_sources, None, out, read_header(given_sources[0].path), part, **options)
    return out


def test_a_file_for_the_result_is_made_where_there_is_none(two: list[Source]) -> None:
    out, header = ranged(two), read_header(two[0].path)
    data = np.frombuffer(out.read_bytes()[header.data_start :])
    assert data.tolist() == [0, 1, 1.5, 0]


def test_ranges_with_a_header_are_a_model(two: list[Source]) -> None:
    header = allocate(two[0].path.with_name("out"), read_header(two[0].path).specs)
    for part in ranges(header, [1, 3]):
        ranged(two, part)
    assert read(two[0].path.with_name("out"))["w"].tolist() == [0.5, 1, 1.5, 2]


def test_one_of_the_models_is_chosen_by_its_coefficient(tmp_path: Path) -> None:
    models = random_models("F32", 3, 100)
    models[1][:2] = -0.0
    out = ranged(sources(tmp_path, [{"w": model} for model in models], [0, 1, 0]), Range(0, 400))
    assert out.read_bytes()[-400:] == models[1].tobytes()
    models[2][50] = np.nan
    save(tmp_path / "c", {"w": models[2]})
    with pytest.raises(Exception, match="c: w at 200"):
        ranged(sources(tmp_path, [{"w": model} for model in models], [0, 1, 0]), Range(0, 400))


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (Range(4, 24), "byte 4 may lie within an element: cut at multiples of 8"),
        (Range(8, 20), "byte 20 may lie within"),
        (Range(8, 40), "bytes 8 to 40 are no range of 32"),
        (Range(24, 16), "bytes 24 to 16 are no range"),
        (Range(-8, 16), "bytes -8 to 16 are no range"),
    ],
)
def test_what_is_no_range_is_refused(two: list[Source], part: Range, text: str) -> None:
    with pytest.raises(MergeError, match=text):
        ranged(two, part)
    assert not two[0].path.with_name("out").exists()


@pytest.mark.parametrize(
    ("method", "weights", "text"),
    [
        ("median", [1, 1], "unknown merge method 'median'"),
        ("mean", [0, 0], "the weights sum to 0"),
        ("mean", [GRID, 1], "have to sum to 1 at least and 536870912 at most"),
        ("mean", [-1, 2], "a has weight -1"),
        ("coordmedian", [1, 0], "b has weight 0; by coordmedian such a model is to be left out"),
    ],
)
def test_what_cannot_be_meant_is_refused(two: list[Source], method: str, weights: list[int], text: str) -> None:
    with pytest.raises(MergeError, match=text):
        ranged([replace(one, weight=weight) for one, weight in zip(two, weights, strict=True)], method=method)


def test_a_method_that_reads_the_models_beforehand_is_not_merged_in_ranges(
    two: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "of the whole", METHODS["mean"])
    with pytest.raises(MergeError, match="of the whole merges whole models"):
        ranged(two, method="of the whole")


def test_a_file_of_which_the_end_is_still_to_come_gets_its_place(two: list[Source]) -> None:
    """As one in which chunks of other ranges arrive meanwhile."""
    out, whole = two[0].path.with_name("out"), two[0].path.stat().st_size
    out.write_bytes(b"something else")
    ranged(two)
    assert out.stat().st_size == whole
    assert out.read_bytes().startswith(b"something else")


def test_a_model_that_lacks_the_range_is_named(two: list[Source]) -> None:
    content = two[1].path.read_bytes()
    two[1].path.write_bytes(content[:-8])
    ranged(two)
    two[1].path.write_bytes(content[:-9])
    with pytest.raises(ModelUnreadable) as raised:
        ranged(two)
    assert raised.value.uid == "b"


def test_models_that_cannot_be_merged_are_refused(tmp_path: Path) -> None:
    given_sources = sources(tmp_path, [{"w": stored("F8_E5M2", np.zeros(8, np.uint8))}])
    with pytest.raises(UnmergeableError, match="tensor 'w' is F8_E5M2"):
        ranged(given_sources, Range(0, 8))


def test_a_failure_leaves_the_rest_of_the_result(two: list[Source]) -> None:
    out = ranged(two, Range(0, 8))
    before = out.read_bytes()
    two[1].path.write_bytes(b"")
    with pytest.raises(ModelUnreadable):
        ranged(two)
    assert out.read_bytes() == before
