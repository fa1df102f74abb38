"""What the pages of runs fetch for their charts, and what people save as files: tables, records, a model."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
from fastapi import FastAPI, Query
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response, StreamingResponse

from swarmlearning.ledger.contracts.training.charter import may_read_result
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.operator.session import Operator
from swarmlearning.ui.hosts.models import FOLDER, kept
from swarmlearning.ui.network.feed import NoNetworkError
from swarmlearning.ui.pages.page import as_json
from swarmlearning.ui.security.admission import Denied
from swarmlearning.ui.site import Here, Visit
from swarmlearning.views.runcharts import Curves, InfluenceOf, RunCharts, run_charts, runs_table
from swarmlearning.views.runs import RunSummary, UnknownRunError, run_key, run_list, summary_of

LONGEST: Final = 200
POINTS: Final = 250
"""Rounds of a curve that is drawn."""
MOST_WHOLE: Final = 200
"""Runs that are saved with all their curves, the newest: each may have a megabyte."""

Run = Annotated[str, Query(max_length=LONGEST)]


class Interval(msgspec.Struct, frozen=True):
    """The length of a run's rounds, as a multiple of syncFrequency."""

    name: str
    interval: list[float]
    kind: str = "swarm"


class Lines(msgspec.Struct, frozen=True):
    """Lines against the rounds of a run, and the time of their results, in the form that charts take."""

    series: list[InfluenceOf] | list[Interval]
    round: list[int]
    time: list[int]


def add_runfiles(app: FastAPI) -> None:
    """The routes."""

    @app.get("/experiments/curves", response_class=Response, response_model=None)
    async def curves(visit: Here, run: Run) -> Response:
        return as_json(_named(visit, _charts(visit, run).curves))

    @app.get("/experiments/influence", response_class=Response, response_model=None)
    async def influence(visit: Here, run: Run) -> Response:
        charts = _charts(visit, run)
        return as_json(Lines(charts.influence, charts.curves.round, charts.curves.time))

    @app.get("/experiments/interval", response_class=Response, response_model=None)
    async def interval(visit: Here, run: Run) -> Response:
        charts = _charts(visit, run)
        drawn = Interval(visit.text("experiments.interval"), [eighths / 8 for eighths in charts.interval])
        return as_json(Lines([drawn], charts.curves.round, charts.curves.time))

    @app.get("/experiments/matrix", response_class=Response, response_model=None)
    async def matrix(visit: Here, run: Run) -> Response:
        return as_json(_charts(visit, run).matrix)

    @app.get("/experiments/runs.csv", response_class=Response, response_model=None)
    async def table(visit: Here) -> Response:
        found = run_list(visit.feed.recorder, visit.feed.organisation)
        return _file(runs_table(found).encode(), "runs.csv", "text/csv")

    @app.get("/experiments/runs-all.json", response_class=Response, response_model=None)
    async def whole(visit: Here) -> Response:
        found = run_list(visit.feed.recorder, visit.feed.organisation)[:MOST_WHOLE]
        headers = {"content-disposition": 'attachment; filename="runs.json"'}
        return StreamingResponse(_whole(visit, found), media_type="application/json", headers=headers)

    _add_model(app)


def _add_model(app: FastAPI) -> None:
    @app.get("/experiments/model", response_class=Response, response_model=None)
    async def model(visit: Here, run: Run) -> Response:
        contract, number = key_of(run)
        if not may_have_model(visit, contract, number):
            raise Denied(403, "experiments.not-readable")
        name, kind = f"run-{number}.safetensors", "application/octet-stream"
        if (
            there := await asyncio.to_thread(kept, visit.site.settings.folder / FOLDER, _digest(visit, run))
        ) is not None:
            return FileResponse(there, media_type=kind, filename=name)
        folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="model-")
        to = Path(folder.name) / "model.safetensors"
        try:
            async with visit.site.downloads:
                await _download(visit, contract, to)
        except BaseException:
            await asyncio.to_thread(folder.cleanup)
            raise
        return FileResponse(to, media_type=kind, filename=name, background=BackgroundTask(folder.cleanup))


def may_have_model(visit: Visit, contract: str, run: int) -> bool:
    """Whether the ledger lets this UI's organisation read the final model of a run. An SL asks so before it gives its
    model; a host gives a file to whoever logs in there, so it is asked here, and for a file that was fetched."""
    world, record = visit.feed.chain.world, visit.feed.recorder.runs.get((contract, run))
    state = state_of(world, contract)
    if state.run != run:
        state = record.state if record is not None else state
    role, own = visit.feed.role, visit.feed.organisation
    return role is not None and may_read_result(world, state, own, role, final=state.over)


def _digest(visit: Visit, run: str) -> str:
    """The digest of a run's final model; empty where it has none."""
    try:
        return summary_of(visit.feed.recorder, *key_of(run)).model
    except UnknownRunError:
        return ""


def key_of(run: str) -> tuple[str, int]:
    """Contract and number of a run's name. Raises `Denied` for what names none."""
    try:
        return run_key(run)
    except UnknownRunError:
        raise Denied(404, "experiments.no-run") from None


async def _download(visit: Visit, contract: str, to: Path) -> None:
    """Fetches the standing result of a contract, where the ledger lets the UI's certificate read it."""
    from swarmlearning.operator.results import fetch_result  # numpy is loaded once somebody wants a model

    identity = visit.feed.identity
    if identity is None:
        raise NoNetworkError

    async def fetch(operator: Operator) -> None:
        host = operator.client.address.rpartition(":")[0]
        await fetch_result(operator, identity, host, contract, to)

    await visit.feed.use(fetch)


def _charts(visit: Visit, run: str) -> RunCharts:
    """In the loop's thread: the records grow there."""
    try:
        return run_charts(visit.feed.recorder, *key_of(run), POINTS)
    except UnknownRunError:
        raise Denied(404, "experiments.no-run") from None


def _named(visit: Visit, curves: Curves) -> Curves:
    """With what the UI itself has named in it in the visitor's language."""
    swarm, *sites = curves.series
    return msgspec.structs.replace(
        curves,
        series=[msgspec.structs.replace(swarm, name=visit.text("training.swarm")), *sites],
        marks=[{**each, "text": visit.text("training.best")} for each in curves.marks],
    )


async def _whole(visit: Visit, runs: Sequence[RunSummary]) -> AsyncIterator[bytes]:
    """Runs with all that is drawn of them, as one list; one after the other, so that pages are answered meanwhile."""
    before = b"["
    for each in runs:
        try:
            charts = run_charts(visit.feed.recorder, *run_key(each.id), POINTS)
        except UnknownRunError:  # the ledger is read anew
            continue
        yield before + msgspec.json.encode({"run": each, "charts": charts})
        before = b","
        await asyncio.sleep(0)
    yield b"]" if before == b"," else b"[]"


def _file(content: bytes, name: str, kind: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=kind, headers=headers)
