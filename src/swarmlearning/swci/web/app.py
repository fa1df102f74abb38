"""The web mode as one ASGI application. Everything is served over mutual TLS."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.types import ASGIApp

from swarmlearning import __version__
from swarmlearning.api.middleware import BodyLimit
from swarmlearning.errors import UserError
from swarmlearning.ledger.chain import Chain
from swarmlearning.swci.folders import LARGEST_FILE
from swarmlearning.swci.session import Session
from swarmlearning.swci.web import documented, v1
from swarmlearning.swci.web.answers import malformed
from swarmlearning.swci.web.commands import Commands
from swarmlearning.swci.web.guard import Guard
from swarmlearning.swci.web.v1.ledger import failed

LARGEST_BODY: Final = LARGEST_FILE + 64 * 1024
"""A file, and what multipart adds."""


def make_api(session: Session, script: Path | None = None) -> FastAPI:
    """The endpoints, for whoever may use them; `script`: the one that has run at the start."""
    api = FastAPI(
        title="Swarm Command Interface",
        version=__version__,
        description="Carry out commands, read what the ledger shows, act on it. See docs/swci.md.",
        docs_url=None,  # FastAPI's pages load scripts from other hosts
        redoc_url=None,
    )
    api.state.session = session
    api.state.workplace = documented.Workplace(Commands(session), session.folders, script)
    api.add_exception_handler(RequestValidationError, malformed)
    api.add_exception_handler(UserError, failed)
    for router in (documented.router, v1.router):
        api.include_router(router)
    return api


def guarded(api: FastAPI, session: Session) -> ASGIApp:
    """The same for operators of SWCI's own organisation alone, with bounded bodies."""

    def chains() -> Iterator[Chain]:
        return (context.link.chain for context in session.contexts)

    return Guard(BodyLimit(api, LARGEST_BODY), chains)
