"""Members check a result together: which parts the contract gives them, what they may state, and until when."""

from collections.abc import Sequence
from random import Random

import pytest

from support.play import merged, receipt_of
from support.slicing import InSlices, frozen, publish_and_hold, refusal
from swarmlearning.ledger.bodies import Check, Checked
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.training.checking import is_open
from swarmlearning.ledger.contracts.training.checks import (
    Checks,
    Part,
    assigned,
    found_wrong,
    without_readers_of_all,
)
from swarmlearning.ledger.contracts.training.slices import UNITS, Capacity, Slice, divide

RESULT = merged(0)


def stated(slices: Sequence[Slice]) -> list[Slice]:
    """All slices, each stated by its merger."""
    return [Slice(each.start, each.stop, each.merger, roots={each.merger: "1" * 64}) for each in slices]


def by_hand(*runs: tuple[str, int]) -> list[Slice]:
    """Slices of these mergers with so many units, in order."""
    slices, at = [], 0
    for uid, units in runs:
        slices.append(Slice(at, at + units, uid))
        at += units
    assert at == UNITS
    return stated(slices)


def covered(parts: Sequence[Part]) -> list[int]:
    """The units of all parts; one that is in two parts is there twice."""
    return sorted(unit for part in parts for unit in range(part.start, part.stop))


def overlaps(part: Part, each: Slice) -> bool:
    return part.start < each.stop and each.start < part.stop


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [2, 3, 4, 5, 8, 13, 32, 64])
@pytest.mark.parametrize("size", [2**20, 25 * 2**20, 2**30])
def test_equal_members_check_equal_parts_of_what_others_have_merged_and_all_of_it_together(
    members: int, size: int
) -> None:
    uids = [f"m{number}" for number in range(members)]
    slices = stated(divide([Capacity(uid, 0) for uid in uids], members, size))
    for result in ("1" * 64, "2" * 64, "3" * 64):
        parts = assigned(slices, uids, result)
        assert covered(parts) == list(range(UNITS))
        for uid in uids:
            own = [part for part in parts if part.uid == uid]
            assert sum(part.units for part in own) in (UNITS // members, -(-UNITS // members))
            assert not any(overlaps(part, each) for part in own for each in slices if each.merger == uid)


@pytest.mark.parametrize("seed", range(40))
def test_so_it_is_with_links_of_any_speed_members_that_merge_nothing_and_mergers_that_are_gone(seed: int) -> None:
    dice = Random(seed)
    merging = [f"m{number}" for number in range(dice.randint(3, 20))]
    members = sorted({*merging[dice.randint(0, 1) :], *(f"n{number}" for number in range(dice.randint(0, 4)))})
    capacities = [Capacity(uid, dice.choice((0, 10**6, 10**7, 10**8))) for uid in merging]
    slices = stated(divide(capacities, len(merging), 256 * 2**20))
    parts = assigned(slices, members, f"{seed:064x}")
    assert covered(parts) == list(range(UNITS))
    assert {part.uid for part in parts} == set(members)
    for part in parts:
        assert part.units <= -(-UNITS // len(members))
        assert not any(overlaps(part, each) for each in slices if each.merger == part.uid)


def test_the_result_decides_who_checks_what() -> None:
    uids = [f"m{number}" for number in range(8)]
    slices = stated(divide([Capacity(uid, 0) for uid in uids], 8, 2**30))
    drawn = {assigned(slices, uids, f"{number:064x}") for number in range(50)}
    assert len(drawn) > 45
    first = {part.uid for parts in drawn for part in parts if part.start == 0}
    assert first == {each for each in uids if each != slices[0].merger}


def test_of_two_sites_of_unequal_shares_nobody_checks_its_own_and_some_is_not_checked() -> None:
    slices = by_hand(("a", 3000), ("b", 1096))
    parts = assigned(slices, ["a", "b"], RESULT)
    units = {uid: sum(part.units for part in parts if part.uid == uid) for uid in "ab"}
    assert units["a"] <= 1096
    assert units["b"] <= UNITS // 2
    assert not any(overlaps(part, each) for part in parts for each in slices if each.merger == part.uid)
    assert len(set(covered(parts))) == len(covered(parts))


def test_whoever_has_merged_a_slice_too_does_not_check_it() -> None:
    roots = {"a": "1" * 64, "b": "1" * 64, "c": "2" * 64}
    slices = [Slice(0, 2048, "a", ("b", "c"), roots=roots), *stated([Slice(2048, UNITS, "b")])]
    for number in range(20):
        parts = assigned(slices, ["a", "b", "c"], f"{number:064x}")
        assert not any(part.uid in "ab" and part.start < 2048 for part in parts)
        assert not any(part.uid == "b" for part in parts if part.stop > 2048)


def test_nobody_reads_all_of_a_model_by_checking() -> None:
    slices = by_hand(("a", 2731), ("b", 1365))
    parts = assigned(slices, ["a", "b", "c"], RESULT)
    assert covered(parts) == list(range(UNITS))
    left = without_readers_of_all(parts, slices)
    assert {part.uid for part in left} == {"b", "c"}


# --- the ledger -------------------------------------------------------------------------------------------------------


def standing() -> InSlices:
    """Round 0 of four sites is merged in slices, and its result stands."""
    play = frozen()
    publish_and_hold(play)
    return play


def checks_of(play: InSlices) -> Checks:
    assert play.state.checks is not None
    return play.state.checks


def test_parts_are_assigned_as_the_result_stands_and_members_state_what_they_find() -> None:
    play = standing()
    made = checks_of(play)
    assert (made.round, made.result, made.recipe.name) == (0, RESULT, play.slicing.recipe)
    assert made.members == ["a", "b", "c", "d"]
    assert made.units_of(play.sites) == UNITS
    assert is_open(play.state)
    play.send("a", Check(0, RESULT))
    play.send("b", Check(0, RESULT))
    play.send("a", Checked(0, RESULT))
    wrong = tuple(sorted(made.slices_of("b")))[:1]
    play.send("b", Checked(0, RESULT, wrong))
    assert checks_of(play).begun == ("a", "b")
    assert checks_of(play).found == {"a": (), "b": wrong}
    assert found_wrong(checks_of(play)) == {wrong[0]: ["b"]}


def test_what_is_not_so_is_refused() -> None:
    play = standing()
    assert refusal(play, "a", Checked(0, RESULT)) == Code.NOT_CHECKER
    assert refusal(play, "a", Check(1, RESULT)) == Code.OTHER_ROUND
    assert refusal(play, "a", Check(0, merged(1))) == Code.OTHER_ROUND
    play.send("a", Check(0, RESULT))
    assert refusal(play, "a", Check(0, RESULT)) == Code.NO_CHANGE
    made = checks_of(play)
    other = next(index for index in range(len(made.slices)) if index not in made.slices_of("a"))
    own = tuple(sorted(made.slices_of("a")))
    assert refusal(play, "a", Checked(0, RESULT, (other,))) == Code.NOT_CHECKER
    assert refusal(play, "a", Checked(0, RESULT, own[::-1])) == Code.NOT_CHECKER
    assert refusal(play, "a", Checked(0, RESULT, (*own, 128))) == Code.NOT_CHECKER
    play.send("a", Checked(0, RESULT, own))
    assert refusal(play, "a", Checked(0, RESULT)) == Code.NO_CHANGE


def test_a_round_can_be_checked_until_the_contributors_of_the_next_one_are_fixed_and_be_spoken_of_longer() -> None:
    play = standing()
    play.send("a", Check(0, RESULT))
    play.report()
    assert not play.state.slicings
    assert is_open(play.state)
    play.send("b", Check(0, RESULT))
    play.submit()
    assert not is_open(play.state)
    assert refusal(play, "c", Check(0, RESULT)) == Code.TOO_LATE
    play.send("a", Checked(0, RESULT))
    assert checks_of(play).found == {"a": ()}


def test_a_round_that_one_leader_merges_leaves_the_last_checks_as_they_are() -> None:
    play = standing()
    play.send("a", Check(0, RESULT))
    play.report()
    for uid in play.sites:
        play.link(uid, merges=False)
    play.submit()
    assert play.frozen_whole
    play.publish(receipt_of(play.round, {}))
    assert checks_of(play).begun == ("a",)
    assert not is_open(play.state)
