"""Serving an application over mTLS in a test's own process, and requests to it."""

import asyncio
import http.client
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from swarmlearning.api.protocol import Limits
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.models.fileserver import file_app
from swarmlearning.models.store import TensorStore
from swarmlearning.transport.shares import ShareOf, unlimited

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers by their names in lower case, and body."""


@asynccontextmanager
async def serving(
    app: ASGIApp,
    identity: Identity,
    limits: Limits | None = None,
    port: int = 0,
    grace: float = 0.1,
    share_of: ShareOf = unlimited,
) -> AsyncIterator[Server]:
    """Serves `app` on a port of the loopback address; on leaving, requests have `grace` seconds to end."""
    server = Server(app, server_context(identity), "127.0.0.1", port, limits, share_of)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(grace)


@asynccontextmanager
async def serving_models(
    store: TensorStore,
    identity: Identity,
    members: Sequence[Identity],
    stall_seconds: float = 60,
    on_missing: Callable[[str], None] = lambda digest: None,
) -> AsyncIterator[Server]:
    """Serves the models in `store` to `members`."""
    thumbprints = {member.thumbprint for member in members}
    app = file_app(store, lambda thumbprint, digest, chunks: thumbprint in thumbprints, on_missing, stall_seconds)
    async with serving(app, identity) as server:
        yield server


async def request(
    server: Server, identity: Identity, path: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> Answer:
    """Returns the answer to one request on a connection of its own."""

    def blocking() -> Answer:
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=client_context(identity))
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    return await asyncio.to_thread(blocking)


def detail(answer: Answer) -> str:
    """Returns the text of an error's answer."""
    return str(json.loads(answer[2])["detail"])
