"""Hands a run over to a user's MLflow server. What lets the UI in there is in the request, and in the job, alone."""

import asyncio
from typing import Annotated, Final
from urllib.parse import quote, urlsplit

from fastapi import FastAPI, Form

from swarmlearning.errors import UserError
from swarmlearning.tracking.mlflow import MlflowServer
from swarmlearning.ui.hosts.progress import HostsJob
from swarmlearning.ui.network.exporting import FOLDER, exporting
from swarmlearning.ui.pages.acting import Done, action
from swarmlearning.ui.pages.jobs import begun
from swarmlearning.ui.pages.runfiles import POINTS, key_of
from swarmlearning.ui.security.admission import Denied
from swarmlearning.ui.site import Here, Visit
from swarmlearning.views.names import displayed
from swarmlearning.views.runcharts import RunCharts, run_charts
from swarmlearning.views.runs import RunSummary, UnknownRunError, summary_of

PATH: Final = "/experiments/export"
BACK: Final = "/experiments"
Word = Annotated[str, Form(max_length=200)]
Secret = Annotated[str, Form(max_length=4096)]


def add_mlflow(app: FastAPI) -> None:
    """The act."""

    @action(app, PATH, BACK)
    async def export(
        visit: Here,
        run: Word,
        server: Annotated[str, Form(max_length=500)],
        user: Word = "",
        password: Secret = "",
        token: Secret = "",
    ) -> Done:
        summary, charts = _read(visit, run)
        there = await asyncio.to_thread(_server, visit, server.strip(), user, password, token)
        name = urlsplit(there.address).hostname or there.address
        work = exporting(there, summary, charts, visit.site.settings.folder / FOLDER)
        job = visit.site.jobs.start(
            "jobs.export",
            visit.user.name,
            HostsJob({name: work}),
            values={"run": displayed(summary.id, 200), "server": displayed(there.address, 200)},
            to=f"{BACK}/{quote(run)}",
        )
        return begun(visit, job)


def _read(visit: Visit, run: str) -> tuple[RunSummary, RunCharts]:
    recorder, key = visit.feed.recorder, key_of(run)
    try:
        return summary_of(recorder, *key, visit.feed.organisation), run_charts(recorder, *key, POINTS)
    except UnknownRunError:
        raise Denied(404, "experiments.no-run") from None


def _server(visit: Visit, address: str, user: str, password: str, token: str) -> MlflowServer:
    """Raises `UserError`."""
    given = {"MLFLOW_TRACKING_TOKEN": token, "MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
    try:
        return MlflowServer(address, {name: value for name, value in given.items() if value})
    except UserError:
        raise UserError(visit.text("experiments.mlflow-form")) from None
