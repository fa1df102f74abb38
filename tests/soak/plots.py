"""Plots of series over time as SVG, without a library: the same series give the same bytes."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import floor, log10

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666", "#000000")
WIDTH, HEIGHT = 760, 240
LEFT, RIGHT, TOP, BOTTOM = 60, 150, 30, 30

Points = Sequence[tuple[float, float]]


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.4g} min"


def plot(
    title: str,
    unit: str,
    series: Mapping[str, Points],
    label: Callable[[float], str] = minutes,
    base: float = 0.0,
) -> str:
    """An SVG with a line for each series of (seconds, value).

    The axis of values begins at `base`; `label`: the text at a place of the other axis, which begins at 0.
    """
    series = {name: [(at, value - base) for at, value in points] for name, points in series.items()}
    seconds = max((at for points in series.values() for at, _ in points), default=1.0) or 1.0
    most = max((value for points in series.values() for _, value in points), default=1.0) or 1.0
    step = tick(most)
    top = step * (floor(most / step) + 1)
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(at: float, value: float) -> str:
        return f"{LEFT + across * at / seconds:.1f},{TOP + down * (1 - value / top):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="11" fill="#333" role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="18" font-size="13" font-weight="bold">{escape(title)}</text>',
    ]
    for mark in range(floor(top / step) + 1):
        y = TOP + down * (1 - mark * step / top)
        parts.append(f'<path d="M{LEFT},{y:.1f}h{across}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{base + mark * step:g} {escape(unit)}</text>'
        )
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = LEFT + across * share
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - 10}" text-anchor="middle">{escape(label(seconds * share))}</text>'
        )
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(place(at, value) for at, value in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.2"/>')
        y = TOP + 12 + 16 * number
        parts.append(f'<text x="{WIDTH - RIGHT + 12}" y="{y}" fill="{colour}">{escape(name)}</text>')
    return "\n".join((*parts, "</svg>")) + "\n"


def tick(most: float) -> float:
    """A round distance of lines, so that there are two to five up to this value."""
    power = float(10 ** floor(log10(most)))
    return next(step * power for step in (0.2, 0.5, 1.0, 2.0) if most / (step * power) <= 5)
