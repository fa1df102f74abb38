"""No bytes end a reader in any way but by its own errors, or leave memory behind: more than 10,000 inputs, most of them
examples that were altered. `make fuzz` tries a million, led by what the readers have not run yet."""

import gc
import tracemalloc
from random import Random
from typing import Final

import pytest

from fuzz.__main__ import summary
from fuzz.altering import altered
from fuzz.table import TARGETS
from fuzz.target import Target

INPUTS: Final = 10_000 // len(TARGETS) + 1
"""For each target."""
MEASURED: Final = 100
"""Of them are read again while memory is measured, which makes everything slow."""
LEFT: Final = 64 * 1024
"""Bytes that reading them may leave: what the interpreter and the libraries keep."""


def kept(target: Target, inputs: list[bytes]) -> int:
    """Bytes that are in use after these inputs have been read, and were not before."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for data in inputs:
            target.attack(data)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_end_a_reader_but_by_its_own_errors_nor_leave_memory_behind(name: str) -> None:
    target, dice = TARGETS[name], Random(name)
    inputs = [altered(dice, target.seeds) for _ in range(INPUTS)]
    for data in inputs:
        target.attack(data)
    assert kept(target, inputs[:MEASURED]) < LEFT


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_accepts_the_first_example_that_is_altered(name: str) -> None:
    """If a reader refused its examples at their first bytes, fuzzing it would find nothing."""
    target = TARGETS[name]
    target.read(target.seeds[0])


def test_an_error_that_is_not_a_reader_s_own_names_the_bytes() -> None:
    target = Target("two", lambda data: {b"1": 1}[data], (ValueError,), (b"1",))
    with pytest.raises(KeyError) as caught:
        target.attack(b"2")
    assert caught.value.__notes__ == ["two was given: b'2'"]


def test_a_reader_that_keeps_what_it_reads_is_found() -> None:
    memory: list[bytes] = []
    assert kept(Target("keeper", lambda data: memory.append(data * 1000), (), ()), [b"1234567890"] * MEASURED) > LEFT


OUTPUT = """INFO: seed corpus: files: 9
#10 INITED cov: 5 ft: 6 corp: 1/1b exec/s: 0 rss: 80Mb
#500 NEW    cov: 8 ft: 9 corp: 2/2b lim: 4 exec/s: 0 rss: 90Mb L: 1/1 MS: 1
#1000 DONE   cov: 9 ft: 9 corp: 2/2b lim: 4 exec/s: 0 rss: 95Mb
"""


def test_a_line_tells_what_was_fuzzed_and_what_was_found() -> None:
    line = "one: 1000 inputs, 9 places covered, 95 MB (+5 MB in the second half): "
    assert summary("one", OUTPUT, 0) == line + "nothing found"
    assert summary("one", OUTPUT, 77) == line + "FOUND (exit status 77); see runs/fuzz/one"


def test_a_process_that_has_fuzzed_nothing_is_no_success() -> None:
    assert "nothing found" not in summary("one", "", 0)
