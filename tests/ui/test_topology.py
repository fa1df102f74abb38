"""The drawing of the swarm: nothing overlaps, nothing is outside, every node has its place."""

from itertools import combinations

import pytest

from swarmlearning.ui.pages.topology import Card, Group, Site, drawing


def sites(kind: str, count: int, organisations: int = 1) -> list[Site]:
    """So many nodes, of so many organisations in turn; one name is long."""
    names = [f"{kind}-{number}" for number in range(count - 1)] + ["a name that is far too long for any card " * 3]
    return [
        Site(f"{kind}/{at}", kind, name, "alive", f"org-{at % organisations}", "what it does " * 9, at / count)
        for at, name in enumerate(names[:count])
    ]


def apart(one: Card | Group, other: Card | Group) -> bool:
    return (
        one.x + one.width <= other.x
        or other.x + other.width <= one.x
        or one.y + one.height <= other.y
        or other.y + other.height <= one.y
    )


@pytest.mark.parametrize(
    ("sns", "swops", "sls", "organisations"),
    [
        (1, 0, 0, 1),
        (1, 0, 3, 1),
        (3, 2, 8, 2),
        (7, 8, 64, 4),
        (1, 1, 64, 1),
        (9, 0, 64, 16),
        (0, 0, 0, 1),
        (3, 12, 0, 12),
    ],
)
def test_every_node_has_a_place_of_its_own(sns: int, swops: int, sls: int, organisations: int) -> None:
    pairs = sites("SL", sls, organisations)
    started = {pair.uid: f"SWOP/{at % (swops + 1)}" for at, pair in enumerate(pairs)}  # some by nobody
    made = drawing(sites("SN", sns), sites("SWOP", swops, organisations), pairs, started)
    heads = [group.swop for group in made.groups if group.swop]
    inside = [card for group in made.groups for card in group.cards]
    cards = [*made.sns, *heads, *inside]
    assert sorted(card.site.uid for card in cards) == sorted(
        [*(f"SN/{at}" for at in range(sns)), *(f"SWOP/{at}" for at in range(swops)), *(pair.uid for pair in pairs)]
    )
    assert all(apart(one, other) for one, other in combinations(cards, 2))
    assert all(apart(one, other) for one, other in combinations(made.groups, 2))
    boxes: list[Card | Group] = [*cards, *made.groups]
    assert all(each.x >= 0 and each.x + each.width <= made.width for each in boxes)
    assert all(each.y >= 0 and each.y + each.height <= made.height for each in boxes)
    for group in made.groups:
        for card in (*group.cards, *([group.swop] if group.swop else [])):
            assert group.x <= card.x
            assert card.x + card.width <= group.x + group.width
            assert card.y + card.height <= group.y + group.height
    assert all(card.done is None or 0 <= card.done <= card.width for card in cards)


def test_a_long_name_is_cut_and_a_pair_stands_with_the_swop_that_has_started_it() -> None:
    pairs = sites("SL", 3)
    made = drawing(sites("SN", 1), sites("SWOP", 1), pairs, {pairs[0].uid: "SWOP/0", pairs[1].uid: "gone"})
    with_swop, alone = made.groups
    assert [card.site.uid for card in with_swop.cards] == ["SL/0"]
    assert [card.site.uid for card in alone.cards] == ["SL/1", "SL/2"]
    assert alone.cards[1].label.endswith("…")
