"""What is measured of sites whose links are cut, and what rounds at the limit would make of the same cuts."""

from itertools import islice

import msgspec
import pytest

from support.benchmarks import names_in, run_with_support
from support.tools import needs

NAMES = names_in("linkcuts.py")
Cuts, Span, cuts_of, share, share_at_limit = (
    NAMES[name] for name in ("Cuts", "Span", "cuts_of", "share", "share_at_limit")
)
NEVER = Cuts(0.0, 100.0, 0.0)


class Line(msgspec.Struct, forbid_unknown_fields=True):
    nodes: int
    mb: int
    mbit: float
    seconds: float
    train_s: float
    cut_s: float
    every_s: float
    seed: int
    transfer: str
    back: str
    killed: str
    killed_at_s: float
    mergers: int
    share: float
    limit_share: float
    star_share: float | None
    rounds: int
    rounds_lost: int
    contributors: float
    each_share: dict[str, float]
    limit_s: float
    cores: float
    other_cores: float


@pytest.mark.parametrize(
    ("begin", "end"),
    [(0.0, 4.0), (7.0, 16.0), (9.0, 18.0), (12.0, 19.0), (15.0, 19.0), (108.0, 117.0)],
)
def test_a_cut_link_takes_longer_by_what_is_left_of_the_cut(begin: float, end: float) -> None:
    assert Cuts(10.0, 100.0, 5.0).after(begin, 4.0) == end


def test_a_long_transfer_is_cut_several_times() -> None:
    assert Cuts(0.0, 10.0, 2.0).after(5.0, 20.0) == 29.0  # 5, 8 and 7 seconds between the cuts


def test_cuts_are_those_of_the_seed() -> None:
    found = cuts_of(7, 3, 120.0, 20.0)
    assert found == cuts_of(7, 3, 120.0, 20.0) != cuts_of(8, 3, 120.0, 20.0)
    assert all(0 <= cuts.phase < 120 for cuts in found)
    first, second = islice(found[0].spans(), 2)
    assert (first.end - first.begin, second.begin - first.begin) == (20.0, 120.0)


def test_training_counts_within_the_time_only() -> None:
    assert share([Span(0.0, 4.0), Span(6.0, 9.0), Span(9.5, float("inf")), Span(12.0, 13.0)], 10.0) == 0.75


def test_without_cuts_rounds_at_the_limit_take_their_share_of_the_time() -> None:
    assert share_at_limit([NEVER, NEVER], 1.0, 9.0, 100.0, {}) == pytest.approx(0.9)


def test_the_next_round_begins_once_the_last_site_is_ready() -> None:
    late = Cuts(10.0, 1000.0, 5.0)  # in the first round, which then ends there at 16
    assert share_at_limit([NEVER, late], 1.0, 10.0, 27.0, {}) == pytest.approx((20 + 20) / 2 / 27)


def test_a_dead_site_is_awaited_by_nobody_and_counts_no_more() -> None:
    broken = Cuts(10.0, 1000.0, 500.0)
    assert share_at_limit([NEVER, broken], 1.0, 9.0, 100.0, {1: 20.0}) == pytest.approx(0.9)


@needs("tbf")
def test_goodput_prints_a_json_line() -> None:
    sizes = ["--nodes", "3", "--mb", "1", "--mbit", "30"]
    times = ["--seconds", "8", "--train", "1", "--cut", "0.5", "--every", "4", "--seed", "5"]
    coded = ["--transfer", "int4", "--transfer-back", "int8"]
    done = run_with_support("goodput.py", *sizes, *times, *coded, "--json")
    assert done.returncode == 0, done.stderr
    line = msgspec.json.decode(done.stdout, type=Line)
    assert (line.nodes, line.mb, line.mbit, line.seconds, line.train_s, line.seed) == (3, 1, 30, 8, 1, 5)
    assert (line.transfer, line.back) == ("int4", "int8")
    assert line.killed not in line.each_share
    assert len(line.each_share) == 2
    assert 0 < line.share < 1
    assert line.star_share == line.share
    assert 0 < line.limit_share < 1
    assert 2 <= line.killed_at_s <= 6
    assert line.rounds > 0
    assert line.limit_s == pytest.approx(2 / 3 * (132_814 + 257_814) / 3.75e6, abs=0.005)  # int4 there, int8 back
    assert 1 < line.contributors <= 3
