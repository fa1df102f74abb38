"""The two endpoints that the original's Python client uses: `/exec` and `/uploadTaskDef`."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar, cast

from fastapi import APIRouter, Depends, Query, Request, Response, UploadFile
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from swarmlearning.swci.folders import LARGEST_FILE, FolderError, Folders
from swarmlearning.swci.language import MOST_CHARACTERS
from swarmlearning.swci.web.answers import failure, failures
from swarmlearning.swci.web.commands import Commands
from swarmlearning.swci.web.uploads import store
from swarmlearning.views.names import displayed

T = TypeVar("T")
router = APIRouter(tags=["commands"])


class Workplace(NamedTuple):
    """What the endpoints work with; `script`: the one that runs at the start."""

    commands: Commands
    folders: Folders
    script: Path | None


def workplace(request: Request) -> Workplace:
    """The workplace of this application."""
    return cast(Workplace, request.app.state.workplace)


Place = Annotated[Workplace, Depends(workplace)]


class Output(BaseModel):
    """What a command prints. A string may have several lines; one that begins with `ERROR ` is a failure."""

    CONTENT: list[str]


@router.post("/exec", responses=failures())
async def execute(request: Request, place: Place, cmd: Annotated[str, Query(max_length=MOST_CHARACTERS)]) -> Output:
    """Carries out a command of SWCI, as it would be typed. Ends it where the client goes away meanwhile."""
    return Output(CONTENT=await _while_connected(request, place.commands.run(cmd)) or [])


@router.post("/uploadTaskDef", response_class=PlainTextResponse, responses=failures(409))
async def upload(place: Place, file: UploadFile) -> Response:
    """Stores a file in the current directory, for `CREATE TASK FROM` and `CREATE CONTRACT … FROM`."""
    content = await file.read(LARGEST_FILE + 1)
    try:
        path = await asyncio.to_thread(store, place.folders, file.filename or "", content, place.script)
    except FolderError as error:
        return failure(409, str(error))
    return PlainTextResponse(f"File uploaded : {displayed(path.name)}")


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of the work, which is cancelled (None) when the client goes away."""
    working, gone = asyncio.create_task(work), asyncio.create_task(_disconnect(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
