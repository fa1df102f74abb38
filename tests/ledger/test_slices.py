"""How a model is cut into slices: shares by links, whole units, chunks; and how a training chooses slices. Pure."""

from fractions import Fraction
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.slicing import frozen, opened
from swarmlearning.ledger.contracts.training.assigning import mergers
from swarmlearning.ledger.contracts.training.mergemode import RETRY, TRIALS, WORTH_MS, MergeMode, ms_of_one
from swarmlearning.ledger.contracts.training.slices import (
    LARGEST_SHARE,
    LEAST_CHUNK,
    MOST_MERGERS,
    MOST_SLICES,
    SLICES_EACH,
    UNITS,
    Capacity,
    Link,
    Slice,
    Slicing,
    divide,
    expected_bytes,
    roots_of,
    shares,
)

MB = 10**6
GB = 1000 * MB

QUICKLY = settings(max_examples=25, deadline=None)
CAPACITIES = st.lists(st.sampled_from((0, 1, 1000, MB, 3 * MB, 12_500_000, 2**53 - 1)), min_size=1, max_size=40)


def capacities(speeds: list[int]) -> list[Capacity]:
    return [Capacity(f"site-{number:02}", speed) for number, speed in enumerate(speeds)]


def lengths(slices: tuple[Slice, ...]) -> dict[str, int]:
    """Units by merger."""
    found: dict[str, int] = {}
    for each in slices:
        found[each.merger] = found.get(each.merger, 0) + each.units
    return found


# --- shares -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        ([5], [1]),
        ([1, 1], ["1/2", "1/2"]),
        ([3, 1], ["3/4", "1/4"]),
        ([0, 0], ["1/2", "1/2"]),
        ([1000, 1], ["1000/1001", "1/1001"]),
        ([7] * 4, ["1/4"] * 4),
        ([0] * 16, ["1/16"] * 16),
        ([0, 7, 7, 7], ["1/4"] * 4),
        ([500, 480, 420, 590, 540], ["1/5"] * 5),
        # T = 3 models' time at a speed of 1 (N = 4): 2 + 4 models in all at a speed of 4 together take 1.5
        ([1, 1, 1, 1], ["1/4"] * 4),
        # three at 10 and one at 1: with it T = 6/31, and it takes 1 for a model alone: it merges nothing
        ([10, 10, 10, 1], ["1/3", "1/3", "1/3", 0]),
        # one that is much faster takes no more than twice the mean, the others divide the rest
        ([1000, 10, 10, 10], ["1/2", "1/6", "1/6", "1/6"]),
    ],
)
def test_shares_follow_from_links(speeds: list[int], expected: list[str | int]) -> None:
    assert shares(speeds, len(speeds)) == [Fraction(each) for each in expected]


@given(CAPACITIES, st.integers(0, 64))
@QUICKLY
def test_shares_sum_to_one_and_none_is_more_than_twice_the_mean(speeds: list[int], more_sites: int) -> None:
    found = shares(speeds, len(speeds) + more_sites)
    assert sum(found) == 1
    assert min(found) >= 0
    assert max(found) <= Fraction(LARGEST_SHARE, len(speeds))


@given(CAPACITIES, st.integers(0, 64))
@QUICKLY
def test_a_faster_link_never_has_a_smaller_share_and_equal_ones_have_equal_shares(
    speeds: list[int], more_sites: int
) -> None:
    found = shares(sorted(filter(None, speeds)) or [1], len(speeds) + more_sites)
    assert found == sorted(found)
    known = sorted(filter(None, speeds)) or [1]
    assert all(one == other for (one, a), (other, b) in pairwise(zip(found, known, strict=True)) if a == b)


@given(st.lists(st.sampled_from([30, 40, 50, 65, 85]), min_size=3, max_size=16))
@QUICKLY
def test_all_sites_that_merge_end_at_the_same_time_and_the_others_not_later(speeds: list[int]) -> None:
    """Where nobody is limited, and no link is like another without being equal: 1 + f (N - 2) models pass through each
    link."""
    found = shares(speeds, len(speeds))
    if max(found) == Fraction(LARGEST_SHARE, len(speeds)):
        return
    times = [(1 + share * (len(speeds) - 2)) / speed for share, speed in zip(found, speeds, strict=True)]
    merging = {time for time, share in zip(times, found, strict=True) if share}
    assert len(merging) == 1
    alone = [Fraction(1, speed) for speed, share in zip(speeds, found, strict=True) if not share]
    assert all(time >= merging.copy().pop() for time in alone), "it has the result later than all, merging nothing"


@given(st.lists(st.integers(1, 10**9), min_size=2, max_size=16), st.data())
@QUICKLY
def test_who_lies_about_its_link_gains_at_most_twice_the_mean_share(speeds: list[int], data: st.DataObject) -> None:
    liar = data.draw(st.integers(0, len(speeds) - 1))
    lying = [2**53 - 1 if at == liar else speed for at, speed in enumerate(speeds)]
    own = lengths(divide(capacities(lying), len(speeds), GB))[f"site-{liar:02}"]
    assert own <= LARGEST_SHARE * UNITS // len(speeds) + 1


# --- slices -----------------------------------------------------------------------------------------------------------


@given(
    CAPACITIES,
    st.integers(0, 64),
    st.one_of(st.sampled_from((1, LEAST_CHUNK, LEAST_CHUNK + 1, 25 * MB, 10 * GB, 2**53 - 1)), st.integers(1, 10 * GB)),
    st.sampled_from((0, 1, MB, GB)),
)
@QUICKLY
def test_slices_cover_the_model_without_gap_or_overlap(
    speeds: list[int], more_sites: int, size: int, slowest: int
) -> None:
    slices = divide(capacities(speeds), len(speeds) + more_sites, size, slowest)
    assert (slices[0].start, slices[-1].stop) == (0, UNITS)
    assert all(one.stop == following.start for one, following in pairwise(slices))
    assert all(each.start < each.stop for each in slices)
    assert len(slices) <= MOST_SLICES
    counted = [each.merger for each in slices]
    assert slowest or all(counted.count(uid) <= SLICES_EACH for uid in counted)
    assert counted == sorted(counted), "the slices of each merger follow one another"


@pytest.mark.parametrize("count", [1, 2, 3, 16, 31, 32, 33, 64])
def test_equal_links_have_equal_shares_within_a_unit_and_at_most_32_merge(count: int) -> None:
    found = lengths(divide(capacities([MB] * count), count, 100 * MB))
    assert list(found) == [f"site-{number:02}" for number in range(min(count, MOST_MERGERS))]
    assert max(found.values()) - min(found.values()) <= 1


@pytest.mark.parametrize(
    ("size", "mergers", "slices"),
    [(1, 1, 1), (LEAST_CHUNK, 1, 1), (LEAST_CHUNK + 1, 2, 2), (3 * LEAST_CHUNK, 3, 3), (100 * MB, 4, 16)],
)
def test_a_model_has_no_more_mergers_than_chunks(size: int, mergers: int, slices: int) -> None:
    found = divide(capacities([MB] * 4), 4, size)
    assert (len(lengths(found)), len(found)) == (mergers, slices)


@pytest.mark.parametrize(
    ("slowest", "slices"),
    [(0, 4), (100 * MB, 4), (100 * MB // 9, 4), (100 * MB // 10, 5), (100 * MB // 20, 10), (1, MOST_SLICES // 4)],
)
def test_each_merger_has_more_slices_where_the_slowest_link_needs_long_for_a_model(slowest: int, slices: int) -> None:
    assert len(divide(capacities([MB] * 4), 4, 100 * MB, slowest)) == 4 * slices


@given(st.integers(1, UNITS), CAPACITIES, st.integers(1, 10 * GB))
@QUICKLY
def test_the_chunks_of_slices_are_all_chunks_once(count: int, speeds: list[int], size: int) -> None:
    slices = divide(capacities(speeds), max(2, len(speeds)), size)
    assert [chunk for each in slices for chunk in each.chunks_of(count)] == list(range(count))


def test_each_chunk_is_in_one_slice_for_any_cut_and_count() -> None:
    for count in (1, 2, 3, 7, 12, 95, 100, 1023, 1024, 4095, 4096):
        for pieces in (1, 2, 3, 12, 127, 128):
            cuts = [UNITS * at // pieces for at in range(pieces + 1)]
            slices = [Slice(start, stop, "a") for start, stop in pairwise(cuts)]
            assert [chunk for each in slices for chunk in each.chunks_of(count)] == list(range(count))


def test_a_merger_downloads_its_slices_of_all_other_models_and_the_rest_of_the_result() -> None:
    slicing = Slicing(0, "r", divide(capacities([MB] * 4), 4, 100 * MB))
    assert expected_bytes(slicing, "site-00", 100 * MB, models=4) == 100 * MB * 6 // 4  # 3 of a quarter, 3 quarters
    assert expected_bytes(slicing, "elsewhere", 100 * MB, models=4) == 100 * MB


# --- what is stated of a slice ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("roots", "ruled", "root", "holders", "contradicted"),
    [
        ({}, "", "", "", ""),
        ({"a": "X"}, "", "X", "ad", ""),
        ({"a": "X", "b": "X"}, "", "X", "abd", ""),
        ({"a": "X", "b": "Y"}, "", "", "", "ab"),
        ({"a": "X", "b": "Y", "c": "Y"}, "", "Y", "bce", "a"),
        ({"a": "X", "b": "Y", "c": "Z"}, "", "", "", "abc"),
        ({"a": "X", "b": "Y"}, "X", "X", "ad", "b"),
    ],
)
def test_what_most_mergers_have_stated_counts_and_copies_are_of_what_counted_then(
    roots: dict[str, str], ruled: str, root: str, holders: str, contradicted: str
) -> None:
    found = Slice(0, 1, "a", roots=roots, ruled=ruled, copies={"X": ("d",), "Y": ("e",)})
    assert (found.root, found.holders, found.contradicted) == (root, set(holders), set(contradicted))


def test_the_digest_of_roots_tells_their_order_and_what_counts() -> None:
    slices = [Slice(0, 1, "a", roots={"a": "X"}), Slice(1, 2, "a", roots={"a": "Y"}), Slice(2, 3, "b")]
    assert len({roots_of(slices, indexes) for indexes in ((0,), (1,), (2,), (0, 1), (1, 0))}) == 5
    with pytest.raises(IndexError):
        roots_of(slices, (3,))


# --- which way --------------------------------------------------------------------------------------------------------

LARGE = 64 * 2**20
SLOW, FAST, QUICK = 10 * WORTH_MS, 5 * WORTH_MS, WORTH_MS // 2


def chosen(mode: MergeMode, number: int, fetched: int = LARGE, by_links_ms: int | None = 0) -> bool:
    return mode.decided(number, fetched, by_links_ms).sliced


def after(mode: MergeMode, number: int, took: int) -> MergeMode:
    """A round of this number that is merged in that mode, and takes so long."""
    decided = mode.decided(number, LARGE, 0)
    return decided.frozen(1000, sliced=decided.sliced, comparable=True).measured(1000 + took)


@pytest.mark.parametrize(
    ("mode", "number", "fetched", "sliced"),
    [
        (MergeMode(), 0, LARGE, True),
        (MergeMode(), 0, LARGE - 1, False),
        (MergeMode(leader_ms=QUICK), 1, LARGE, False),  # not worth a trial
        (MergeMode(sliced_ms=QUICK), 1, 0, True),
        (MergeMode(leader_ms=SLOW), 1, 0, True),  # the other way is tried at once
        (MergeMode(sliced_ms=SLOW), 1, LARGE, False),
        (MergeMode(leader_ms=SLOW, sliced_ms=FAST, tried=1), 2, LARGE, True),
        (MergeMode(leader_ms=FAST, sliced_ms=FAST + 2, tried=1), RETRY, LARGE, False),
        (MergeMode(leader_ms=FAST, sliced_ms=FAST + 2, tried=1), RETRY + 1, LARGE, True),
        (MergeMode(leader_ms=FAST + 2, sliced_ms=FAST, tried=1), RETRY, LARGE, True),
        (MergeMode(leader_ms=FAST + 2, sliced_ms=FAST, tried=1), RETRY + 1, LARGE, False),
        (MergeMode(leader_ms=FAST, sliced_ms=2 * FAST, tried=1), TRIALS, LARGE, False),
        (MergeMode(leader_ms=FAST, sliced_ms=2 * FAST, tried=1), TRIALS + 1, LARGE, True),
        (MergeMode(leader_ms=QUICK, sliced_ms=SLOW, tried=1), 10 * RETRY, LARGE, False),
        (MergeMode(leader_ms=SLOW, sliced_ms=SLOW, tried=1), 2, LARGE, False),  # no reason for slices
    ],
)
def test_a_round_is_merged_in_the_mode_that_was_faster(
    mode: MergeMode, number: int, fetched: int, sliced: bool
) -> None:
    assert chosen(mode, number, fetched) == sliced


def test_both_ways_are_tried_once_and_then_the_slower_one_every_16_rounds() -> None:
    mode, seen = MergeMode(), []
    for number in range(40, 40 + 3 * RETRY):
        sliced = chosen(mode, number)
        mode = after(mode, number, FAST if sliced else FAST + 2)
        seen.append(sliced)
    assert seen == [True, False, *[True] * (RETRY - 1), False, *[True] * (RETRY - 1), False, *[True] * (RETRY - 2)]


def test_one_leader_is_tried_only_where_the_links_may_let_it_be_faster() -> None:
    for tried in (MergeMode(sliced_ms=SLOW), MergeMode(leader_ms=2 * SLOW, sliced_ms=SLOW, tried=1)):
        assert not chosen(tried, 100, by_links_ms=SLOW - 1)
        assert chosen(tried, 100, by_links_ms=SLOW)
        assert chosen(tried, 100, by_links_ms=None)
    assert chosen(MergeMode(leader_ms=SLOW), 1, by_links_ms=None)  # slices cost little more where they are slower


def test_what_one_leader_takes_follows_from_the_links_that_most_state() -> None:
    links = [Link("a", 2 * MB, MB), Link("b", MB, 3 * MB), Link("c", 1, 1), Link("d", 0, MB), Link("e", GB, GB)]
    assert ms_of_one(links, 5 * MB, 4) == 30_000
    assert ms_of_one(links[3:4], 5 * MB, 4) is None


def test_trials_cost_a_twentieth_of_the_time() -> None:
    """With sixteen sites one leader needs sixteen times as long."""
    mode = MergeMode(leader_ms=16 * FAST, sliced_ms=FAST, tried=1)
    assert chosen(mode, 300)
    assert not chosen(mode, 301)


def test_a_trial_that_proves_faster_is_not_taken_back_with_the_next_round() -> None:
    mode = after(MergeMode(leader_ms=SLOW), 40, FAST)
    assert (mode.leader_ms, mode.sliced_ms) == (SLOW, FAST)
    assert chosen(mode, 41)


def test_a_slower_round_counts_half_and_one_that_an_outage_has_held_up_is_forgotten_with_the_next() -> None:
    mode = after(MergeMode(sliced_ms=FAST, leader_ms=SLOW, tried=40), 41, 1000 * SLOW)
    assert mode.sliced_ms == (FAST + 1000 * SLOW + 1) // 2
    mode = after(mode, 42, SLOW)  # with one leader, which is faster by now
    mode = after(mode, 42 + 1000 * RETRY, FAST)
    assert mode.sliced_ms == FAST


def test_a_round_that_tells_nothing_about_the_ways_is_not_measured() -> None:
    mode = MergeMode(leader_ms=SLOW).decided(3, LARGE, 0).frozen(1000, sliced=False, comparable=False)
    assert not mode.is_measured
    again = mode.without_slices(3)
    assert (again.sliced, again.is_measured, again.round) == (False, False, 3)


def test_a_round_in_which_nobody_can_merge_slices_is_merged_by_its_leader() -> None:
    """Shares of nobody were divided by zero (seed 71)."""
    play = opened()
    for uid in play.sites:
        play.link(uid, merges=False)
    play.submit()
    assert play.frozen_whole


def test_whom_nobody_could_fetch_from_merges_only_where_there_is_nobody_else() -> None:
    play = frozen("a", "b")
    unreachable = {uid: msgspec.structs.replace(each, unreachable=True) for uid, each in play.state.members.items()}
    members = play.state.members | {"a": unreachable["a"]}
    assert mergers(msgspec.structs.replace(play.state, members=members), play.slicing) == ["b"]
    assert set(mergers(msgspec.structs.replace(play.state, members=unreachable), play.slicing)) == {"a", "b"}
