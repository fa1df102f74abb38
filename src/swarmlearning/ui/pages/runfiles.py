"""What the pages of runs fetch for their charts, and what people save as files: tables, records, a model."""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated, Final

import msgspec
from fastapi import FastAPI, Query
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from swarmlearning.operator.session import Operator
from swarmlearning.ui.network.feed import NoNetworkError
from swarmlearning.ui.pages.page import as_json
from swarmlearning.ui.security.admission import Denied
from swarmlearning.ui.site import Here, Visit
from swarmlearning.views.runcharts import RunCharts, run_charts, runs_table
from swarmlearning.views.runs import UnknownRunError, run_key, run_list

LONGEST: Final = 200
POINTS: Final = 250
"""Rounds of a curve that is drawn."""
DOWNLOADS: Final = 2
"""Models that are fetched at a time: each is a file here until it has been sent."""

Run = Annotated[str, Query(max_length=LONGEST)]


def add_runfiles(app: FastAPI) -> None:
    """The routes."""
    free = asyncio.Semaphore(DOWNLOADS)

    @app.get("/experiments/curves", response_class=Response, response_model=None)
    async def curves(visit: Here, run: Run) -> Response:
        return as_json(_charts(visit, run).curves)

    @app.get("/experiments/matrix", response_class=Response, response_model=None)
    async def matrix(visit: Here, run: Run) -> Response:
        return as_json(_charts(visit, run).matrix)

    @app.get("/experiments/runs.csv", response_class=Response, response_model=None)
    async def table(visit: Here) -> Response:
        found = run_list(visit.feed.recorder, visit.feed.organisation)
        return _file(runs_table(found).encode(), "runs.csv", "text/csv")

    @app.get("/experiments/runs-all.json", response_class=Response, response_model=None)
    async def whole(visit: Here) -> Response:
        found = run_list(visit.feed.recorder, visit.feed.organisation)
        charts = [{"run": each, "charts": _charts(visit, each.id)} for each in found]
        return _file(msgspec.json.encode(charts), "runs.json", "application/json")

    @app.get("/experiments/model", response_class=Response, response_model=None)
    async def model(visit: Here, run: Run) -> Response:
        contract, number = key_of(run)
        folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="model-")
        to = Path(folder.name) / "model.safetensors"
        try:
            async with free:
                await _download(visit, contract, to)
        except BaseException:
            await asyncio.to_thread(folder.cleanup)
            raise
        name, kind = f"run-{number}.safetensors", "application/octet-stream"
        return FileResponse(to, media_type=kind, filename=name, background=BackgroundTask(folder.cleanup))


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


def _file(content: bytes, name: str, kind: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=kind, headers=headers)
