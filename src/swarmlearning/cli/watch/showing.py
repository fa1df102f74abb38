"""Shows what is seen: a dashboard where there is a terminal, else a snapshot after each change."""

from collections.abc import AsyncGenerator, Hashable, Iterator
from contextlib import aclosing
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from swarmlearning.cli.console import shows
from swarmlearning.cli.watch.drawing import ASCII, UNICODE, Marks
from swarmlearning.cli.watch.screen import Size, alert_lines, heading, lines, training_lines
from swarmlearning.operator.asking import Seen
from swarmlearning.views.names import displayed
from swarmlearning.views.told import alerts_of

FRAMES_PER_SECOND = 2
SNAPSHOT_WIDTH = 200
LINES = 1000
"""Of alerts, and of trainings: a snapshot has them all."""


async def watch(console: Console, states: AsyncGenerator[Seen, None]) -> None:
    """Shows every state until cancelled. Raises what the states end with."""
    async with aclosing(states) as seen:
        await _show(console, seen)


async def _show(console: Console, seen: AsyncGenerator[Seen, None]) -> None:
    if console.is_terminal:
        view = _View(Seen(), marks_of(console))
        with Live(view, console=console, screen=True, refresh_per_second=FRAMES_PER_SECOND):
            async for view.seen in seen:
                pass
        return
    last: Hashable = None
    async for state in seen:
        if (now := essence(state)) != last:
            last = now
            for line in snapshot(state, state.now_ms(), marks_of(console)):
                console.print(line, soft_wrap=True)
            console.print()


def marks_of(console: Console) -> Marks:
    """What the console can show."""
    return UNICODE if shows(console, "".join(UNICODE)) else ASCII


class _View:
    """The newest state as it is when the screen is drawn: times go on meanwhile, and a terminal may change its size."""

    def __init__(self, seen: Seen, marks: Marks) -> None:
        self.seen = seen
        self._marks = marks

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        size = Size(options.max_width, options.height or console.height)
        yield Text("\n").join(lines(self.seen, size, self.seen.now_ms(), self._marks))


def snapshot(seen: Seen, now_ms: int, marks: Marks) -> Iterator[Text]:
    """All that is wrong, all rounds, and the nodes in trouble."""
    assert seen.found is not None
    alerts = alerts_of(seen.found, now_ms)
    names = {node["uid"]: displayed(node["name"]) for node in seen.found["nodes"]}
    yield from heading(seen, alerts, SNAPSHOT_WIDTH, now_ms, marks)
    yield from alert_lines(alerts, SNAPSHOT_WIDTH, LINES, marks)
    yield from training_lines(seen.found, names, SNAPSHOT_WIDTH, now_ms, marks, LINES)


def essence(seen: Seen) -> Hashable:
    """What makes a change worth a snapshot: alerts, rounds, who is there; not figures that change all the time."""
    if seen.found is None:
        return None
    found: Any = seen.found
    alerts = frozenset((each.code, each.subject, each.severity) for each in alerts_of(found, seen.now_ms()))
    trainings = tuple(
        (each["name"], each["rounds"], each["over"], each["waiting"]["phase"]) for each in found["trainings"]
    )
    there = frozenset((node["uid"], node["state"]) for node in found["nodes"])
    sns = tuple((each["name"], each["present"]) for each in found["sns"])
    return alerts, trainings, there, sns, seen.outage is not None
