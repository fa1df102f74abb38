"""The routes of diagnostics."""

import shlex
from typing import Annotated, Final

from fastapi import FastAPI, Form
from starlette.responses import FileResponse, Response

from swarmlearning.node.clocks import clock_ms
from swarmlearning.ui.diagnostics.collecting import MB, MOST_MB, Collector, Wish
from swarmlearning.ui.network.feed import NoNetworkError
from swarmlearning.ui.pages.acting import Done, NotAllowedError, action
from swarmlearning.ui.pages.diagnostics import DiagnosticsView, choices, matrix, rounds_now
from swarmlearning.ui.pages.flash import Flash
from swarmlearning.ui.pages.jobs import begun
from swarmlearning.ui.pages.logins import Given
from swarmlearning.ui.pages.page import page
from swarmlearning.ui.security.admission import Denied
from swarmlearning.ui.site import Here, Visit

PATH: Final = "/diagnostics"
EXAMINATION, COLLECTION = "an examination of the network", "an archive of logs"
"""What a job of each kind has for itself: there is one at a time."""
HOUR_MS: Final = 3_600_000
MOST_NODES: Final = 10_000
SINCE: Final = {"newest": None, "hour": HOUR_MS, "day": 24 * HOUR_MS, "week": 7 * 24 * HOUR_MS}
AGO: Final = {"newest": (), "hour": ("--since", "1h ago"), "day": ("--since", "1d ago"), "week": ("--since", "7d ago")}


def add_diagnostics(app: FastAPI) -> None:
    """The page, its acts, and its files."""

    @page(app, PATH, "diagnostics.html")
    async def diagnostics(visit: Here) -> DiagnosticsView:
        return await _view(visit)

    @action(app, f"{PATH}/examine", PATH)
    async def examine(visit: Here) -> Done:
        if not visit.feed.configured:
            raise NoNetworkError
        job = visit.site.examiner.job(visit.feed, visit.user.name)
        visit.site.jobs.start("diagnostics.job-examine", visit.user.name, job, hosts=(EXAMINATION,), to=PATH)
        return Done(Flash("waits", visit.text("diagnostics.examining"), "swarm doctor"), PATH)

    @action(app, f"{PATH}/collect", PATH)
    async def collect(
        visit: Here,
        given: Given,
        node: Annotated[list[str], Form(max_length=MOST_NODES)] = [],  # noqa: B006 - FastAPI copies it
        since: Annotated[str, Form(pattern="^(newest|hour|day|week)$")] = "newest",
        mb: Annotated[int, Form(ge=1, le=MOST_MB)] = 20,
        host: Annotated[list[str], Form(max_length=MOST_NODES)] = [],  # noqa: B006
    ) -> Done:
        if not (visit.feed.may_act or host):
            raise NotAllowedError(visit)
        asked = None if (span := SINCE[since]) is None else clock_ms() - span
        site, by = visit.site, visit.user.name
        known = await site.hosts.some(host) if host else []
        targets = {each.address: await site.access.target(each, given) for each in known}
        wish = Wish(node, asked, mb * MB, targets)
        collector = Collector(site.feed, site.archives, site.settings.folder, wish)
        started = site.jobs.start("diagnostics.job-collect", by, collector.job(), hosts=(COLLECTION,), to=PATH)
        return begun(visit, started, _command(node, since, mb))

    @action(app, f"{PATH}/archives/remove", PATH)
    async def remove(visit: Here, name: Annotated[str, Form(max_length=200)]) -> Done:
        visit.site.archives.remove(name)
        return Done(Flash("done", visit.text("diagnostics.removed", name=name)), PATH)

    @app.get(f"{PATH}/archives/{{name}}", response_class=Response, response_model=None)
    async def archive(visit: Here, name: str) -> Response:
        """The file."""
        if (path := visit.site.archives.path(name)) is None:
            raise Denied(404, "diagnostics.no-archive")
        return FileResponse(path, media_type="application/gzip", filename=name)


async def _view(visit: Visit) -> DiagnosticsView:
    site = visit.site
    last = site.examiner.last
    return DiagnosticsView(
        examining=site.jobs.of_host(EXAMINATION),
        examined=last,
        matrix=matrix(last.ways if last else ()),
        rounds=rounds_now(site.feed, site.examiner),
        nodes=choices(site.feed),
        hosts=[each.address for each in await site.hosts.all()],
        keeps=site.access.keeps,
        collecting=site.jobs.of_host(COLLECTION),
        archives=site.archives.all(),
        most_mb=MOST_MB,
        commands={"examine": "swarm doctor", "explain": "swarm explain", "collect": "swarm logs collect"},
    )


def _command(nodes: list[str], since: str, mb: int) -> str:
    named = [word for each in nodes for word in ("--node", each)]
    return shlex.join(("swarm", "logs", "collect", *named, *AGO[since], "--mb-per-node", str(mb)))
