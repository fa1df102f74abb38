"""`make lint` refuses files and functions that are too long to be read at one go."""

import runpy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

too_long: Callable[[str, str], Iterator[str]] = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "sizes.py"))[
    "too_long"
]


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_a_function_of_fifty_lines_is_accepted_and_one_of_fifty_one_is_named(keyword: str) -> None:
    source = f"\nclass A:\n    {keyword} work(self):\n" + "        pass\n" * 49
    assert list(too_long("a.py", source)) == []
    (line,) = too_long("a.py", source + "        pass\n")
    assert line == "a.py:3: work has 51 lines; a function has at most 50"


def test_a_file_of_four_hundred_lines_is_accepted_and_one_of_four_hundred_and_one_is_named() -> None:
    assert list(too_long("a.py", "pass\n" * 400)) == []
    (line,) = too_long("a.py", "pass\n" * 401)
    assert line == "a.py:1: 401 lines; split it: a file has at most 400"
