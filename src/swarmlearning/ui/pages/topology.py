"""The swarm as a drawing: SNs on a bus, and below it a group for each SWOP and for each organisation's other SLs.

Here is where each thing stands, in pixels; `templates/topology.html` draws it. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

WIDTH: Final = 1096
"""The widest drawing; a narrower screen scrolls in it."""
GAP: Final = 14
MARGIN: Final = 12
HEAD: Final = 26
"""Height of a group's head."""
FEW: Final = 24
"""So many SLs have large cards, more of them small ones."""
LETTER: Final = 7.2
"""Width of a letter of a card."""


class Site(msgspec.Struct, frozen=True):
    """A node to be drawn. `state`: as the ledger and SNs have it; `detail`: a line about what it does; `share`: of its
    epochs that are done, None where it does not train; `marks`: short words such as `founder`."""

    uid: str
    kind: str
    name: str
    state: str
    organisation: str = ""
    detail: str = ""
    share: float | None = None
    marks: tuple[str, ...] = ()


class Card(msgspec.Struct, frozen=True):
    """A node in its place. `label` is the name as far as there is room; `done`: pixels of the bar of its progress."""

    site: Site
    x: int
    y: int
    width: int
    height: int
    label: str
    detail: str
    done: int | None = None


class Group(msgspec.Struct, frozen=True):
    """SLs that one SWOP has started, or an organisation's others; `swop` is None for the latter. `top`: where the line
    from the bus ends, at `middle`."""

    title: str
    x: int
    y: int
    width: int
    height: int
    middle: int
    cards: tuple[Card, ...]
    swop: Card | None = None


class Drawing(msgspec.Struct, frozen=True):
    """All of it; `bus` is the height of the line that joins SNs and groups, `reach` where it ends."""

    width: int
    height: int
    bus: int
    reach: int
    sns: tuple[Card, ...]
    groups: tuple[Group, ...]


def drawing(sns: Sequence[Site], swops: Sequence[Site], sls: Sequence[Site], started_by: Mapping[str, str]) -> Drawing:
    """The drawing of these nodes; `started_by`: of an SL the SWOP that has started it, by UID."""
    size = (168, 60) if len(sls) <= FEW else (118, 34)
    row, height = _rows(sns, MARGIN, MARGIN, WIDTH - 2 * MARGIN, (168, 60))
    bus = MARGIN + height + GAP
    groups: list[Group] = []
    x, y, tallest = MARGIN, bus + 2 * GAP, 0
    for title, swop, members in _grouped(swops, sls, started_by):
        made = _group(title, swop, members, size)
        if x > MARGIN and x + made.width > WIDTH - MARGIN:
            x, y, tallest = MARGIN, y + tallest + GAP, 0
        groups.append(_moved(made, x, y))
        x, tallest = x + made.width + GAP, max(tallest, made.height)
    bottom = y + tallest if groups else bus
    ends = [each.x + each.width for each in groups] + [each.x + each.width for each in row]
    reach = max(ends, default=WIDTH - MARGIN)
    return Drawing(reach + MARGIN, bottom + MARGIN, bus, reach, tuple(row), tuple(groups))


def _grouped(
    swops: Sequence[Site], sls: Sequence[Site], started_by: Mapping[str, str]
) -> Iterable[tuple[str, Site | None, list[Site]]]:
    """Title, SWOP and SLs of each group."""
    known = {each.uid for each in swops}
    for swop in swops:
        yield swop.organisation, swop, [each for each in sls if started_by.get(each.uid) == swop.uid]
    alone = [each for each in sls if started_by.get(each.uid) not in known]
    for organisation in dict.fromkeys(each.organisation for each in alone):
        yield organisation, None, [each for each in alone if each.organisation == organisation]


def _group(title: str, swop: Site | None, members: Sequence[Site], size: tuple[int, int]) -> Group:
    """A group at the origin, as wide as its cards need, in a shape that is no tower."""
    columns = max(1, min(len(members), 6 if size[0] > 150 else 8, _columns(len(members))))
    width = max(columns * (size[0] + GAP) - GAP, 168 if swop else 120) + 2 * GAP
    top = HEAD
    head = None
    if swop is not None:
        head = _card(swop, GAP, top, (width - 2 * GAP, 40))
        top += 40 + GAP
    cards, height = _rows(members, GAP, top, width - 2 * GAP, size)
    bottom = top + height if members else top - GAP
    return Group(title, 0, 0, width, bottom + GAP, width // 2, tuple(cards), head)


def _columns(count: int) -> int:
    """Columns for so many cards: four in one row, more in a wide block."""
    return count if count <= 4 else max(4, round((2.2 * count) ** 0.5))


def _rows(sites: Sequence[Site], left: int, top: int, width: int, size: tuple[int, int]) -> tuple[list[Card], int]:
    """Cards from left to right in as many rows as they need, and the height of all."""
    columns = max(1, (width + GAP) // (size[0] + GAP))
    cards = [
        _card(each, left + at % columns * (size[0] + GAP), top + at // columns * (size[1] + GAP), size)
        for at, each in enumerate(sites)
    ]
    rows = -(-len(sites) // columns)
    return cards, max(0, rows * (size[1] + GAP) - GAP)


def _card(site: Site, x: int, y: int, size: tuple[int, int]) -> Card:
    width, height = size
    letters = int((width - 36) / LETTER)
    done = None if site.share is None else round(min(1.0, max(0.0, site.share)) * (width - 20))
    detail = _cut(site.detail, int((width - 20) / 6.2)) if height >= 40 else ""
    return Card(site, x, y, width, height, _cut(site.name, letters), detail, done)


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _moved(group: Group, x: int, y: int) -> Group:
    def moved(card: Card) -> Card:
        return msgspec.structs.replace(card, x=card.x + x, y=card.y + y)

    return msgspec.structs.replace(
        group,
        x=x,
        y=y,
        middle=group.middle + x,
        cards=tuple(map(moved, group.cards)),
        swop=moved(group.swop) if group.swop else None,
    )
