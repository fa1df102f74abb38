"""All resources of the SN's API in one ASGI application. Everything is served over mutual TLS."""

import html
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.types import ASGIApp

from swarmlearning import __version__
from swarmlearning.api.middleware import BodyLimit
from swarmlearning.api.releases import Releases
from swarmlearning.ledger.block import MAX_BLOCK
from swarmlearning.sn.api import blocks, cluster, logs, nodes, transactions
from swarmlearning.sn.api.guard import Guard
from swarmlearning.sn.api.service import FAILURES, Attest, Require, Sn, answer_to, nobody_attests, unlicensed
from swarmlearning.sn.carrying import Carrier
from swarmlearning.sn.engine import Engine
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.observing import Observer


def make_api(
    miner: Miner,
    engine: Engine,
    uid: str,
    fault: Callable[[], str],
    carrier: Carrier | None = None,
    require: Require = unlicensed,
    observer: Observer | None = None,
    attest: Attest = nobody_attests,
) -> ASGIApp:
    """The ASGI application of the SN `uid`; `fault` gives the difference between it and the other SNs, and `carrier`
    brings requests for logs to nodes, where other parts of this SN use it, too, as `observer` makes its status.
    `require` takes the token of a feature that a request needs, or raises `NoLicenseError`; `attest` signs what this SN
    has at a height, for a checkpoint."""
    sn = Sn(miner, engine, uid, observer or Observer(miner, engine, uid, fault), carrier or Carrier(), require, attest)
    app = FastAPI(
        title="Swarm Network node",
        version=__version__,
        description="Submit signed transactions, follow the chain, request the state. See docs/protocol.md.",
        docs_url=None,  # FastAPI's pages load scripts from other hosts
        redoc_url=None,
    )
    app.state.sn = sn

    async def failed(request: Request, error: Exception) -> Response:
        return answer_to(sn, error)

    for kind in (*FAILURES, RequestValidationError):
        app.add_exception_handler(kind, failed)
    for resource in (transactions, blocks, cluster, nodes, logs):
        app.include_router(resource.router)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(_page(app.openapi()))

    return Releases(BodyLimit(Guard(transactions.Submit(app, sn), sn), MAX_BLOCK))


def _page(description: dict[str, Any]) -> str:
    """The operations as one plain page that loads nothing."""
    rows = "".join(
        f"<tr><td>{method.upper()}<td><code>{html.escape(path)}</code><td>{html.escape(operation['description'])}"
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    )
    title = html.escape(f"{description['info']['title']} {description['info']['version']}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><h1>{title}</h1>'
        f"<p>{html.escape(description['info']['description'])}"
        '<p>For programs: <a href="/openapi.json">/openapi.json</a>'
        f"<table>{rows}</table></html>"
    )
