"""Nodes that hold a model and can be given a fault, for tests of fetching."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.models.fileserver import file_app
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import Fetcher, Source
from swarmlearning.tensors.digest import CHUNK

SIZE = 2 * CHUNK + 1_000_000
CONTENT = blake3(b"model").digest(SIZE)
PREFIX = 13 + 8 + 3 * 32  # the chunk list, which goes before the model in a bundle
UNKNOWN = "0" * 64


def rest_from(offset: int) -> str:
    """The request for the model from the chunk on that this byte is in."""
    return f"bytes={offset // CHUNK * CHUNK}-{SIZE - 1}"


@dataclass
class Holder:
    """A node that holds the model, and fails in one way if a test asks for it.

    `cut`: ends the connection after this many bytes of the model. `stall`: sends no more after this many.
    `flip`: alters the byte at this offset of the model.
    """

    store: TensorStore
    members: Callable[[str, str, range], bool] = lambda thumbprint, digest, chunks: True
    cut: int | None = None
    stall: int | None = None
    flip: int | None = None
    requests: list[str] = field(default_factory=list)
    connections: set[object] = field(default_factory=set)
    sent: int = 0
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    server: Server = field(init=False)

    @property
    def source(self) -> tuple[str, int]:
        return "127.0.0.1", self.server.port

    def app(self) -> ASGIApp:
        good = file_app(self.store, self.members)

        async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
            wanted = dict(scope["headers"]).get(b"range", b"").decode()
            self.requests.append((scope["path"].removeprefix("/models/")[64:] + " " + wanted).strip())
            self.connections.add(scope["client"])
            start = re.match(r"bytes=(\d+)-", wanted)
            position = int(start[1]) if start else -PREFIX

            async def tampered(message: Message) -> None:
                nonlocal position
                if message["type"] == "http.response.start":
                    if message["status"] > 206:
                        position = 2**62
                    await send(message)
                    return
                body = bytearray(message.get("body", b""))
                if self.flip is not None and 0 <= self.flip - position < len(body):
                    body[self.flip - position] ^= 1
                end = position + len(body)
                limit = min(limit for limit in (self.cut, self.stall, end) if limit is not None)
                more = message.get("more_body", False) or limit < end
                keep = bytes(body[: max(0, limit - position)])
                self.sent += len(keep)
                await send({"type": "http.response.body", "body": keep, "more_body": more})
                position = end
                if limit < end and self.stall is not None:
                    self.stalled.set()
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    self.left.set()
                if limit < end:
                    raise _Cut

            try:
                await good(scope, receive, tampered)
            except _Cut:
                return  # with the answer unfinished, the server closes the connection

        return faulty


class _Cut(Exception):
    pass


Hold = Callable[..., Awaitable[Holder]]


@asynccontextmanager
async def fetching(identity: Identity, store: TensorStore, **options: Any) -> AsyncIterator[Fetcher]:
    """A fetcher that has all the time that a test has, unless another limit is given."""
    unhurried = {"connect_seconds": 600, "stall_seconds": 600}
    fetcher = Fetcher(client_context(identity), store, **{**unhurried, **options})
    try:
        yield fetcher
    finally:
        await fetcher.close()


async def begin(fetcher: Fetcher, digest: str, sources: list[Source]) -> "asyncio.Task[Path]":
    """Starts a fetch and returns it when some bytes have arrived."""
    got_some = asyncio.Event()
    fetch = asyncio.create_task(fetcher.fetch(digest, sources, lambda held: got_some.set()))
    await got_some.wait()
    return fetch
