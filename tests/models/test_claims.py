"""Which source brings which chunks of a model: pure."""

import pytest

from swarmlearning.models.claims import SLOWER, UNKNOWN_SECONDS, Claim, Claims, Holding
from swarmlearning.tensors import digest
from swarmlearning.tensors.digest import Layout

CHUNK = 10


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(digest, "CHUNK", CHUNK)
    monkeypatch.setattr("swarmlearning.models.claims.time.monotonic", clock)
    return clock


def begun(count: int, clock: Clock) -> tuple[Claims, bytearray]:
    here = bytearray(count)
    return Claims(Layout(count * CHUNK), here), here


def ends(*claims: Claim | None) -> list[tuple[int, int] | None]:
    return [(each.first, each.end) if each else None for each in claims]


def test_a_free_source_takes_over_the_second_half_of_the_longest_claim(clock: Clock) -> None:
    claims, here = begun(9, clock)
    first = claims.take(Holding(), range(9))
    assert first is not None
    here[0], first.first = 1, 1
    second, third = claims.take(Holding(), range(9)), claims.take(Holding(), range(9))
    assert ends(first, second, third) == [(1, 3), (5, 9), (3, 5)]


def test_only_what_is_wanted_and_what_the_source_has_is_claimed(clock: Clock) -> None:
    claims, here = begun(9, clock)
    here[4] = 1
    some = Holding(here=bytes([1, 1, 0, 1, 1, 1, 1, 0, 0]))
    taken = [claims.take(some, range(1, 8)) for _ in range(4)]
    assert ends(*taken) == [(1, 2), (3, 4), (5, 6), (6, 7)]  # the third has given half to the fourth


@pytest.mark.parametrize("there", [bytes(9), b"\x00\x00\x00\x00\x00\x00\x00\x01\x00"])
def test_half_of_a_claim_goes_to_no_source_that_lacks_some_of_it(clock: Clock, there: bytes) -> None:
    claims, _ = begun(9, clock)
    whole = claims.take(Holding(), range(9))
    assert claims.take(Holding(here=there), range(9)) is None
    assert ends(whole) == [(0, 9)]


def test_the_rarest_chunks_are_claimed_first(clock: Clock) -> None:
    claims, _ = begun(6, clock)
    one, other = Holding(here=bytes([1, 1, 0, 0, 1, 0])), Holding(here=bytes([1, 0, 0, 0, 1, 1]))
    assert ends(claims.take(one, range(6)), claims.take(other, range(6))) == [(0, 2), (5, 6)]
    assert ends(claims.take(Holding(), range(6)), claims.take(Holding(), range(6))) == [(2, 4), (4, 5)]


def test_a_slow_chunk_is_fetched_from_another_source_too_when_that_would_be_far_faster(clock: Clock) -> None:
    claims, here = begun(1, clock)
    slow, fast = claims.take(Holding(), range(1)), Holding(pace=0.4)
    clock.now += SLOWER * CHUNK * 0.4 - 0.1
    assert claims.take(fast, range(1)) is None
    assert claims.take(Holding(here=b"\x00"), range(1)) is None
    clock.now += 0.2
    other = claims.take(fast, range(1))
    assert ends(slow, other) == [(0, 1), (0, 1)]
    assert slow is not None
    assert other is not None
    assert (slow.aside, other.aside) == (None, 0)
    assert claims.take(fast, range(1)) is None  # two are enough as long as the second is not overdue too
    clock.now += SLOWER * UNKNOWN_SECONDS
    third = claims.take(Holding(), range(1))
    assert third is not None
    assert third.aside == 1
    here[0] = 1
    assert not claims.are_on_their_way(range(1))
    claims.release(other)
    claims.release(third)


def test_the_first_source_of_a_chunk_may_fail_while_others_bring_it(clock: Clock) -> None:
    claims, _ = begun(1, clock)
    slow = claims.take(Holding(), range(1))
    clock.now += 1000
    second = claims.take(Holding(), range(1))
    assert slow is not None
    claims.release(slow)
    clock.now += 1000
    third = claims.take(Holding(), range(1))
    assert [each and each.aside for each in (second, third)] == [0, 1]


def test_what_is_on_its_way_is_told_by_range(clock: Clock) -> None:
    claims, _ = begun(9, clock)
    claim = claims.take(Holding(), range(2, 5))
    found = [claims.are_on_their_way(chunks) for chunks in (range(2), range(3), range(4, 9), range(5, 9))]
    assert found == [False, True, True, False]
    assert claim is not None
    claims.release(claim)
    assert not claims.are_on_their_way(range(9))
