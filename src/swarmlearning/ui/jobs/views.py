"""What is known of a job: made of the events of its work, bounded whatever these say. Pure."""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from swarmlearning.ui.hosts.progress import Event, State
from swarmlearning.views.names import displayed

JobState: TypeAlias = Literal["running", "done", "failed", "cancelled", "interrupted"]
"""`failed`: on one host at least; `interrupted`: the UI has ended before it."""

MOST_TEXT: Final = 128 * 1024
"""Characters of all details of a job, about."""
MOST_STEPS: Final = 16
"""Steps of a host that are kept, the last ones."""
LONGEST_DETAIL: Final = 2000
SHORTEST_DETAIL: Final = 200
LONGEST_NAME: Final = 300
_UNDER_WAY: Final = ("waiting", "running")


class StepProgress(msgspec.Struct, frozen=True):
    """A step on a host; `name` is a key of texts (`jobs.step-NAME`). `done` of `total` bytes or parts; 0 where there is
    nothing to count."""

    name: str
    state: State
    detail: str = ""
    done: int = 0
    total: int = 0
    at_ms: int = 0


class HostProgress(msgspec.Struct, frozen=True):
    """The work on a host; `detail`: what came of it, or why it has failed."""

    host: str
    state: State
    detail: str = ""
    at_ms: int = 0
    steps: tuple[StepProgress, ...] = ()


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job. `title` is a key of texts, with these values in it; `by` has begun it, `cancelled_by` has asked for its
    end; Unix milliseconds. `to`: the page to go on with once it is done."""

    id: int
    title: str
    values: dict[str, str] = {}
    by: str
    started_ms: int
    ended_ms: int | None = None
    state: JobState = "running"
    cancelled_by: str = ""
    to: str = ""
    hosts: tuple[HostProgress, ...] = ()

    @property
    def over(self) -> int:
        """The number of hosts on which nothing more is done."""
        return sum(each.state not in _UNDER_WAY for each in self.hosts)


class Progress:
    """How far a job is, by its events."""

    def __init__(self, hosts: tuple[str, ...]) -> None:
        self._hosts = {host: HostProgress(displayed(host, LONGEST_NAME), "waiting") for host in hosts}
        each = MOST_TEXT // max(1, len(hosts))
        self._longest = min(LONGEST_DETAIL, max(SHORTEST_DETAIL, each // 2))
        self._longest_step = min(LONGEST_DETAIL, max(SHORTEST_DETAIL // 2, each // 2 // MOST_STEPS))

    @property
    def hosts(self) -> tuple[HostProgress, ...]:
        """All of them, in their order."""
        return tuple(self._hosts.values())

    def note(self, event: Event) -> None:
        """Something has happened; what is of no host of this job is left out."""
        known = self._hosts.get(event.host)
        if known is None:
            return
        if not event.step:
            detail = displayed(event.detail, self._longest)
            changed = msgspec.structs.replace(known, state=event.state, detail=detail, at_ms=event.at_ms)
            if event.state not in _UNDER_WAY:
                changed = _settled(changed)
        else:
            changed = msgspec.structs.replace(known, steps=self._steps(known.steps, event))
        self._hosts[event.host] = changed

    def end(self) -> None:
        """Nothing more will happen: what was not over by then is cancelled, and so is the step that ran last."""
        for host, known in self._hosts.items():
            state: State = "cancelled" if known.state in _UNDER_WAY else known.state
            self._hosts[host] = _settled(msgspec.structs.replace(known, state=state))

    def _steps(self, steps: tuple[StepProgress, ...], event: Event) -> tuple[StepProgress, ...]:
        name, detail = displayed(event.step), displayed(event.detail, self._longest_step)
        made = StepProgress(name, event.state, detail, event.done, event.total, event.at_ms)
        if any(each.name == name for each in steps):
            return tuple(made if each.name == name else each for each in steps)
        return (*steps, made)[-MOST_STEPS:]


def outcome(hosts: tuple[HostProgress, ...]) -> JobState:
    """What came of a job whose hosts are all over."""
    states = {each.state for each in hosts}
    return "failed" if "failed" in states else "cancelled" if "cancelled" in states else "done"


def checked_values(values: Mapping[str, str]) -> dict[str, str]:
    """Values of a title as they may be shown and kept."""
    return {name: displayed(value, LONGEST_NAME) for name, value in values.items()}


def _settled(host: HostProgress) -> HostProgress:
    """A host on which nothing more happens: the step that was under way has ended as the host has."""
    steps = tuple(
        msgspec.structs.replace(each, state=host.state) if each.state in _UNDER_WAY else each for each in host.steps
    )
    return msgspec.structs.replace(host, steps=steps)
