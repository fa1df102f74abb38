"""The world: what is kept from one world to the next is always what the entries of the new one give."""

import hashlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.contracts.network import Network, Window
from swarmlearning.ledger.world import World

KEYS = ("network/a", "network/b", "node/a", "node/b", "window/a", "window/b", "window/c")


def window(number: int) -> Window:
    return Window(incarnation=number, highest=0, seen=0, last_height=0)


def numbers(found: Sequence[Window]) -> list[int]:
    return [each.incarnation for each in found]


def plain_state_hash(world: World) -> str:
    """By the definition in docs/protocol.md, with nothing kept."""
    entries = world.entries
    lines = [f"{key} {hashlib.sha256(canonical(entries[key])).hexdigest()}\n" for key in sorted(entries)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@given(st.lists(st.tuples(st.integers(0, 3), st.dictionaries(st.sampled_from(KEYS), st.integers(0, 2))), max_size=12))
def test_the_state_hash_of_every_world_is_that_of_its_entries_whatever_was_hashed_before(
    changes: list[tuple[int, dict[str, int]]],
) -> None:
    worlds = [World()]
    for back, entries in changes:
        changed = worlds[-1 - back % len(worlds)].with_entries({key: window(number) for key, number in entries.items()})
        assert changed.state_hash() == plain_state_hash(changed)
        worlds.append(changed)
    assert [world.state_hash() for world in worlds] == [plain_state_hash(world) for world in worlds]


def test_an_area_lists_its_entries_by_key() -> None:
    world = World().with_entries({"window/b": window(2), "window/a": window(1), "node/c": window(3)})
    assert numbers(world.area("window/", Window)) == [1, 2]
    changed = world.with_entries({"window/0": window(0), "window/b": window(4)})
    assert numbers(changed.area("window/", Window)) == [0, 1, 4]
    assert numbers(world.area("window/", Window)) == [1, 2]
    assert changed.area("quarantine/", Window) == ()


def test_what_follows_from_an_area_is_computed_again_only_when_an_entry_of_that_area_has_changed() -> None:
    computed = []

    def highest(windows: tuple[Window, ...]) -> int:
        computed.append(len(windows))
        return max(each.incarnation for each in windows)

    world = World().with_entries({"window/a": window(1)})
    same = world.with_entries({"node/a": window(7), "window/a": world.entries["window/a"]})
    assert (world.derived("window/", Window, highest), same.derived("window/", Window, highest)) == (1, 1)
    assert computed == [1]
    changed = same.with_entries({"window/b": window(5)})
    assert (changed.derived("window/", Window, highest), world.derived("window/", Window, highest)) == (5, 1)
    assert computed == [1, 2]


@pytest.mark.parametrize("read", [World.get, World.area])
def test_an_entry_of_another_kind_than_the_reader_expects_is_an_error(
    read: Callable[[World, str, type[Window]], object],
) -> None:
    world = World().with_entries({"network": Network("name", "sn-1", 1, 1)})
    with pytest.raises(TypeError, match="network holds a Network, not a Window"):
        read(world, "network", Window)


def test_a_world_without_changes_is_the_same_world() -> None:
    world = World().with_entries({"window/a": window(1)})
    assert world.with_entries({"window/a": world.entries["window/a"]}) is world


def test_a_world_without_some_of_its_entries_is_one_that_never_had_them_and_the_former_one_stays_as_it_was() -> None:
    both = World().with_entries({"window/a": window(1), "window/b": window(2), "node/a": window(3)})
    before = both.state_hash()
    some = both.without(["window/b", "node/a", "node/unknown"])
    assert some.entries == {"window/a": window(1)}
    assert some.state_hash() == World().with_entries({"window/a": window(1)}).state_hash()
    assert numbers(some.area("window/", Window)) == [1]
    assert (both.state_hash(), len(both), len(some)) == (before, 3, 1)
    assert both.with_entries({"window/c": window(4)}).state_hash() == plain_state_hash(
        both.with_entries({"window/c": window(4)})
    )
    assert both.without(["unknown/a"]) is both
