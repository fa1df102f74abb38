"""Another node cannot lead this one from address to address as fast as it likes."""

from hypothesis import given
from hypothesis import strategies as st

from swarmlearning.sl.addresses import MOST, SECONDS, SoughtAddresses


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_node_is_sought_at_few_addresses_in_ten_minutes_and_at_others_later() -> None:
    clock = Clock()
    sought = SoughtAddresses(clock)
    assert [sought.may_seek("a", f"10.0.0.{number}:22") for number in range(MOST + 5)] == [True] * MOST + [False] * 5
    assert sought.may_seek("a", "10.0.0.0:22")
    assert sought.may_seek("b", "10.0.0.200:22"), "another node is not affected"
    clock.now = SECONDS
    assert sought.may_seek("a", "10.0.0.200:22")


def test_a_node_that_stays_where_it_is_is_always_sought() -> None:
    clock = Clock()
    sought = SoughtAddresses(clock)
    for _ in range(1000):
        clock.now += 1.0
        assert sought.may_seek("a", "10.0.0.1:30305")


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, SECONDS)), max_size=200))
def test_no_more_than_the_bound_of_addresses_is_connected_to_in_any_ten_minutes(steps: list[tuple[int, float]]) -> None:
    clock = Clock()
    sought, connected = SoughtAddresses(clock), list[tuple[float, int]]()
    for address, pause in steps:
        clock.now += pause
        if sought.may_seek("a", str(address)):
            connected.append((clock.now, address))
    for at, _ in connected:
        assert len({address for time, address in connected if at <= time < at + SECONDS}) <= MOST


def test_nodes_that_are_sought_no_more_are_forgotten() -> None:
    clock = Clock()
    sought = SoughtAddresses(clock)
    for number in range(1000):
        sought.may_seek(f"node-{number}", "10.0.0.1:1")
    clock.now = SECONDS
    sought.may_seek("a", "10.0.0.1:1")
    assert len(sought._sought) == 1
