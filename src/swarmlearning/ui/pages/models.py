"""Fetches a run's final model from a host of the list, where a site keeps it; then it can be downloaded here."""

import asyncio
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import FastAPI, Form

from swarmlearning.errors import UserError
from swarmlearning.ui.access import address_of
from swarmlearning.ui.hosts import commands
from swarmlearning.ui.hosts.models import FOLDER, fetched
from swarmlearning.ui.hosts.progress import HostsJob
from swarmlearning.ui.pages.acting import Done, action
from swarmlearning.ui.pages.jobs import begun
from swarmlearning.ui.pages.logins import Given
from swarmlearning.ui.pages.runfiles import key_of, may_have_model
from swarmlearning.ui.security.admission import Denied
from swarmlearning.ui.site import Here
from swarmlearning.views.names import displayed
from swarmlearning.views.runs import UnknownRunError, summary_of

PATH: Final = "/experiments/fetch"
BACK: Final = "/experiments"
Word = Annotated[str, Form(max_length=300)]


def add_models(app: FastAPI) -> None:
    """The act."""

    @action(app, PATH, BACK)
    async def fetch(visit: Here, given: Given, run: Word, host: Word) -> Done:
        contract, number = key_of(run)
        try:
            digest = summary_of(visit.feed.recorder, contract, number).model
        except UnknownRunError:
            raise Denied(404, "experiments.no-run") from None
        if not digest:
            raise UserError(visit.text("experiments.no-model"))
        if not may_have_model(visit, contract, number):
            raise UserError(visit.text("experiments.not-readable"))
        (found,) = await visit.site.hosts.some([host])
        target = await visit.site.access.target(found, given)
        stem = await asyncio.to_thread(_stem, contract, number)
        work = fetched(target, stem, digest, visit.site.settings.folder / FOLDER)
        job = visit.site.jobs.start(
            "jobs.model",
            visit.user.name,
            HostsJob({found.address: work}),
            hosts=[found.address],
            values={"run": displayed(run, 200)},
            to=f"{BACK}/{quote(run)}",
        )
        at, user = address_of(found), given.user or found.user
        return begun(visit, job, commands.fetching(at, user, target.layout.prefix, f"{stem}.safetensors"))


def _stem(contract: str, run: int) -> str:
    from swarmlearning.sl.results import file_stem  # numpy is loaded once somebody wants a model

    return file_stem(contract, run)
