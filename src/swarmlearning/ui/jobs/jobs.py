"""Runs long work beside the pages: bounded, each host in one job at a time, and kept once it has ended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

import msgspec

from swarmlearning.errors import UserError
from swarmlearning.node.clocks import clock_ms
from swarmlearning.ui.hosts.progress import HostsJob
from swarmlearning.ui.jobs.views import JobState, JobView, Progress, checked_values, outcome
from swarmlearning.ui.store.jobs import MOST_KEPT, PastJobs

logger = logging.getLogger("swarm.ui")

MOST_RUNNING: Final = 4
CLOSE_SECONDS: Final = 30.0
"""For jobs to end in good order when the UI stops."""

Done = Callable[[], Awaitable[None]]


class JobFault(UserError):
    """A job cannot begin, or there is none of this number; `key` is the text that says why, with these values."""

    def __init__(self, key: str, english: str, **values: object) -> None:
        super().__init__(english)
        self.key = key
        self.values = values


class _Running:
    """A job that has not ended."""

    def __init__(self, begun: JobView, work: HostsJob, hosts: frozenset[str], done: Done | None) -> None:
        self.begun, self.work, self.hosts, self.done = begun, work, hosts, done
        self.progress = Progress(work.hosts)
        self.cancelled_by = ""
        self.over = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    @property
    def view(self) -> JobView:
        return msgspec.structs.replace(self.begun, cancelled_by=self.cancelled_by, hosts=self.progress.hosts)


class Jobs:
    """`changed` is called whenever a job is not as it was. `close` before the event loop ends."""

    def __init__(self, past: PastJobs, changed: Callable[[], None] = lambda: None) -> None:
        self._past = past
        self._ended = {job.id: job for job in past.load()}
        self._running: dict[int, _Running] = {}
        self._last = max(self._ended, default=0)
        self._changed = changed
        self._closing = False

    def start(
        self,
        title: str,
        by: str,
        work: HostsJob,
        *,
        hosts: Iterable[str] = (),
        values: Mapping[str, str] = {},
        done: Done | None = None,
        to: str = "",
    ) -> JobView:
        """Begins work that `by` has asked for. `title`: the key of a text with these values. `hosts`: the names of
        those that it needs for itself, by address where they are in the list of hosts. `done` is awaited once all hosts
        are over, whatever came of them; `to`: the page to go on with then.

        Raises `JobFault` where another job has one of the hosts, or too many run.
        """
        needed = frozenset(hosts)
        self._require_free(needed)
        self._last += 1
        begun = JobView(id=self._last, title=title, values=checked_values(values), by=by, started_ms=clock_ms(), to=to)
        job = self._running[begun.id] = _Running(begun, work, needed, done)
        job.task = asyncio.create_task(self._run(job), name=f"job {begun.id}")
        self._changed()
        return job.view

    def get(self, number: int) -> JobView | None:
        """The job of this number; None where there is none, or none any more."""
        job = self._running.get(number)
        return job.view if job is not None else self._ended.get(number)

    def all(self) -> list[JobView]:
        """Those that run and those that are kept, the newest first."""
        return sorted(
            (*(job.view for job in self._running.values()), *self._ended.values()), key=lambda job: job.id, reverse=True
        )

    def of_host(self, host: str) -> int | None:
        """The number of the job that has this host for itself."""
        return next((number for number, job in self._running.items() if host in job.hosts), None)

    def cancel(self, number: int, by: str) -> JobView:
        """Ends a job; one that has ended stays as it is. Raises `JobFault` for a number that no job has."""
        job = self._running.get(number)
        if job is not None and not job.cancelled_by:
            job.cancelled_by = by
            job.work.cancel()
            self._changed()
        found = self.get(number)
        if found is None:
            raise JobFault("jobs.unknown", f"there is no job {number}", number=number)
        return found

    async def ended(self, number: int) -> JobView:
        """The job of this number once it has ended. Raises `JobFault`."""
        if (job := self._running.get(number)) is not None:
            await job.over.wait()
        found = self._ended.get(number)
        if found is None:
            raise JobFault("jobs.unknown", f"there is no job {number}", number=number)
        return found

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Ends all jobs, and waits for that; those that need longer are given up."""
        self._closing = True
        tasks = [job.task for job in self._running.values() if job.task is not None]
        for job in self._running.values():
            job.work.cancel()
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1)

    def _require_free(self, hosts: frozenset[str]) -> None:
        if self._closing:
            raise JobFault("jobs.closing", "the UI is stopping: begin this again once it runs")
        for number, job in self._running.items():
            if both := sorted(hosts & job.hosts):
                raise JobFault(
                    "jobs.host-busy",
                    f"job {number} is at work on {both[0]}: wait for its end, or cancel it",
                    host=both[0],
                    number=number,
                )
        if len(self._running) >= MOST_RUNNING:
            raise JobFault(
                "jobs.too-many",
                f"{len(self._running)} jobs run already: wait until one has ended, or cancel one",
                count=len(self._running),
            )

    async def _run(self, job: _Running) -> None:
        state: JobState = "failed"
        try:
            await self._past.keep(job.view)
            async for event in job.work.events():
                job.progress.note(event)
                self._changed()
            if job.done is not None:
                await job.done()
            state = outcome(job.progress.hosts)
        except asyncio.CancelledError:
            state = "interrupted"
            raise
        except Exception:
            logger.exception("job %d (%s) has ended by a defect", job.begun.id, job.begun.title)
        finally:
            job.progress.end()
            if self._closing and state == "cancelled" and not job.cancelled_by:
                state = "interrupted"
            await self._end(job, msgspec.structs.replace(job.view, state=state, ended_ms=clock_ms()))

    async def _end(self, job: _Running, view: JobView) -> None:
        try:
            await self._past.keep(view)
        finally:
            del self._running[view.id]
            self._ended[view.id] = view
            for number in sorted(self._ended)[:-MOST_KEPT]:
                del self._ended[number]
            job.over.set()
            self._changed()
