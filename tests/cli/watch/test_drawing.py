"""Bars, sparklines and cells: of a fixed width, whatever is in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from swarmlearning.cli.watch.drawing import ASCII, UNICODE, Marks, bar, cell, sparkline, wrapped


@pytest.mark.parametrize(
    ("parts", "shown"),
    [
        ((2, 2, 0), "#####-----"),
        ((1, 1, 2), "##---xxxxx"),
        ((4, 0, 0), "##########"),
        ((0, 0, 0), "----------"),
        ((63, 0, 1), "#########x"),
        ((1, 62, 1), "#--------x"),
    ],
)
def test_a_bar_shows_how_many_are_in_awaited_and_away(parts: tuple[int, int, int], shown: str) -> None:
    assert len(bar(parts, 10, ASCII)) == 10
    if parts != (1, 1, 2):  # of which a cell more may go to any
        assert bar(parts, 10, ASCII) == shown


@given(st.tuples(*[st.integers(0, 10**6)] * 3), st.integers(3, 60))
def test_a_bar_leaves_out_nobody(parts: tuple[int, int, int], width: int) -> None:
    shown = bar(parts, width, ASCII)
    assert len(shown) == width
    if any(parts):
        assert [mark in shown for mark in "#-x"] == [part > 0 for part in parts]


@pytest.mark.parametrize(
    ("values", "width", "shown"),
    [
        ([], 8, ""),
        ([0, 0], 8, "__"),
        ([7, 0, 14], 8, "-_#"),
        (range(100), 3, "###"),
        ([1], 0, ""),
        ([5], -4, ""),
    ],
)
def test_a_sparkline_has_a_cell_for_each_of_the_last_values(values: list[int], width: int, shown: str) -> None:
    drawn = sparkline(values, width, ASCII)
    assert len(drawn) == len(shown)
    assert drawn.replace("+", "-").replace("=", "-").replace("*", "-") == shown


@given(st.text(), st.integers(2, 40), st.sampled_from([ASCII, UNICODE]), st.booleans())
def test_a_cell_is_as_wide_as_it_should_be(text: str, width: int, marks: Marks, right: bool) -> None:
    printable = "".join(each for each in text if each.isprintable())
    assert cell_len(cell(printable, width, marks, right=right)) == width


@given(st.lists(st.text("ab病", min_size=1, max_size=30)), st.integers(4, 40), st.integers(1, 4))
def test_wrapped_lines_fit_and_say_when_there_is_more(words: list[str], width: int, most: int) -> None:
    shown = wrapped(" ".join(words), width, most, ASCII)
    assert 1 <= len(shown) <= most
    assert all(cell_len(line) <= width for line in shown)
    assert "~" in "".join(shown) or " ".join(shown).split() == words
