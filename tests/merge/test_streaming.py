"""Passes over files: the blocks cover everything once; their size and the threads change no bit; memory is bounded."""

import tracemalloc
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from threading import get_ident

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from merge.model_files import INTEGERS, random_models, ranges, save, sources, stored
from swarmlearning.merge import streaming
from swarmlearning.merge.arithmetic import GRID
from swarmlearning.merge.merging import MergeReceipt, Source, merge
from swarmlearning.merge.methods import METHODS
from swarmlearning.merge.streaming import (
    THREADS,
    Block,
    Models,
    ModelUnreadable,
    Range,
    block_elements,
    cut,
    float_values,
)
from swarmlearning.tensors.file import MERGEABLE, read_header


@pytest.fixture
def mixed(tmp_path: Path) -> list[Source]:
    columns = {f"{tag} {part}": (tag, random_models(tag, 3, 40 + part)) for tag in MERGEABLE for part in range(3)}
    return sources(
        tmp_path,
        [{name: stored(tag, rows[index]) for name, (tag, rows) in columns.items()} for index in range(3)],
        [2, 1, 2],
    )


@pytest.mark.parametrize("method", ["mean", "coordmedian"])
@pytest.mark.parametrize("elements", [1, 2, 7, 40, 41, 1000])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_block_size_and_threads_change_no_bit_of_a_merge(
    method: str, elements: int, threads: int, mixed: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = mixed[0].path.parent / "out"
    merge(method, mixed, None, out)
    expected = out.read_bytes()
    out.unlink()
    monkeypatch.setattr(streaming, "block_elements", lambda models: elements)
    merge(method, mixed, None, out, threads=threads)
    assert out.read_bytes() == expected


def test_threads_change_no_bit_of_a_geometric_median(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_sources = sources(tmp_path, [{"w": model} for model in random_models("F32", 5, 10_000)])
    monkeypatch.setattr(streaming, "block_elements", lambda models: 100)
    results = set()
    for threads in (1, 2, 3, 8):
        for order in (given_sources, given_sources[::-1]):
            receipt = merge("geomedian", order, None, tmp_path / "out", threads=threads)
            results.add((receipt, (tmp_path / "out").read_bytes()))
    assert len(results) == 1


@pytest.mark.parametrize("elements", [1, 3, 64, 10**6])
def test_blocks_cover_the_data_once(mixed: list[Source], elements: int) -> None:
    header = read_header(mixed[0].path)
    at = 0
    for block in cut(header, elements):
        assert block.start == at
        assert block.size > 0
        at += block.size
        tensors = [entry for entry in header.entries if entry.start < at and entry.end > block.start]
        assert {entry.dtype for entry in tensors} == {block.dtype}
    assert at == header.file_size - header.data_start


def test_parts_of_the_data_have_blocks_and_values_of_their_own(mixed: list[Source]) -> None:
    header = read_header(mixed[0].path)
    parts = ranges(header, [10, 11, 100, 130])
    blocks = [block for part in parts for block in cut(header, 10**6, part)]
    assert [block.start for block in blocks] == [0, *accumulate(block.size for block in blocks[:-1])]
    assert sum(block.size for block in blocks) == header.data_size
    values = {"F64": 1, "C64": 2, "F32": 1, "BF16": 1, "F16": 1}
    assert float_values(header) == sum(values.values()) * 3 * 41
    assert sum(float_values(header, part) for part in parts) == float_values(header)
    assert float_values(header, Range(8, 8)) == 0


def test_tensors_of_one_dtype_are_one_run(tmp_path: Path) -> None:
    path = save(tmp_path / "m", {f"t{index}": np.zeros(index, np.float32) for index in range(100)})
    assert cut(read_header(path), 10_000) == [Block("F32", 0, 4 * 4950)]


@pytest.mark.parametrize(
    ("models", "elements"), [(1, 2**19), (4, 2**17), (16, 2**15), (32, 2**15), (1000, 2**20 // 1000), (2**21, 1)]
)
def test_blocks_shrink_with_the_number_of_models_to_a_floor(models: int, elements: int) -> None:
    assert block_elements(models) == elements


def opened(path: Path, method: Callable[[Models], None]) -> None:
    with path.open("rb") as file:
        method(Models(("a",), (1,), read_header(path), (file.fileno(),), None))


def test_lanes_hold_all_blocks_in_order_and_share_threads(tmp_path: Path) -> None:
    path = save(tmp_path / "m", {"w": np.zeros(1)})
    blocks = [Block("U8", index, 1) for index in range(100)]

    def check(models: Models) -> None:
        lanes = models.in_lanes(list, blocks)
        assert [block for lane in lanes for block in lane] == blocks
        assert len(lanes) == streaming.LANES
        assert get_ident() not in models.in_lanes(lambda lane: get_ident(), blocks)
        assert models.in_lanes(list, []) == []

    opened(path, check)


def test_a_file_that_became_shorter_names_its_owner(tmp_path: Path) -> None:
    path = save(tmp_path / "m", {"w": np.zeros(100)})

    def check(models: Models) -> None:
        path.write_bytes(path.read_bytes()[:-1])
        (block,) = models.blocks
        with pytest.raises(ModelUnreadable, match="became shorter") as raised:
            models.rows(block, models.buffer([block]))
        assert raised.value.uid == "a"

    opened(path, check)


def test_blocks_of_floats_hold_no_integers(mixed: list[Source]) -> None:
    def check(models: Models) -> None:
        tags = {block.dtype for block in models.float_blocks}
        assert tags == MERGEABLE - {*INTEGERS, "BOOL"}

    opened(mixed[0].path, check)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    order=st.permutations(range(5)),
    elements=st.integers(200, 3000),
    threads=st.integers(1, 4),
    method=st.sampled_from(list(METHODS)),
)
def test_order_of_sources_block_size_and_threads_change_no_bit(
    five: list[Source], order: list[int], elements: int, threads: int, method: str
) -> None:
    folder = five[0].path.parent
    expected, plain = merged_bytes(method, five, folder / "expected")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "block_elements", lambda models: elements)
        receipt, content = merged_bytes(method, [five[index] for index in order], folder / "out", threads)
    # Of a geometric median the Gram matrix is summed in tiles, which depend on the blocks: that moves coefficients a
    # little, and what the receipt's coefficients give is the same to the bit.
    pairs = zip(receipt.coefficients, expected.coefficients, strict=True)
    moved = max((abs(one - other) for one, other in pairs), default=0)
    assert moved <= (1e-7 * GRID if method == "geomedian" else 0)
    if receipt.coefficients == expected.coefficients:
        assert content == plain


def merged_bytes(method: str, given: list[Source], out: Path, threads: int = 1) -> tuple[MergeReceipt, bytes]:
    receipt = merge(method, given, None, out, threads=threads)
    return receipt, out.read_bytes()


@pytest.fixture
def five(tmp_path: Path) -> list[Source]:
    """Five models with float64 and other dtypes, which take some blocks."""
    columns = {tag: random_models(tag, 5, 2000, seed=2) for tag in sorted(MERGEABLE)}
    models = [{tag: stored(tag, rows[index]) for tag, rows in columns.items()} for index in range(5)]
    return sources(tmp_path, models, [3, 1, 2, 2, 1])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("count", "elements"), [(8, 4_000_000), (300, 50_000)])
@pytest.mark.parametrize("weights", ["equal", "different"])
def test_memory_grows_neither_with_the_models_nor_with_their_number(
    tmp_path: Path, method: str, count: int, elements: int, weights: str
) -> None:
    model = random_models("F32", 1, elements)[0]
    previous = save(tmp_path / "previous", {"w": model})
    given_sources = [
        Source(
            f"{index:03}", 1 + (weights == "different") * (index % 3), save(tmp_path / f"{index}", {"w": model + index})
        )
        for index in range(count)
    ]
    tracemalloc.start()
    try:
        merge(method, given_sources, previous, tmp_path / "out", threads=THREADS, influence=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200e6
