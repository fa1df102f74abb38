"""SWCI's web mode over mutual TLS, whose network is a ledger in memory."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from support.operations import Operations, listening
from support.scripted_session import LedgerOperator, LedgerSession
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.source import Latest
from swarmlearning.identity.tls import CurrentContext, client_context, follow_source
from swarmlearning.swci.web.app import guarded, make_api
from swarmlearning.swci.web.guard import own_tls


@dataclass
class WebMode:
    """A web mode at work, and an operator's requests to it; `source` has its own identity."""

    operations: Operations
    session: LedgerSession
    folder: Path
    operator: Identity
    port: int
    source: Latest

    async def ask(self, method: str, path: str, identity: Identity | None = None, **request: Any) -> tuple[int, Any]:
        """Status and answer, decoded where it is JSON."""
        connector = aiohttp.TCPConnector(ssl=client_context(identity or self.operator))
        url = f"https://127.0.0.1:{self.port}{path}"
        async with aiohttp.ClientSession(connector=connector) as client, client.request(method, url, **request) as got:
            return got.status, await (got.json() if got.content_type == "application/json" else got.text())

    async def execute(self, command: str) -> list[str]:
        """What a command prints."""
        status, answer = await self.ask("POST", "/exec", params={"cmd": command})
        assert status == 200, answer
        content: list[str] = answer["CONTENT"]
        return content

    async def upload(self, name: str, content: bytes) -> tuple[int, Any]:
        """The answer to an upload."""
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("file", io.BytesIO(content), filename=name, content_type="application/octet-stream")
        return await self.ask("POST", "/uploadTaskDef", data=form)


async def ledger_session(folder: Path, operations: Operations | None = None) -> LedgerSession:
    """A session for web clients, with a context of a ledger with SWOPs that listen."""
    session = LedgerSession(LedgerOperator(operations or listening(), "op-1"), folder, web=True)
    for text in ("CREATE CONTEXT c WITH IP sn1", "SWITCH CONTEXT c"):
        assert [each async for each in session.execute(text) if each.kind == "error"] == []
    return session


@asynccontextmanager
async def web_mode(folder: Path, swci: Identity, operator: Identity) -> AsyncIterator[WebMode]:
    """Serves the web mode with this user directory as `swci`."""
    operations = listening()
    session = await ledger_session(folder, operations)
    app = guarded(make_api(session, folder / "swci-init"), session)
    source = Latest(swci)
    tls = CurrentContext(own_tls(swci))
    server = Server(app, tls, "127.0.0.1", 0)
    await server.start()
    following = asyncio.create_task(follow_source(tls, own_tls, source, swci))
    try:
        yield WebMode(operations, session, folder, operator, server.port, source)
    finally:
        following.cancel()
        await asyncio.wait((following,))
        await server.stop(0.1)
