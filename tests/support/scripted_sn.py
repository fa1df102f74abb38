"""An SN for tests of its clients: it shows the blocks that it is given and answers as scripted."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import server_context
from swarmlearning.ledger.canonical import sha256
from swarmlearning.node.clocks import clock_ms

Answer = tuple[int, dict[str, object]]
"""Status and JSON body."""

STATUS: dict[str, Any] = {
    "network": "test",
    "network_id": "00",
    "sn": "sn-1",
    "version": "1",
    "height": 3,
    "hash": "00",
    "ordering": "local",
    "votes": True,
    "majority": True,
    "fault_tolerance": "none",
    "bears": "none",
    "alarms": [],
    "sns": [],
    "nodes": [],
    "trainings": [],
    "recoveries": [],
    "expiries": [],
}
"""A whole answer to `GET /status`."""


@dataclass
class ScriptedSn:
    """`blocks` are streamed from the height requested, then those that come; or the stream ends there if `ends`. Each
    request with a body is given the next of `answers`, a function of what was sent; `received` are the bodies, from
    these ports of `peers`. With `refuses` every request is answered by 403 and this reason."""

    blocks: list[bytes]
    answers: list[Callable[[str], Answer]] = field(default_factory=list)
    ends: bool = False
    refuses: str = ""
    received: list[str] = field(default_factory=list)
    peers: list[int] = field(default_factory=list)
    asked_from: list[int] = field(default_factory=list)
    address: str = ""
    ahead_ms: int = 0
    _shown: asyncio.Event = field(default_factory=asyncio.Event)

    def show(self, blocks: list[bytes]) -> None:
        """Streams go on with these blocks."""
        self.blocks = blocks
        self._shown.set()
        self._shown = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.refuses:
            await _answer(403, {"code": "not-allowed", "detail": self.refuses, "height": 0}, send)
            return
        if scope["path"] == "/blocks":
            await self._stream(int(scope["query_string"].removeprefix(b"from=")), receive, send)
            return
        if scope["path"] == "/health":
            await _answer(200, {"time_ms": clock_ms() + self.ahead_ms}, send)
            return
        if scope["path"].endswith("/stance"):
            height = int(scope["path"].split("/")[2])
            known = [sha256(raw) for raw in self.blocks[height : height + 1]]
            behind = {"code": "no-block", "detail": "the chain ends before", "height": len(self.blocks) - 1}
            found: Answer = (200, {"block": known[0], "objection": ""}) if known else (404, behind)
            await _answer(found[0], found[1], send)
            return
        if scope["path"].startswith("/blocks/"):
            await self._send_block(int(scope["path"].removeprefix("/blocks/")), send)
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        self.received.append(body.decode())
        self.peers.append(scope["client"][1])
        status, answer = self.answers.pop(0)(body.decode())
        self.show(self.blocks)
        await _answer(status, answer, send)

    async def _send_block(self, height: int, send: Send) -> None:
        known = height < len(self.blocks)
        await send({"type": "http.response.start", "status": 200 if known else 404, "headers": []})
        await send({"type": "http.response.body", "body": self.blocks[height] if known else b"{}"})

    async def _stream(self, start: int, receive: Receive, send: Send) -> None:
        self.asked_from.append(start)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        gone = asyncio.ensure_future(_disconnected(receive))
        while not gone.done():
            shown = asyncio.ensure_future(self._shown.wait())
            for raw in self.blocks[start:]:
                await send({"type": "http.response.body", "body": b"data: %b\n\n" % raw, "more_body": True})
                start += 1
            if self.ends:
                await send({"type": "http.response.body", "body": b""})
                break
            await send({"type": "http.response.body", "body": b": idle\n\n", "more_body": True})
            await asyncio.wait((gone, shown), return_when=asyncio.FIRST_COMPLETED)
            shown.cancel()
        gone.cancel()


async def _answer(status: int, body: dict[str, Any], send: Send) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def scripted_sn(
    identity: Identity, blocks: list[bytes], port: int = 0, **script: object
) -> AsyncIterator[ScriptedSn]:
    """One that listens."""
    sn = ScriptedSn(blocks, **script)  # type: ignore[arg-type]
    server = Server(sn, server_context(identity), "127.0.0.1", port)
    await server.start()
    sn.address = f"127.0.0.1:{server.port}"
    try:
        yield sn
    finally:
        await server.stop(grace=0.0)
