"""Faults that a range shows: those for which the whole merge leaves a model out; and what proves them to others."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from merge.model_files import Model, bfloat16, random_models, ranges, save, sources, stored
from swarmlearning.merge import streaming
from swarmlearning.merge.constants import standing
from swarmlearning.merge.faults import Fault, Faulty, is_proven, together
from swarmlearning.merge.geomedian import Survey, begin, settle
from swarmlearning.merge.merging import Exclusion, Source, TooFewModels, merge
from swarmlearning.merge.methods import RANGED
from swarmlearning.merge.ranges import gram_part, merge_range
from swarmlearning.merge.streaming import Range
from swarmlearning.tensors.file import DTYPES, Array, Header, allocate, read_header

INF, NAN, LARGEST = np.inf, np.nan, np.finfo(np.float64).max


def faults_of(
    given_sources: Sequence[Source], previous: Path | None, part: Range, method: str = "mean"
) -> dict[str, Fault]:
    """Those that merging this range shows."""
    header, out = read_header(given_sources[0].path), given_sources[0].path.with_name("out")
    try:
        merge_range(method, given_sources, previous, out, header, part)
    except Faulty as error:
        return error.faults
    return {}


def test_a_fault_names_tensor_and_place_and_a_model_with_another_value(tmp_path: Path) -> None:
    rows = [np.array([1, 2, value, 4], np.float32) for value in (3, 3, NAN, INF)]
    given_sources = sources(tmp_path, [{"a": np.zeros(2), "b": row} for row in rows])
    assert faults_of(given_sources, None, Range(0, 24)) == {}
    expected = {"c": Fault("b", 24, witness="a"), "d": Fault("b", 24, witness="a")}
    assert faults_of(given_sources, None, Range(24, 32)) == expected
    with pytest.raises(Faulty, match="c: b at 24; d: b at 24"):
        gram_part(given_sources, None, read_header(tmp_path / "a"), Range(0, 32), Survey())


def test_nothing_is_written_by_who_has_found_none_at_fault_elsewhere(tmp_path: Path) -> None:
    given_sources = sources(tmp_path, [{"w": np.array([1, 2, NAN])}, {"w": np.array([3, 4, NAN])}])
    save(tmp_path / "previous", {"w": np.zeros(3)})
    assert faults_of(given_sources, tmp_path / "previous", Range(16, 24)) == {"a": Fault("w", 16), "b": Fault("w", 16)}


def test_the_first_fault_counts_however_blocks_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "block_elements", lambda models: 1)
    rows = [np.where(np.isin(np.arange(40), places), NAN, 1.0) for places in ([3, 30], [], [25, 39])]
    given_sources = sources(tmp_path, [{"w": row} for row in rows])
    found = faults_of(given_sources, None, Range(0, 320))
    assert {uid: fault.at for uid, fault in found.items()} == {"a": 24, "c": 200}


def test_a_sum_beyond_float64_is_the_fault_of_the_largest_value(tmp_path: Path) -> None:
    given_sources = sources(tmp_path, [{"w": np.array([1, value])} for value in (LARGEST / 2, LARGEST, 1)])
    found = faults_of(given_sources, None, Range(8, 16))
    assert found == {"b": Fault("w", 8, too_large=True)}
    assert found["b"].text == "w (its values are too large to be merged)"


@pytest.mark.parametrize("method", RANGED)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_ranges_leave_out_whom_the_whole_merge_leaves_out(tmp_path: Path, method: str, data: st.DataObject) -> None:
    values = st.sampled_from([0.0, 1.0, 2.5, INF, -INF, NAN, LARGEST, -LARGEST])
    spoilt = data.draw(st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 39)), values, max_size=8))
    rows = [row / 2**40 for row in random_models("F64", 6, 40)]
    for (model, place), value in spoilt.items():
        rows[model][place] = value
        if place % 2:
            rows[5][place] = value
    models: list[Model] = [{"a": row[:20], "b": row[20:], "n": np.arange(9, dtype=np.int16)} for row in rows]
    given_sources, before = sources(tmp_path, models[:5], [2, 1, 1, 2, 2]), save(tmp_path / "previous", models[5])
    previous = data.draw(st.sampled_from([None, before]))
    header = read_header(before)
    parts = ranges(header, data.draw(st.lists(st.integers(1, 41), max_size=4)))
    excluded, left = merged_in_ranges(method, given_sources, previous, header, parts)
    contributors, exclusions = merged_whole(method, given_sources, previous)
    assert {one.uid: one.detail for one in exclusions} == excluded
    assert tuple(source.uid for source in left) == contributors
    if left and method != "geomedian":  # of which coefficients depend a little on the ranges
        assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()


def merged_whole(
    method: str, given_sources: Sequence[Source], previous: Path | None
) -> tuple[tuple[str, ...], tuple[Exclusion, ...]]:
    """The contributors to `whole`, and who was left out."""
    try:
        receipt = merge(method, given_sources, previous, given_sources[0].path.with_name("whole"))
    except TooFewModels as error:
        return (), error.excluded
    return receipt.contributors, receipt.excluded


def merged_in_ranges(
    method: str, given_sources: Sequence[Source], previous: Path | None, header: Header, parts: Sequence[Range]
) -> tuple[dict[str, str], list[Source]]:
    """Merges into `out`, as those do who share a merge; who was left out, with the text, and who is in it."""
    excluded: dict[str, str] = {}
    out = given_sources[0].path.with_name("out")
    allocate(out, header.specs)
    while left := [source for source in given_sources if source.uid not in excluded]:
        reports: list[dict[str, Fault]] = []
        settled = with_coefficients(left, previous, header, parts, reports) if method == "geomedian" else left
        if not reports:
            reports = [faults_of(settled, previous, part, method) for part in parts]
        found = together(reports)
        if not found:
            break
        excluded |= {uid: fault.text for uid, fault in found.items()}
        check_proofs(found, left, previous, header, parts)
    return excluded, left


def with_coefficients(
    left: Sequence[Source],
    previous: Path | None,
    header: Header,
    parts: Sequence[Range],
    reports: list[dict[str, Fault]],
) -> Sequence[Source]:
    """The sources with the coefficients of a geometric median, unless that fails: then with reports."""
    weights = [source.weight for source in left]
    found = begin(weights)
    while isinstance(found, Survey):
        products = []
        for part in parts:
            try:
                products.append(gram_part(left, previous, header, part, found))
            except Faulty as error:
                reports.append(error.faults)
        if reports:
            return left
        found = settle(weights, header, found, products)
    return [replace(source, weight=weight) for source, weight in zip(left, found, strict=True)]


def check_proofs(
    found: dict[str, Fault], left: Sequence[Source], previous: Path | None, header: Header, parts: Sequence[Range]
) -> None:
    """Each fault is proven by its range of these models, and no model that is not at fault by the same place."""
    by_uid = {source.uid: source.path for source in left}
    weights = [source.weight for source in left]

    def bytes_of(path: Path | None, part: Range) -> bytes | None:
        return path.read_bytes()[header.data_start :][slice(*part)] if path else None

    for uid, fault in found.items():
        part = next(part for part in parts if part.start <= fault.at < part.stop)
        chunk, before, other = (bytes_of(path, part) for path in (by_uid[uid], previous, by_uid.get(fault.witness)))
        assert chunk is not None
        assert is_proven(fault, header, weights, part.start, chunk, before, other)
        assert not is_proven(fault._replace(tensor="n"), header, weights, part.start, chunk, before, other)
        assert not is_proven(fault._replace(at=fault.at + 4), header, weights, part.start, chunk, before, other)
        assert not is_proven(fault._replace(at=fault.at + 2**40), header, weights, part.start, chunk, before, other)
        assert not is_proven(fault, header, weights, part.start + 2**30, chunk, before, other)


SPECIAL: dict[str, Array] = {
    "F64": np.array([1, 2, INF, -INF, NAN, -NAN]),
    "F32": np.array([1, 2, INF, -INF, NAN, -NAN], np.float32),
    "F16": np.array([1, 2, INF, -INF, NAN, -NAN], np.float16),
    "BF16": bfloat16([1, 2, INF, -INF, NAN, -NAN]),
    "C64": np.array([1, 2, INF, complex(1, -INF), complex(NAN, 1), complex(1, NAN)], np.complex64),
}


@pytest.mark.parametrize("tag", SPECIAL)
@pytest.mark.parametrize("with_previous", [False, True])
def test_no_claim_holds_against_a_model_that_the_whole_merge_keeps(
    tmp_path: Path, tag: str, with_previous: bool
) -> None:
    """Every combination of two models' values and the previous result's, among three models: each claim about the
    first model that holds is about a fault, and each fault can be proven with one of the others."""
    values = SPECIAL[tag]
    grid = np.array(np.meshgrid(*[range(len(values))] * 4)).reshape(4, -1)
    rows, before = values[grid[:3]], values[grid[3]] if with_previous else None
    header = read_header(save(tmp_path / "m", {"w": stored(tag, rows[0])}))
    faults = standing(tag, rows, before).faults[0]
    size = DTYPES[tag].itemsize

    def proven(entry: int, other: int | None) -> bool:
        chunk, witness = rows[0].tobytes(), None if other is None else rows[other].tobytes()
        previous = None if before is None else before.tobytes()
        return is_proven(Fault("w", entry * size), header, [1, 1, 1], 0, chunk, previous, witness)

    for entry in range(0, rows.shape[1], 3):
        claims = [proven(entry, other) for other in (None, 1, 2)]
        assert any(claims) == faults[entry]


@pytest.mark.parametrize(
    ("value", "coefficients", "holds"),
    [
        (LARGEST, [1, 1], True),
        (LARGEST / 3, [1, 2], True),
        (LARGEST / 3, [1, 1], False),
        (1e290, [2**28, 2**28], False),
        (1e300, [2**28, 2**28], True),
        (INF, [1], False),
        (NAN, [1], False),
    ],
)
def test_a_value_is_too_large_where_a_sum_can_overflow(
    tmp_path: Path, value: float, coefficients: list[int], holds: bool
) -> None:
    header = read_header(save(tmp_path / "m", {"w": np.zeros(2)}))
    fault = Fault("w", 8, too_large=True)
    assert is_proven(fault, header, coefficients, 8, np.array([value]).tobytes(), None) == holds


def test_the_one_contributor_of_a_first_round_is_at_fault_for_a_nan(tmp_path: Path) -> None:
    (only,) = sources(tmp_path, [{"w": np.array([1, NAN])}])
    (fault,) = faults_of([only], None, Range(8, 16)).values()
    header, chunk = read_header(only.path), np.array([NAN]).tobytes()
    assert is_proven(fault, header, [1], 8, chunk, None)
    assert not is_proven(fault, header, [1, 1], 8, chunk, None)


def test_bytes_of_two_values_are_no_value(tmp_path: Path) -> None:
    values = np.array([1, 0x3FF00000_7FF00001], np.uint64).view(np.float64)  # finite, and NaN from the fourth byte on
    header, before = read_header(save(tmp_path / "m", {"w": values})), bytes(16)
    assert np.isnan(np.frombuffer(values.tobytes(), np.float64, 1, 4)[0])
    assert not is_proven(Fault("w", 4), header, [1, 1], 0, values.tobytes(), before)


def test_of_all_reports_the_first_fault_of_each_model_counts_and_size_only_where_nothing_else_is_wrong() -> None:
    early, late, large = Fault("a", 8), Fault("b", 80), Fault("a", 0, too_large=True)
    assert together([]) == {}
    assert together([{"x": late}, {"b": large}, {"x": early, "a": late}]) == {"a": late, "x": early}
    assert together([{"b": large._replace(at=16)}, {"c": large}, {}]) == {"c": large}
