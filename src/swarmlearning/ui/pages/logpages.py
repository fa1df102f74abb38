"""The page of logs, which goes on with what a node logs while it is looked at."""

import asyncio
from typing import Annotated, Final

from fastapi import FastAPI, Query
from starlette.responses import Response

from swarmlearning.errors import UserError
from swarmlearning.operator.session import Operator
from swarmlearning.ui.pages.nodelogs import (
    LONGEST_FAULT,
    Excerpt,
    LogsView,
    Part,
    Source,
    chosen,
    command_of,
    log_sources,
    read,
)
from swarmlearning.ui.pages.page import as_json, page
from swarmlearning.ui.security.admission import Denied
from swarmlearning.ui.site import Here, Visit
from swarmlearning.views.names import displayed

PATH: Final = "/projects/logs"
FIRST_SECONDS: Final = 3.0
"""The page waits so long for a node; then it is shown without its lines, and goes on asking."""
CURSOR: Final = "^([0-9:]{1,64}~([0-9a-f]{2}){0,3})?$"
Uid = Annotated[str, Query(max_length=200)]
Named = Annotated[str, Query(max_length=200)]
Pair = Annotated[int, Query(ge=0, lt=2**16)]


def add_logs(app: FastAPI) -> None:
    """The page, and what it goes on with."""

    @page(app, PATH, "logs.html")
    async def logs(
        visit: Here, node: Uid = "", part: Part = "NODE", taskrunner: Named = "", pair: Pair = 0
    ) -> LogsView:
        sources = log_sources(visit.feed.chain.world)
        shown = chosen(sources, node, part, taskrunner, pair)
        if shown is None:
            return LogsView(sources, None, Excerpt(), "")
        return LogsView(sources, shown, await _excerpt(visit, shown, "", wait=False), command_of(shown))

    @app.get(f"{PATH}/more", response_class=Response, response_model=None)
    async def more(
        visit: Here,
        node: Uid,
        cursor: Annotated[str, Query(pattern=CURSOR)],
        part: Part = "NODE",
        taskrunner: Named = "",
        pair: Pair = 0,
    ) -> Response:
        """The next excerpt; waits some seconds for one."""
        shown = chosen(log_sources(visit.feed.chain.world), node, part, taskrunner, pair)
        if shown is None:
            raise Denied(404, "logs.no-log")
        return as_json(await _excerpt(visit, shown, cursor, wait=True))


async def _excerpt(visit: Visit, shown: Source, cursor: str, *, wait: bool) -> Excerpt:
    async def work(operator: Operator) -> Excerpt:
        return await read(operator, shown, cursor, wait=wait)

    if not visit.feed.may_act:
        return Excerpt(withheld=visit.text("errors.observer", role=visit.feed.role or "-"))
    try:
        async with asyncio.timeout(None if wait else FIRST_SECONDS):
            return await visit.feed.use(work)
    except TimeoutError:
        return Excerpt(late=True)
    except UserError as error:
        return Excerpt(fault=displayed(str(error), LONGEST_FAULT), cursor=cursor)
