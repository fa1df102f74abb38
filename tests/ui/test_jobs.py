"""Long work of the UI: how it stands, what bounds it, how it ends, and what is left of it after a start anew."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from support.uiapp import ui_app
from swarmlearning.errors import UserError
from swarmlearning.ui.hosts.progress import Event, HostsJob, State, Tell, Work
from swarmlearning.ui.jobs import jobs as jobs_module
from swarmlearning.ui.jobs.jobs import MOST_RUNNING, JobFault, Jobs
from swarmlearning.ui.jobs.views import (
    LONGEST_DETAIL,
    MOST_STEPS,
    MOST_TEXT,
    HostProgress,
    JobState,
    JobView,
    Progress,
    outcome,
)
from swarmlearning.ui.store import jobs as store_module
from swarmlearning.ui.store.database import Database
from swarmlearning.ui.store.jobs import PastJobs


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path) as made:
        yield made


class Watched(Jobs):
    """Jobs that one can wait for."""

    def __init__(self, database: Database) -> None:
        self.changes = 0
        self._changed_now = asyncio.Event()
        super().__init__(PastJobs(database), self._note)

    def _note(self) -> None:
        self.changes += 1
        self._changed_now.set()

    async def until(self, number: int, reached: Callable[[JobView], bool]) -> None:
        """Waits until the job is so."""
        while not reached(self.view(number)):
            self._changed_now.clear()
            await self._changed_now.wait()

    def view(self, number: int) -> JobView:
        found = self.get(number)
        assert found is not None
        return found


@asynccontextmanager
async def running(database: Database) -> AsyncIterator[Watched]:
    jobs = Watched(database)
    try:
        yield jobs
    finally:
        await jobs.close()


@pytest.fixture
async def jobs(database: Database) -> AsyncIterator[Watched]:
    async with running(database) as made:
        yield made


async def well(tell: Tell) -> str:
    tell("copy", "running", "model.bin", 1, 2)
    tell("copy", "done", "", 2, 2)
    return "version 0.1.0"


async def badly(tell: Tell) -> str:
    tell("copy", "running")
    raise UserError("no disk is left\x1b[2J")


async def for_ever(tell: Tell) -> str:
    tell("start", "running", "SN-1")
    await asyncio.Event().wait()
    return "never"


async def stubborn(tell: Tell) -> str:
    """Puts back what it has begun, as an upgrade does, and takes its time."""
    for _ in range(2):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    return await for_ever(tell)


def work(**works: Work) -> HostsJob:
    return HostsJob(works)


# --- what is known of a job -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ([], "done"),
        (["done", "done"], "done"),
        (["done", "cancelled"], "cancelled"),
        (["cancelled", "failed", "done"], "failed"),
    ],
)
def test_what_comes_of_hosts_is_what_comes_of_the_job(hosts: list[State], expected: JobState) -> None:
    assert outcome(tuple(HostProgress(str(at), state) for at, state in enumerate(hosts))) == expected


def test_hosts_are_in_their_order_and_steps_in_that_of_their_begin() -> None:
    progress = Progress(("a", "b"))
    for host, step, state, detail in (
        ("b", "", "running", ""),
        ("b", "copy", "running", "x"),
        ("b", "install", "running", ""),
        ("b", "copy", "done", ""),
        ("c", "", "done", "of another job"),
        ("b", "", "failed", "no"),
    ):
        progress.note(Event(at_ms=7, host=host, step=step, state=state, detail=detail))  # type: ignore[arg-type]
    a, b = progress.hosts
    assert (a.host, a.state, a.steps) == ("a", "waiting", ())
    assert (b.state, b.detail, [(step.name, step.state) for step in b.steps]) == (
        *("failed", "no"),
        [("copy", "done"), ("install", "failed")],
    )
    progress.end()
    assert [each.state for each in progress.hosts] == ["cancelled", "failed"]
    assert [step.state for step in progress.hosts[1].steps] == ["done", "failed"]


@pytest.mark.parametrize("count", [1, 256])
def test_the_text_of_a_job_is_bounded_and_safe(count: int) -> None:
    names = tuple(f"10.0.0.{number}" for number in range(count))
    progress = Progress(names)
    for host in names:
        progress.note(Event(at_ms=1, host=host, state="failed", detail="\u202e" + "x" * 10**5))
        for step in range(MOST_STEPS + 5):
            progress.note(Event(at_ms=1, host=host, step=f"{step}", state="running", detail="y" * 10**5))
    last = progress.hosts[-1]
    assert len(last.steps) == MOST_STEPS
    assert "\u202e" not in last.detail
    assert 190 < len(last.detail) <= LONGEST_DETAIL + 5  # a mark that is written out is longer
    whole = sum(len(host.detail) + sum(len(step.detail) for step in host.steps) for host in progress.hosts)
    assert whole < 4 * MOST_TEXT


# --- how it runs ----------------------------------------------------------------------------------------------------


async def test_a_job_runs_and_is_there_after_a_start_anew(database: Database) -> None:
    told: list[str] = []

    async def done() -> None:
        told.append("over")

    async with running(database) as jobs:
        begun = jobs.start(
            "jobs.install", "anna", work(a=well, b=badly), hosts=["a"], values={"v": "1\n"}, done=done, to="/hosts"
        )
        assert (begun.id, begun.state, begun.by, begun.values) == (1, "running", "anna", {"v": "1\\n"})
        assert [each.state for each in begun.hosts] == ["waiting", "waiting"]
        ended = await jobs.ended(begun.id)
        assert told == ["over"]
        assert jobs.changes > 2
    assert (ended.state, ended.over, ended.to) == ("failed", 2, "/hosts")
    assert [(each.state, each.detail) for each in ended.hosts] == [
        ("done", "version 0.1.0"),
        ("failed", "no disk is left\\x1b[2J"),
    ]
    assert ended.ended_ms is not None
    assert ended.ended_ms >= ended.started_ms
    async with running(database) as anew:
        assert anew.all() == [ended]
        assert anew.start("jobs.install", "anna", work(a=well)).id == 2


async def test_a_host_is_in_one_job_at_a_time_and_few_run(jobs: Watched) -> None:
    first = jobs.start("jobs.install", "anna", work(a=for_ever), hosts=["a", "b"])
    assert jobs.of_host("b") == first.id
    with pytest.raises(JobFault, match="job 1 is at work on b") as caught:
        jobs.start("jobs.install", "bert", work(b=well), hosts=["b", "c"])
    assert caught.value.key == "jobs.host-busy"
    for _ in range(MOST_RUNNING - 1):
        jobs.start("jobs.install", "bert", work(x=for_ever))
    with pytest.raises(JobFault, match="4 jobs run already") as caught:
        jobs.start("jobs.install", "bert", work(c=well), hosts=["c"])
    assert caught.value.key == "jobs.too-many"
    jobs.cancel(first.id, "anna")
    await jobs.ended(first.id)
    assert jobs.of_host("b") is None
    assert [job.state for job in jobs.all()] == ["running"] * 3 + ["cancelled"]
    assert (await jobs.ended(jobs.start("jobs.install", "bert", work(b=well), hosts=["b"]).id)).state == "done"


async def test_cancelling_is_told_once_and_a_job_that_has_ended_stays_as_it_is(jobs: Watched) -> None:
    begun = jobs.start("jobs.start", "anna", work(a=for_ever, b=well))
    await jobs.until(begun.id, lambda job: job.hosts[1].state == "done")
    assert jobs.cancel(begun.id, "bert").cancelled_by == "bert"
    assert jobs.cancel(begun.id, "carla").cancelled_by == "bert"
    ended = await jobs.ended(begun.id)
    assert (ended.state, [each.state for each in ended.hosts]) == ("cancelled", ["cancelled", "done"])
    assert ended.hosts[0].steps[0].state == "cancelled"
    assert jobs.cancel(begun.id, "carla") == ended
    with pytest.raises(JobFault, match="no job 77"):
        jobs.cancel(77, "anna")
    with pytest.raises(JobFault, match="no job 77"):
        await jobs.ended(77)


async def test_a_defect_ends_the_job_and_is_logged(jobs: Watched, caplog: pytest.LogCaptureFixture) -> None:
    async def defect(tell: Tell) -> str:
        raise KeyError("something")

    async def done() -> None:
        raise KeyError("afterwards")

    for begun in (
        jobs.start("jobs.start", "anna", work(a=defect)),
        jobs.start("jobs.start", "anna", work(a=well), done=done),
    ):
        assert (await jobs.ended(begun.id)).state == "failed"
    assert caplog.text.count("has ended by a defect") == 2
    assert "afterwards" in caplog.text


# --- how it ends with the UI ----------------------------------------------------------------------------------------


async def test_the_jobs_of_a_ui_that_stops_are_interrupted(database: Database) -> None:
    async with running(database) as jobs:
        jobs.start("jobs.start", "anna", work(a=for_ever))
        by_hand = jobs.start("jobs.start", "anna", work(a=for_ever))
        late = jobs.start("jobs.start", "anna", work(a=stubborn))
        await jobs.until(late.id, lambda job: job.hosts[0].state == "running")
        jobs.cancel(by_hand.id, "anna")
        await jobs.ended(by_hand.id)
        await jobs.close(seconds=0.05)
        assert [each.state for each in jobs.all()][1:] == ["cancelled", "interrupted"]
        with pytest.raises(JobFault, match="the UI is stopping"):
            jobs.start("jobs.start", "anna", work(a=well))
    async with running(database) as anew:
        assert [(each.id, each.state) for each in anew.all()] == [
            *((late.id, "interrupted"), (by_hand.id, "cancelled"), (1, "interrupted")),
        ]


async def test_the_jobs_of_a_ui_that_was_killed_are_interrupted_too(database: Database) -> None:
    await PastJobs(database).keep(JobView(id=5, title="jobs.start", by="anna", started_ms=1))
    await database.run(lambda sql: sql.execute('INSERT INTO jobs VALUES (4, \'{"of": "another release"}\')'))
    async with running(database) as anew:
        assert [(each.id, each.state, each.ended_ms) for each in anew.all()] == [(5, "interrupted", None)]


async def test_the_oldest_jobs_are_forgotten(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (jobs_module, store_module):
        monkeypatch.setattr(module, "MOST_KEPT", 2)
    async with running(database) as jobs:
        for _ in range(4):
            await jobs.ended(jobs.start("jobs.start", "anna", work(a=well)).id)
        assert [each.id for each in jobs.all()] == [4, 3]
        assert jobs.get(2) is None
    async with running(database) as anew:
        assert [each.id for each in anew.all()] == [4, 3]


# --- its pages ------------------------------------------------------------------------------------------------------


async def test_the_pages_show_jobs_and_operators_end_them(tmp_path: Path) -> None:
    async with ui_app(tmp_path) as app:
        jobs = app.site.jobs
        operator, viewer = await app.someone("operator"), await app.someone("viewer")
        assert "No job yet" in (await viewer.page("/jobs")).text
        with app.site.feed.news.subscribed("anna", ["jobs"]) as news:
            begun = jobs.start("jobs.none-such", "<anna>", work(a=for_ever, b=badly))
            while "failed" not in [each.state for each in jobs.all()[0].hosts]:
                assert await news.next(30) == ["jobs"]
        page = (await operator.page(f"/jobs/{begun.id}")).text
        assert "no disk is left" in page
        assert "&lt;anna&gt;" in page
        assert "Start nodes" in page
        seen = (await viewer.page(f"/jobs/{begun.id}")).text
        assert "no disk is left" not in seen
        assert "/cancel" not in seen
        assert (await viewer.act(f"/jobs/{begun.id}/cancel")).status_code == 403
        answer = await operator.act(f"/jobs/{begun.id}/cancel")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/jobs/{begun.id}")
        ended = await jobs.ended(begun.id)
        assert (ended.state, ended.cancelled_by) == ("failed", "operator")
        told = await operator.act(f"/jobs/{begun.id}/cancel", {"accept": "application/json"})
        assert told.json()["text"] == "Job 1 has ended already."
        rows = (await viewer.get("/jobs.json")).json()["jobs"]
        assert [(row["id"], row["state"], row["over"], row["hosts"]) for row in rows] == [(1, "failed", 2, 2)]
        assert (await viewer.get("/jobs/99")).status_code == 404
