"""The queue in which organisations take turns."""

from hypothesis import given
from hypothesis import strategies as st

from swarmlearning.sn.queue import FairQueue


def filled(**items: int) -> FairQueue[int]:
    queue: FairQueue[int] = FairQueue()
    for party, count in items.items():
        for number in range(count):
            queue.put(party, number)
    return queue


def taken(queue: FairQueue[int]) -> list[tuple[str, int]]:
    return [queue.take() for _ in range(len(queue))]


def test_a_party_with_one_item_is_next_however_many_others_have_put_in_before() -> None:
    queue = filled(flood=1000)
    queue.take()
    queue.put("honest", 7)
    assert ("honest", 7) in [queue.take(), queue.take()]


def test_parties_take_turns_and_the_items_of_each_keep_their_order() -> None:
    assert taken(filled(a=3, b=1, c=2)) == [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("c", 1), ("a", 2)]


def test_what_is_put_back_comes_again_in_the_same_order() -> None:
    queue = filled(a=3, b=2)
    first = [queue.take() for _ in range(3)]
    queue.put_back(first)
    assert [queue.take() for _ in range(3)] == first
    assert taken(queue) == [("b", 1), ("a", 2)]


def test_the_fewest_items_of_a_party_show_whether_somebody_has_little_to_wait_for() -> None:
    assert (FairQueue[int]().fewest, filled(a=9).fewest, filled(a=9, b=2).fewest) == (0, 9, 2)


@given(st.lists(st.one_of(st.sampled_from("abc"), st.integers(1, 5)), max_size=60))
def test_nothing_is_lost_doubled_or_overtaken_by_its_own_party(steps: list[str | int]) -> None:
    queue: FairQueue[int] = FairQueue()
    put: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    got: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    for number, step in enumerate(steps):
        if isinstance(step, str):
            queue.put(step, number)
            put[step].append(number)
        elif len(queue) >= step:
            batch = [queue.take() for _ in range(step)]
            if step % 2:
                queue.put_back(batch)
            else:
                for party, item in batch:
                    got[party].append(item)
    for party, item in taken(queue):
        got[party].append(item)
    assert got == put
