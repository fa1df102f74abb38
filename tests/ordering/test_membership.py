"""The next change of the voters, and the fault tolerance of a number of them: tables."""

import pytest

from swarmlearning.ordering.etcd.gateway import Member
from swarmlearning.ordering.etcd.membership import Step, TwoVoters, describe, next_step, survives

URLS = {uid: f"http://{uid}" for uid in "abcdefgh"}


def members(voters: str, learner: str = "") -> list[Member]:
    return [Member(ord(uid), uid, f"http://{uid}", uid in learner) for uid in voters + learner]


def urls(admitted: str) -> dict[str, str]:
    return {uid: URLS[uid] for uid in admitted}


@pytest.mark.parametrize(
    ("voters", "learner", "admitted", "present", "gone", "expected"),
    [
        ("a", "", "a", "a", "", None),
        ("a", "", "ab", "ab", "", Step("add", "b", 0)),
        ("a", "b", "ab", "ab", "", Step("promote", "b", ord("b"))),
        ("a", "b", "ab", "a", "", None),
        ("a", "b", "ab", "a", "b", Step("remove", "b", ord("b"))),
        ("ab", "", "abc", "abc", "", Step("add", "c", 0)),
        ("abc", "", "abcd", "abcd", "", None),
        ("abc", "", "abcde", "abcde", "", Step("add", "d", 0)),
        ("abcd", "", "abcde", "abcde", "", Step("add", "e", 0)),
        ("abc", "", "abc", "ab", "c", None),
        ("abc", "", "abcd", "abd", "", None),
        ("abc", "", "abcd", "abd", "c", Step("add", "d", 0)),
        ("abc", "d", "abcd", "abd", "c", Step("remove", "c", ord("c"))),
        ("ab", "d", "abcd", "abd", "c", Step("promote", "d", ord("d"))),
        ("abc", "d", "abcd", "abcd", "", None),
        ("abc", "d", "abcd", "ab", "cd", Step("remove", "d", ord("d"))),
        ("abc", "d", "abcde", "abcde", "", Step("promote", "d", ord("d"))),
        ("ab", "", "abcd", "abd", "c", Step("add", "d", 0)),
        ("ab", "", "abc", "ac", "b", None),
        ("abc", "", "ab", "ab", "", Step("remove", "", ord("c"))),
        ("a", "b", "a", "a", "", Step("remove", "", ord("b"))),
        ("abcdefg", "", "abcdefgh", "abcdefgh", "", None),
    ],
)
def test_the_next_membership_change_is_as_in_the_table(
    voters: str, learner: str, admitted: str, present: str, gone: str, expected: Step | None
) -> None:
    assert next_step(members(voters, learner), urls(admitted), set(present), set(gone)) == expected


def test_nobody_is_removed_for_a_learner_that_does_not_run_yet() -> None:
    added = Member(ord("d"), "", URLS["d"], learner=True)
    assert next_step([*members("abc"), added], urls("abcd"), set("abd"), {"c"}) is None


@pytest.mark.parametrize(
    ("voters", "live", "crashes"),
    [(1, 1, 0), (2, 2, 0), (2, 1, -1), (3, 3, 1), (3, 2, 0), (3, 1, -1), (4, 4, 1), (5, 5, 2), (5, 4, 1), (7, 7, 3)],
)
def test_fault_tolerance_counts_the_voters_that_are_present(voters: int, live: int, crashes: int) -> None:
    assert survives(voters, live) == crashes


@pytest.mark.parametrize(
    ("voters", "live", "text"),
    [
        (1, 1, "1 voter: survives none; add two more SNs"),
        (2, 2, "2 voters: survives none; add a third SN, or only its vote (swarm sn --witness)"),
        (3, 3, "3 voters: survives 1 failure"),
        (4, 4, "4 voters: survives 1 failure, no more than 3 would"),
        (5, 5, "5 voters: survives 2 failures"),
        (3, 2, "3 voters, 2 of them running: survives none until the missing one is back or replaced"),
        (5, 3, "5 voters, 3 of them running: survives none until the missing 2 are back or replaced"),
        (5, 4, "5 voters, 4 of them running: survives 1 more"),
    ],
)
def test_fault_tolerance_is_described_in_one_plain_line(voters: int, live: int, text: str) -> None:
    assert describe(voters, live) == text


def test_two_voters_are_noticed_once_and_again_after_a_third_has_come_and_gone() -> None:
    two = TwoVoters(10)
    counts = [(1, 0), (2, 1), (2, 10), (2, 11), (2, 12), (3, 13), (2, 14), (2, 23), (2, 24), (2, 99)]
    assert [now for voters, now in counts if two.noticed(voters, now)] == [11, 24]
