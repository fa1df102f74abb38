"""The lease table: what it lends at which time, and what two tables that exchange their leases agree on."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmlearning.license import leases as module
from swarmlearning.license.features import Feature
from swarmlearning.license.leases import LONGEST_MS, FullError, Holder, Lease, LeaseTable
from swarmlearning.license.rights import Right

A, B, C = (Holder("authority", f"CN=SL-{name}", name) for name in "abc")
LASTS = 1000


def right(capacity: int, until_ms: int = 10**9) -> Right:
    return Right(capacity, until_ms)


def take(table: LeaseTable, holder: Holder, now: int, capacity: int = 1, until_ms: int = 10**9) -> bool:
    return table.acquire(Feature.SL, holder, right(capacity, until_ms), LASTS, now) is not None


# Each story: (time, act, holder, capacity, what comes of it)
STORIES = {
    "the second waits until the first has given back": (
        (0, "take", A, 1, True),
        (1, "take", B, 1, False),
        (2, "give", A, 1, True),
        (3, "take", B, 1, True),
    ),
    "a lease ends unless it is renewed": (
        (0, "take", A, 1, True),
        (999, "take", B, 1, False),
        (1000, "take", B, 1, True),
        (1001, "take", A, 1, False),
    ),
    "who holds a token renews it however often": (
        (0, "take", A, 1, True),
        (900, "take", A, 1, True),
        (1800, "take", A, 1, True),
        (2799, "take", B, 1, False),
        (2800, "take", B, 1, True),
    ),
    "giving back twice is giving back once, and a stranger gives nothing back": (
        (0, "take", A, 1, True),
        (1, "give", B, 1, False),
        (2, "give", A, 1, True),
        (3, "give", A, 1, False),
    ),
    "where the capacity has shrunk, those that came last are not renewed": (
        (0, "take", A, 3, True),
        (1, "take", B, 3, True),
        (2, "take", C, 3, True),
        (3, "take", C, 2, False),
        (4, "take", B, 2, True),
        (5, "take", A, 2, True),
        (6, "take", B, 0, False),
    ),
    "a clock that was set back by more than a day ends leases": (
        (2 * LONGEST_MS, "take", A, 1, True),
        (0, "take", B, 1, True),
    ),
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_tokens_are_lent_as_told(story: tuple[tuple[int, str, Holder, int, bool], ...]) -> None:
    table = LeaseTable()
    for now, act, holder, capacity, expected in story:
        if act == "take":
            done = take(table, holder, now, capacity)
        else:
            done = table.release(Feature.SL, holder, now) is not None
        assert done == expected, (now, act, holder)


def test_features_are_counted_apart() -> None:
    table = LeaseTable()
    assert take(table, A, 0)
    assert table.acquire(Feature.SN, B, right(1), LASTS, 0) is not None
    assert (table.in_use(Feature.SL, 1), table.in_use(Feature.SN, 1)) == (1, 1)


def test_no_lease_outlasts_the_license() -> None:
    table = LeaseTable()
    lease = table.acquire(Feature.SL, A, right(1, until_ms=400), LASTS, 100)
    assert lease is not None
    assert lease.until_ms == 400
    assert not take(table, A, 400, until_ms=400)


def test_what_was_lent_when_the_server_fell_silent_is_kept_for_a_lease_and_what_had_ended_is_not() -> None:
    table = LeaseTable()
    assert take(table, A, 0, 3)
    assert take(table, B, 500, 3)
    assert take(table, C, 600, 3)
    table.release(Feature.SL, C, 700)
    assert [lease.uid for lease in table.extend(1200, LASTS, 5000)] == ["b"]
    assert not take(table, C, 5999)
    assert take(table, C, 6000)


def test_a_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 4)
    monkeypatch.setattr(module, "MOST_OF_ONE_AUTHORITY", 3)
    table = LeaseTable()
    for number in range(3):
        assert take(table, Holder("one", "", str(number)), 0, 100)
    with pytest.raises(FullError, match="of this authority"):
        take(table, Holder("one", "", "3"), 0, 100)
    assert take(table, Holder("one", "", "0"), 1, 100), "who is there already is served"
    assert take(table, Holder("other", "", "0"), 0, 100)
    with pytest.raises(FullError, match="keeps 4 leases"):
        take(table, Holder("third", "", "0"), 0, 100)
    table.forget(2 * LASTS)
    assert len(table) == 0


# --- properties -----------------------------------------------------------------------------------------------------

HOLDERS = st.sampled_from([Holder(authority, "", str(number)) for authority in "xy" for number in range(4)])
STEPS = st.lists(st.tuples(st.sampled_from(["take", "give", "wait"]), HOLDERS, st.integers(0, 700)), max_size=60)


@given(STEPS, st.integers(1, 4))
def test_never_are_more_tokens_lent_than_there_are_and_no_holder_loses_its_own(
    steps: list[tuple[str, Holder, int]], capacity: int
) -> None:
    """Compared with the plainest model: a map of holders to the times at which their leases end."""
    table, model, now = LeaseTable(), dict[Holder, int](), 0
    for act, holder, pause in steps:
        now += pause
        model = {each: until for each, until in model.items() if until > now}
        if act == "take":
            expected = holder in model or len(model) < capacity
            assert take(table, holder, now, capacity) == expected
            if expected:
                model[holder] = now + LASTS
        elif act == "give":
            assert (table.release(Feature.SL, holder, now) is not None) == (model.pop(holder, None) is not None)
        else:
            table.forget(now)
        assert table.in_use(Feature.SL, now) == len(model) <= capacity


def leases() -> st.SearchStrategy[Lease]:
    times = st.integers(1, 50)
    return st.builds(
        Lease,
        feature=st.just(Feature.SL),
        authority=st.just("x"),
        subject=st.just(""),
        uid=st.sampled_from("ab"),
        granted_ms=times,
        changed_ms=times,
        until_ms=st.integers(60, 100),
        released=st.booleans(),
    )


@given(st.lists(leases(), max_size=4))
def test_tables_that_have_seen_the_same_states_are_the_same_in_any_order(states: list[Lease]) -> None:
    made = set[tuple[Lease, ...]]()
    for order in permutations(states):
        table = LeaseTable()
        for state in (*order, *order):
            table.merge(state, 50)
        made.add(tuple(sorted(table, key=lambda lease: lease.key)))
    assert len(made) == 1


@given(STEPS, st.integers(1, 3), st.integers(1, 5))
def test_who_follows_a_table_by_its_changes_has_the_same_leases(
    steps: list[tuple[str, Holder, int]], capacity: int, most: int
) -> None:
    table, copy, number, now = LeaseTable(), LeaseTable(), 0, 0
    for act, holder, pause in steps:
        now += pause
        if act == "take":
            take(table, holder, now, capacity)
        elif act == "give":
            table.release(Feature.SL, holder, now)
        found, number = table.since(number, most)
        for lease in found:
            copy.merge(lease, now)
    while number < table.changes:
        found, number = table.since(number, most)
        for lease in found:
            copy.merge(lease, now)
    assert {each for each in copy if each.holds(now)} == {each for each in table if each.holds(now)}
