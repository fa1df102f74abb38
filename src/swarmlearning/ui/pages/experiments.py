"""Experiments: all runs, past ones too, with what organisations note about them; compared."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Final
from urllib.parse import quote

import msgspec
from fastapi import FastAPI, Form, Query

from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.ledger.world import World
from swarmlearning.operator import experiments as acts
from swarmlearning.operator.acts import Act
from swarmlearning.ui.hosts.models import FOLDER, kept
from swarmlearning.ui.pages.acting import Done, act, action
from swarmlearning.ui.pages.page import page
from swarmlearning.ui.pages.runfiles import key_of, may_have_model
from swarmlearning.ui.security.admission import Denied
from swarmlearning.ui.site import Here, Visit
from swarmlearning.views.runcharts import Compared, InfluenceOf, compare, run_charts
from swarmlearning.views.runs import (
    Note,
    RunSummary,
    RunView,
    UnknownRunError,
    run_list,
    run_view,
)

PATH: Final = "/experiments"
MOST_COMPARED: Final = 8
LONGEST: Final = 200
SHOWN: Final = 12
"""Rounds of which the page tells the influence of each site."""

Run = Annotated[str, Form(max_length=LONGEST)]
Chosen = Annotated[tuple[str, ...], Query(max_length=MOST_COMPARED)]


class ExperimentsView(msgspec.Struct, frozen=True):
    """All runs, newest first; `every`: hidden ones too. `possible`: the network's rules know annotations."""

    runs: list[RunSummary]
    every: bool
    possible: bool


class ExperimentView(msgspec.Struct, frozen=True):
    """One run, `own`: what one's own organisation has noted. `influence`: of each site, in the rounds of `shown`.
    `downloadable`: its result is the one that stands, or its model was fetched; `hosts`: from which it can be, `keeps`:
    logins can be kept. `readable`: the ledger lets the UI's organisation read it."""

    view: RunView
    own: Note | None
    influence: list[InfluenceOf]
    shown: list[int]
    interval: list[int]
    possible: bool
    downloadable: bool
    hosts: list[str] = []
    keeps: bool = False
    readable: bool = True


class Drawn(msgspec.Struct, frozen=True):
    """A swarm's curve over its own rounds, its epochs, and the time since the run has begun (milliseconds)."""

    name: str
    kind: str
    round: list[int]
    epochs: list[float | None]
    elapsed: list[int]
    loss: list[float | None]
    metric: list[float | None]


class Drawing(msgspec.Struct, frozen=True):
    """The curves of runs, in the form that charts take."""

    series: list[Drawn]


class CompareView(msgspec.Struct, frozen=True):
    """Runs beside each other."""

    found: Compared
    drawn: Drawing


def add_experiments(app: FastAPI) -> None:
    """The pages, and what is noted."""

    @page(app, PATH, "experiments.html")
    async def experiments(visit: Here, every: bool = False) -> ExperimentsView:
        found = run_list(visit.feed.recorder, visit.feed.organisation, hidden=every)
        return ExperimentsView(found, every, _possible(visit))

    @page(app, f"{PATH}/compare", "compare.html")
    async def compared(visit: Here, run: Chosen = ()) -> CompareView:
        return compare_view(visit, run)

    @page(app, f"{PATH}/{{run:path}}", "experiment.html")
    async def experiment(visit: Here, run: str) -> ExperimentView:
        view = experiment_view(visit, run)
        folder, model = visit.site.settings.folder / FOLDER, view.view.summary.model
        there = await asyncio.to_thread(kept, folder, model)
        hosts = [each.address for each in await visit.site.hosts.all()] if model else []
        return msgspec.structs.replace(
            view, downloadable=view.downloadable or there is not None, hosts=hosts, keeps=visit.site.access.keeps
        )

    @action(app, f"{PATH}/annotate", PATH)
    async def annotate(visit: Here, run: Run, text: Annotated[str, Form(max_length=4000)] = "") -> Done:
        return await _noted(visit, run, lambda world: acts.annotate(world, run, text), "annotate", run, text)

    @action(app, f"{PATH}/tag", PATH)
    async def tag(
        visit: Here,
        run: Run,
        add: Annotated[str, Form(max_length=1000)] = "",
        remove: Annotated[str, Form(max_length=1000)] = "",
    ) -> Done:
        given, taken = ([each.strip() for each in text.split(",") if each.strip()] for text in (add, remove))
        words = [*(word for each in given for word in ("--add", each))]
        words += [word for each in taken for word in ("--remove", each)]
        return await _noted(visit, run, lambda world: acts.tag(world, run, given, taken), "tag", run, *words)

    @action(app, f"{PATH}/hide", PATH)
    async def hide(visit: Here, run: Run, undo: Annotated[str, Form(max_length=3)] = "") -> Done:
        hidden, words = not undo, ["--undo"] if undo else []
        return await _noted(visit, run, lambda world: acts.hide(world, run, hidden=hidden), "hide", run, *words)


def experiment_view(visit: Visit, run: str) -> ExperimentView:
    """A run's data. Raises `Denied` where there is no such run."""
    recorder, own = visit.feed.recorder, visit.feed.organisation
    key = key_of(run)
    try:
        view, charts = run_view(recorder, *key, own), run_charts(recorder, *key, points=SHOWN)
    except UnknownRunError:
        raise Denied(404, "experiments.no-run") from None
    noted = [each for each in view.summary.notes if each.organisation == own]
    return ExperimentView(
        view=view,
        own=noted[0] if noted else None,
        influence=charts.influence,
        shown=charts.curves.round,
        interval=charts.interval,
        possible=_possible(visit),
        readable=may_have_model(visit, *key),
        downloadable=bool(view.summary.model) and view.summary.run == state_of(visit.feed.chain.world, key[0]).run,
    )


def compare_view(visit: Visit, runs: Sequence[str]) -> CompareView:
    """The data of a comparison. Raises `Denied` where there is no such run."""
    try:
        found = compare(visit.feed.recorder, [key_of(each) for each in runs], visit.feed.organisation)
    except UnknownRunError:
        raise Denied(404, "experiments.no-run") from None
    series = [
        Drawn(curve.name, "site", rounds, curve.epochs, times, curve.loss, curve.metric)
        for curve, rounds, times in zip(found.curves, found.rounds, found.times, strict=True)
    ]
    return CompareView(found, Drawing(series))


def _possible(visit: Visit) -> bool:
    """Whether runs can be annotated: by this person, under the rules in force."""
    return visit.may_act and visit.feed.chain.height >= 0 and acts.possible(visit.feed.chain.world)


async def _noted(visit: Visit, run: str, compose: Callable[[World], Act], verb: str, *words: str) -> Done:
    return await act(visit, compose, ["swarm", "experiment", verb, *words], f"{PATH}/{quote(run)}")
