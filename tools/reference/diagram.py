"""State diagrams as SVG that takes its colours from the page."""

from collections.abc import Mapping, Sequence
from math import hypot
from typing import Final, NamedTuple

WIDTH: Final = 110
HEIGHT: Final = 40
ACROSS: Final = 250
DOWN: Final = 160
ASIDE: Final = 11
"""How far the two ways between two states lie beside the line between their centres."""


class Edge(NamedTuple):
    """A way from one state to another, and what leads there."""

    start: str
    end: str
    label: str


def diagram(title: str, places: Mapping[str, tuple[int, int]], edges: Sequence[Edge]) -> str:
    """States at their places (column, row), and the ways between them; those of the same two states share an arrow."""
    labels: dict[tuple[str, str], list[str]] = {}
    for edge in edges:
        labels.setdefault((edge.start, edge.end), []).append(edge.label)
    centres = {name: (WIDTH + column * ACROSS, HEIGHT + row * DOWN) for name, (column, row) in places.items()}
    width, height = (max(values) + WIDTH for values in zip(*centres.values(), strict=True))
    parts = [
        _arrow(centres[start], centres[end], texts, ASIDE if (end, start) in labels else 0)
        for (start, end), texts in labels.items()
    ]
    parts += [_state(name, *centre) for name, centre in centres.items()]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height - WIDTH + HEIGHT}" role="img" '
        f'aria-label="{title}" font-family="sans-serif" font-size="13" fill="currentColor" stroke="none">\n'
        '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
        'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="currentColor"/></marker></defs>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _state(name: str, x: float, y: float) -> str:
    return (
        f'<rect x="{x - WIDTH / 2}" y="{y - HEIGHT / 2}" width="{WIDTH}" height="{HEIGHT}" rx="8" fill="none" '
        f'stroke="currentColor" stroke-width="1.5"/><text x="{x}" y="{y + 5}" text-anchor="middle" '
        f'font-weight="bold">{name}</text>'
    )


def _arrow(start: tuple[float, float], end: tuple[float, float], texts: list[str], aside: int) -> str:
    (x1, y1), (x2, y2) = start, end
    length = hypot(x2 - x1, y2 - y1)
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    out = min(WIDTH / 2 / abs(dx) if dx else length, HEIGHT / 2 / abs(dy) if dy else length)
    x1, y1, x2, y2 = x1 - dy * aside, y1 + dx * aside, x2 - dy * aside, y2 + dx * aside
    along = 0.7 if dx and dy else 0.5  # labels of slanting ways stay clear of those that they cross
    middle_x, middle_y = x1 + along * (x2 - x1), y1 + along * (y2 - y1)
    line = (
        f'<path d="M{x1 + dx * out:.0f} {y1 + dy * out:.0f}L{x2 - dx * out:.0f} {y2 - dy * out:.0f}" '
        'stroke="currentColor" fill="none" marker-end="url(#arrow)"/>'
    )
    anchor, shift = ("middle", 0.0) if abs(dx) > abs(dy) else ("start" if dy < 0 else "end", 8.0 if dy < 0 else -8.0)
    up = -8 - 14 * (len(texts) - 1) if dx < 0 else 16
    lines = (
        f'<text x="{middle_x + shift:.0f}" y="{middle_y + (up if not shift else -4) + 14 * number:.0f}" '
        f'text-anchor="{anchor}">{text}</text>'
        for number, text in enumerate(texts)
    )
    return line + "".join(lines)
