"""The pages of jobs: what is under way, how far it is, and what has come of former ones."""

from typing import Final

import msgspec
from fastapi import FastAPI

from swarmlearning.ui.jobs.views import HostProgress, JobView
from swarmlearning.ui.pages.acting import Done, action
from swarmlearning.ui.pages.flash import Flash
from swarmlearning.ui.pages.page import page
from swarmlearning.ui.security.admission import Denied
from swarmlearning.ui.site import Here, Visit
from swarmlearning.ui.texts.catalogue import catalogue

PATH: Final = "/jobs"


class JobRow(msgspec.Struct, frozen=True):
    """A job in short: `title` in the language of whoever asks; the number of its hosts, and of those that are over."""

    id: int
    title: str
    by: str
    state: str
    started_ms: int
    ended_ms: int | None
    hosts: int
    over: int


class JobsView(msgspec.Struct, frozen=True):
    """All jobs that are kept, the newest first."""

    jobs: list[JobRow]


class JobPage(msgspec.Struct, frozen=True):
    """A job; `title`, and `steps` by their names, in the language of whoever asks. `withheld`: this person does not see
    the details, which may have what nodes have written in them."""

    job: JobView
    title: str
    steps: dict[str, str]
    withheld: bool


def add_jobs(app: FastAPI) -> None:
    """The pages, and the end of a job."""

    @page(app, PATH, "jobs.html")
    async def jobs(visit: Here) -> JobsView:
        return JobsView([_row(visit, each) for each in visit.site.jobs.all()])

    @page(app, f"{PATH}/{{number:int}}", "job.html")
    async def job(visit: Here, number: int) -> JobPage:
        found = visit.site.jobs.get(number)
        if found is None:
            raise Denied(404, "jobs.gone")
        return job_page(visit, found)

    @action(app, f"{PATH}/{{number:int}}/cancel", PATH)
    async def cancel(visit: Here, number: int) -> Done:
        ended = visit.site.jobs.cancel(number, visit.user.name).state != "running"
        text = visit.text("jobs.over-already" if ended else "jobs.cancelling", number=number)
        return Done(Flash("done" if ended else "waits", text), f"{PATH}/{number}")


def job_page(visit: Visit, job: JobView) -> JobPage:
    """The page's data. Reasons of failures are for those who may read logs."""
    withheld = not visit.may("operator")
    if withheld:
        job = msgspec.structs.replace(job, hosts=tuple(map(_without_details, job.hosts)))
    names = dict.fromkeys(step.name for host in job.hosts for step in host.steps)
    return JobPage(job, title_of(visit, job), {name: _step(visit, name) for name in names}, withheld)


def begun(visit: Visit, job: JobView, command: str = "") -> Done:
    """What an action answers that has begun this job: the way to its page. `command` would do the same."""
    return Done(Flash("waits", visit.text("jobs.begun", number=job.id), command), f"{PATH}/{job.id}")


def title_of(visit: Visit, job: JobView) -> str:
    """What a job is, in words; jobs of another release may be of a kind that this one does not know."""
    try:
        return visit.text(job.title, **job.values)
    except KeyError:
        return job.title


def _row(visit: Visit, job: JobView) -> JobRow:
    title = title_of(visit, job)
    return JobRow(job.id, title, job.by, job.state, job.started_ms, job.ended_ms, len(job.hosts), job.over)


def _step(visit: Visit, name: str) -> str:
    key = "jobs.step-" + name
    return visit.text(key) if key in catalogue() else name


def _without_details(host: HostProgress) -> HostProgress:
    steps = tuple(msgspec.structs.replace(each, detail="") for each in host.steps)
    return msgspec.structs.replace(host, detail="", steps=steps)
