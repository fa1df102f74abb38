"""A run of the ledger as a run on a user's MLflow server: its parameters, the swarm's curve and those of its sites."""

import re
from collections.abc import Iterator
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Final

import msgspec

from swarmlearning.errors import UserError
from swarmlearning.files import make_private
from swarmlearning.tracking.mlflow import BATCH, MlflowRun, MlflowServer
from swarmlearning.tracking.tracker import Point, TrackerError
from swarmlearning.ui.hosts.progress import Tell, Work
from swarmlearning.views.runcharts import RunCharts, Series
from swarmlearning.views.runs import RunSummary

FOLDER: Final = "mlflow"
STEP: Final = "export"
_TAG: Final = re.compile(r"[^A-Za-z0-9_./ -]")
MEASURES: Final = ("loss", "metric", "epochs")


def exporting(server: MlflowServer, summary: RunSummary, charts: RunCharts, folder: Path) -> Work:
    """The work that hands a run over. The run there is found again by what `folder` keeps, so it may be repeated."""

    async def work(tell: Tell) -> str:
        make_private(folder)
        kept = folder / sha256(f"{server.address} {summary.id}".encode()).hexdigest()[:32]
        run = MlflowRun(server, summary.contract, f"run {summary.run}", dict(_tags(summary)), kept)
        found = list(points(charts))
        try:
            try:
                await run.describe(dict(_parameters(summary)))
                for done in range(0, len(found), BATCH):
                    tell(STEP, "running", "", done, len(found))
                    await run.add(found[done : done + BATCH])
            finally:
                await run.close(complete=summary.ended_ms is not None)
        except TrackerError as error:
            raise UserError(str(error)) from error
        tell(STEP, "done", "", len(found), len(found))
        return f"{summary.contract}, run {summary.run}: {len(found)} measurements"

    return work


def points(charts: RunCharts) -> Iterator[Point]:
    """What the curves have: of the swarm by their own names, of a site below its name."""
    for series in charts.curves.series:
        before = "" if series.kind == "swarm" else f"{_TAG.sub('_', series.name)}/"
        for measure in MEASURES:
            yield from _points(charts, series, measure, before + measure)


def _points(charts: RunCharts, series: Series, measure: str, tag: str) -> Iterator[Point]:
    values: list[float | None] = getattr(series, measure)
    for value, number, time_ms in zip(values, charts.curves.round, charts.curves.time, strict=False):
        if value is not None and isfinite(value):
            yield Point(tag, number, value, time_ms)


def _tags(summary: RunSummary) -> Iterator[tuple[str, str]]:
    yield from (("swarm.contract", summary.contract), ("swarm.run", str(summary.run)))
    told = (("task", summary.task), ("requested_by", summary.requested_by), ("tags", ", ".join(summary.tags)))
    yield from ((f"swarm.{name}", text) for name, text in told if text)


def _parameters(summary: RunSummary) -> Iterator[tuple[str, str]]:
    for name, value in msgspec.structs.asdict(summary.parameters).items():
        if value not in ("", 0):
            yield name, str(value)
    yield "sites", str(len(summary.sites))
