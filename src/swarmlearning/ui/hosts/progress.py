"""Work on many hosts at a time: what happens on each, as events, and the end of it all on request."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from swarmlearning.errors import UserError, first_cause

AT_ONCE: Final = 8
"""Hosts at which work goes on at the same time."""

SILENT_SECONDS: Final = 1800.0
"""Work of which nothing is heard for so long is ended: the longest command that tells nothing meanwhile has half of it.
Whoever waits for others, and tells so, is not meant: those others have their own time."""

State: TypeAlias = Literal["waiting", "running", "done", "failed", "cancelled"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """How a step of a host stands; without a step: how the host stands. `step` is a key of texts, `detail` a text.

    `done` of `total` bytes or parts; 0 where there is nothing to count.
    """

    at_ms: int
    host: str
    step: str = ""
    state: State
    detail: str = ""
    done: int = 0
    total: int = 0


class Tell(Protocol):
    """Tells how a step of the host stands; it never waits, and may be called for every byte."""

    def __call__(self, step: str, state: State, detail: str = "", done: int = 0, total: int = 0) -> None: ...


Work: TypeAlias = Callable[[Tell], Awaitable[str]]
"""The work on one host; returns a line on what it came to. Raises `UserError`."""


def silent(step: str, state: State, detail: str = "", done: int = 0, total: int = 0) -> None:
    """A `Tell` that tells nobody."""


class Board:
    """The newest event of each step, until somebody has read it: a slow reader costs nothing, and never delays work."""

    def __init__(self) -> None:
        self._unread: dict[tuple[str, str], Event] = {}
        self._some = asyncio.Event()

    def tell(self, host: str) -> Tell:
        """What the work on this host tells by."""

        def tell(step: str, state: State, detail: str = "", done: int = 0, total: int = 0) -> None:
            now_ms = time.time_ns() // 1_000_000
            event = Event(at_ms=now_ms, host=host, step=step, state=state, detail=detail, done=done, total=total)
            self._unread.pop((host, step), None)  # so that it goes to the end
            self._unread[host, step] = event
            self._some.set()

        return tell

    def wake(self) -> None:
        """Ends the wait of whoever reads, though there may be nothing new."""
        self._some.set()

    async def read(self) -> list[Event]:
        """Waits until there are events, and takes them, in the order of their last change; none after `wake`."""
        await self._some.wait()
        self._some.clear()
        taken = list(self._unread.values())
        self._unread.clear()
        return taken


class HostsJob:
    """Work on hosts, on so many of them at a time. It begins when its events are read. `silent`: seconds after which
    work that tells nothing is ended; None: it has time limits of its own."""

    def __init__(
        self, works: Mapping[str, Work], at_once: int = AT_ONCE, silent: float | None = SILENT_SECONDS
    ) -> None:
        self._works = works
        self._at_once = at_once
        self._silent = silent
        self._tasks: list[asyncio.Task[None]] = []
        self._cancelled = False

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of the hosts."""
        return tuple(self._works)

    def cancel(self) -> None:
        """Ends what is under way, and begins nothing more; the events go on until all have ended."""
        self._cancelled = True
        for task in self._tasks:
            task.cancel()

    async def events(self) -> AsyncIterator[Event]:
        """What happens, until all hosts have ended. A host that fails stops no other.

        Closing the iterator, or cancelling whoever reads it, ends all that is under way, too. Raises what no work may
        raise: anything but `UserError` is a defect, and is raised once all have ended.
        """
        board, free = Board(), asyncio.Semaphore(self._at_once)
        for host in self._works:
            board.tell(host)("", "cancelled" if self._cancelled else "waiting")
        begun = {} if self._cancelled else self._works
        self._tasks += [
            asyncio.create_task(_on_host(work, board.tell(host), free, self._silent)) for host, work in begun.items()
        ]
        ending = asyncio.gather(*self._tasks, return_exceptions=True)
        ending.add_done_callback(lambda _: board.wake())
        try:
            await asyncio.sleep(0)  # all have begun then, so that each tells of its end even if it is cancelled
            ended = False
            while not ended:
                read = await board.read()
                ended = ending.done()
                for event in read:
                    yield event
        finally:
            self.cancel()
            await asyncio.wait([ending])
        for task in self._tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error


async def _on_host(work: Work, tell: Tell, free: asyncio.Semaphore, silent: float | None) -> None:
    """The work on one host once a place is free, and its end told."""
    try:
        async with free:
            tell("", "running")
            tell("", "done", await _heard(work, tell, silent))
    except UserError as error:
        tell("", "failed", str(error))
    except asyncio.CancelledError:
        tell("", "cancelled")
        raise
    except ExceptionGroup as group:
        cause = first_cause(group)
        tell("", "failed", str(cause) if isinstance(cause, UserError) else _DEFECT)
        if not isinstance(cause, UserError):
            raise
    except Exception:
        tell("", "failed", _DEFECT)
        raise


async def _heard(work: Work, tell: Tell, seconds: float | None) -> str:
    """The work, which is ended once nothing has been heard of it for so long. Raises `UserError` then."""
    if seconds is None:
        return await work(tell)
    now = asyncio.get_running_loop().time
    limit = asyncio.timeout(seconds)

    def told(step: str, state: State, detail: str = "", done: int = 0, total: int = 0) -> None:
        if not (ended or limit.expired()):
            limit.reschedule(None if state == "waiting" else now() + seconds)
        tell(step, state, detail, done, total)

    ended = False
    try:
        async with limit:
            return await work(told)
    except TimeoutError:
        if not limit.expired():
            raise
        raise UserError(
            f"nothing has been heard of this host for {seconds / 60:.0f} minutes, so the work on it was ended: look at "
            "the host and the line to it, and begin again; what is done already is not done twice"
        ) from None
    finally:
        ended = True


_DEFECT: Final = "an error that nobody expected; the UI's log has its traceback"
