"""The timeline as SVG: a line for each training with its rounds, and one for each node with its part in them.

Rounds get an equal width each where they last long or pause: so that a training over weeks is still read round by
round, time runs at the same speed only within what lies between two marks of the axis.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from swarmlearning.collect.style import shown
from swarmlearning.views.chronicle import Chronicle, Span
from swarmlearning.views.render import clock

LEFT: Final = 190
RIGHT: Final = 24
TOP: Final = 44
ROW: Final = 26
LEAST_WIDTH: Final = 1050
MOST_WIDTH: Final = 12_000
ROUND_WIDTH: Final = 22
MOST_ROWS: Final = 72
MOST_MARKS: Final = 4000
LONGEST_NAME: Final = 24
MARK_WIDTH: Final = 150

ROUND: Final = "#9fc5e8"
OPEN: Final = "#dbe9f6"
SUBMITTED: Final = "#1e6b3a"
LED: Final = "#0b57a4"
LOST: Final = "#f4c7c3"
COLOURS: Final = {"warning": "#d39a1f", "fault": "#b3261e"}


class _Axis:
    """Time to place: what happens between two rounds' ends has the same width, however long it took."""

    def __init__(self, chronicle: Chronicle) -> None:
        first, last = chronicle.first_ms, max(chronicle.last_ms, chronicle.first_ms + 1)
        ends = sorted({span.ended_ms for span in chronicle.rounds if first < span.ended_ms < last})
        self._width = min(MOST_WIDTH, max(LEAST_WIDTH, ROUND_WIDTH * len(ends)))
        times = [first, *ends, last]
        even, linear = 0.75, 0.25  # mostly by round, and a little by time: a long pause is seen
        self._times = times
        self._places = [
            LEFT + self._width * (even * number / (len(times) - 1) + linear * (time - first) / (last - first))
            for number, time in enumerate(times)
        ]

    @property
    def right(self) -> float:
        """Where it ends."""
        return LEFT + self._width

    def __call__(self, time_ms: int) -> float:
        """The place of this time; at the edge for one that lies beyond."""
        if time_ms <= self._times[0]:
            return self._places[0]
        if time_ms >= self._times[-1]:
            return self._places[-1]
        number = bisect_right(self._times, time_ms)
        share = (time_ms - self._times[number - 1]) / (self._times[number] - self._times[number - 1])
        return self._places[number - 1] + share * (self._places[number] - self._places[number - 1])

    def marks(self) -> Iterator[tuple[float, int]]:
        """Places and times to write on it, not too close to each other."""
        at = float("-inf")
        for place, time in zip(self._places, self._times, strict=True):
            if place - at >= MARK_WIDTH and place + MARK_WIDTH / 2 <= self.right + RIGHT:
                at = place
                yield place, time


def drawing(chronicle: Chronicle) -> str:
    """The SVG."""
    axis = _Axis(chronicle)
    contracts = list(dict.fromkeys(span.contract for span in chronicle.rounds))[:8]
    nodes = list(chronicle.seen)[: MOST_ROWS - len(contracts)]
    rows = {name: TOP + ROW * number for number, name in enumerate(contracts)}
    lines = {uid: TOP + ROW * (len(contracts) + number) + 10 for number, uid in enumerate(nodes)}
    height = TOP + ROW * (len(contracts) + len(nodes)) + 24
    left_out = len(chronicle.seen) - len(nodes)
    return "".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="Rounds and faults over time" '
            f'width="{axis.right + RIGHT:.0f}" height="{height}" font-family="system-ui, sans-serif" font-size="12">',
            *_scale(axis, height),
            *(_label(name, y, "700") for name, y in rows.items()),
            *(_label(chronicle.name(uid), y, "400") for uid, y in lines.items()),
            *_absences(chronicle, axis, lines),
            *(
                part
                for span in list(chronicle.rounds)[-MOST_MARKS:]
                for part in _round(span, chronicle, axis, rows, lines)
            ),
            *_marks(chronicle, axis, lines),
            f'<text x="8" y="{height - 8}" fill="#5b6875">and {left_out} more nodes</text>' if left_out > 0 else "",
            "</svg>",
        )
    )


def _scale(axis: _Axis, height: int) -> Iterator[str]:
    for place, time in axis.marks():
        yield f'<line x1="{place:.1f}" x2="{place:.1f}" y1="{TOP - 12}" y2="{height - 20}" stroke="#d9e0e7"/>'
        yield f'<text x="{place:.1f}" y="{TOP - 20}" fill="#5b6875" text-anchor="middle">{shown(clock(time))}</text>'


def _label(name: str, y: float, weight: str) -> str:
    short = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    return f'<text x="8" y="{y + 13}" font-weight="{weight}">{shown(short)}<title>{shown(name)}</title></text>'


def _absences(chronicle: Chronicle, axis: _Axis, lines: dict[str, int]) -> Iterator[str]:
    for absence in chronicle.absences:
        if absence.uid in lines:
            left, right = axis(absence.from_ms), axis(absence.to_ms or chronicle.last_ms)
            until = clock(absence.to_ms) if absence.to_ms else "the end"
            said = f"{chronicle.name(absence.uid)} is lost from {clock(absence.from_ms)} to {until}"
            yield _box(left, lines[absence.uid] + 2, max(3.0, right - left), 15, LOST, said)


def _round(span: Span, chronicle: Chronicle, axis: _Axis, rows: dict[str, int], lines: dict[str, int]) -> Iterator[str]:
    if span.contract not in rows:
        return
    left, right = axis(span.begun_ms), axis(span.ended_ms or chronicle.last_ms)
    names = ", ".join(chronicle.name(uid) for uid in span.contributed) or "nobody yet"
    seconds = ((span.ended_ms or chronicle.last_ms) - span.begun_ms) / 1000
    lead = f", led by {chronicle.name(span.leader)}" if span.leader else ""
    end = f"ended {clock(span.ended_ms)}" if span.ended_ms else "still open"
    said = f"round {span.round}: {end}, {seconds:.0f} s{lead}; in it: {names}"
    width, y = max(2.0, right - left - 1), rows[span.contract]
    yield _box(left, y + 2, width, 16, ROUND if span.ended_ms else OPEN, said)
    if width >= 9 * len(str(span.round)):
        yield f'<text x="{left + width / 2:.1f}" y="{y + 14}" text-anchor="middle" fill="#1c2733">{span.round}</text>'
    for uid, time_ms in span.submitted.items():
        if uid in lines:
            said = f"{chronicle.name(uid)}: model of round {span.round} in {clock(time_ms)}"
            yield _box(axis(time_ms) - 2, lines[uid] + 5, 4, 9, SUBMITTED, said)
    if span.leader in lines and span.ended_ms:
        said = f"{chronicle.name(span.leader)}: merged round {span.round} {clock(span.ended_ms)}"
        yield _box(axis(span.ended_ms) - 2, lines[span.leader] + 2, 4, 15, LED, said)


def _marks(chronicle: Chronicle, axis: _Axis, lines: dict[str, int]) -> Iterator[str]:
    for event in list(chronicle.events)[-MOST_MARKS:]:
        if event.level != "note" and event.uid in lines:
            x, y = axis(event.time_ms), lines[event.uid] + 9.5
            said = f"{clock(event.time_ms)} {chronicle.name(event.uid)} {event.text}"
            shape = f"M{x - 6:.1f} {y + 5:.1f}L{x + 6:.1f} {y + 5:.1f}L{x:.1f} {y - 6:.1f}Z"
            yield f'<path d="{shape}" fill="{COLOURS[event.level]}"><title>{shown(said)}</title></path>'


def _box(x: float, y: float, width: float, height: float, colour: str, said: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2" fill="{colour}">'
        f"<title>{shown(said)}</title></rect>"
    )
