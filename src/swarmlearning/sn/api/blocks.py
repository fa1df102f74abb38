"""`/blocks`: one block, the state after it, and the stream that every follower of the chain reads."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel
from starlette.types import Message, Receive, Scope, Send

from swarmlearning.api.peer import peer_credential, peer_thumbprint
from swarmlearning.ledger.codes import Code
from swarmlearning.node.credentials import peer_of
from swarmlearning.sn.api.service import Service, Sn, refusals, refused
from swarmlearning.sn.recent import State
from swarmlearning.transport.parties import Credential

logger = logging.getLogger("swarm.api")

COMMENT_SECONDS = 2.0
"""A quiet stream has a comment this often: a longer silence is a dead SN."""
STREAM_BATCH = 64
STREAMS_PER_CERTIFICATE = 128
"""Nodes may share a certificate; each follows one stream."""
LEAST_BYTES = 8 * 1024
"""A small block counts as so many bytes of history: it is the sending that costs."""
SLOW_SECONDS = 60.0
"""A reader that does not make room for the next block within this time is cut off; it can resume at any height."""

router = APIRouter()
From = Annotated[int, Query(alias="from", ge=0)]


class BlockState(BaseModel):
    """The hash of a block, and that of the state after it."""

    height: int
    hash: str
    state_hash: str


class Attestation(BaseModel):
    """A statement for a checkpoint (`ledger/attested.py`), signed by this SN."""

    jws: str


class Stance(BaseModel):
    """The block (its hash) that this SN has at a height, or holds, and the signature of its objection if it objects."""

    block: str
    objection: str


class BlockStream(StreamingResponse):
    """Server-sent events that wait for the reader before each; `on_end` is called when the stream is over."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], on_end: Callable[[], None]) -> None:
        super().__init__(events)
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()  # here: a client that has gone already ends the response before its stream begins

    async def stream_response(self, send: Send) -> None:
        """Sends the events. Returns early, which closes the connection, when the reader is too slow."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(SLOW_SECONDS):
                await send(message)

        try:
            await super().stream_response(send_in_time)
        except TimeoutError:
            logger.warning("a block stream is closed: its reader made no room for the next block in %g s", SLOW_SECONDS)


@router.get("/blocks", response_class=StreamingResponse, responses=refusals(410, 422, 503))
async def stream(sn: Service, request: Request, start: From = 0) -> Response:
    """Every block from a height on, as server-sent events: id = height, data = the block. Ends with a revocation."""
    thumbprint = peer_thumbprint(request.scope)
    credential = peer_credential(request.scope)
    own, quotas = sn.quotas_of(credential)
    if sn.streams[thumbprint] >= STREAMS_PER_CERTIFICATE:
        detail = f"{STREAMS_PER_CERTIFICATE} block streams with one certificate already; close some first"
        return refused(sn, Code.UNAVAILABLE, detail, 503)
    if quotas and sn.streams[own] >= quotas.streams:
        detail = f"organisation {own} has {quotas.streams} block streams, its quota of streams; close some first"
        return refused(sn, Code.QUOTA, detail, 429)
    await sn.miner.blocks(start, 1)  # raises here what is archived: a stream that has begun cannot say it
    readers = Counter((thumbprint, own))
    sn.streams.update(readers)

    def end() -> None:
        sn.streams.subtract(readers)
        for reader in readers:
            if not sn.streams[reader]:
                del sn.streams[reader]

    may_read = lambda: peer_of(sn.miner.chain, credential).may_read  # noqa: E731
    return BlockStream(_events(sn, start, credential, may_read), end)


@router.get("/blocks/{height}", response_class=Response, responses=refusals(404, 410, 422))
async def block(sn: Service, height: int, request: Request) -> Response:
    """One block, its exact bytes."""
    raw = await sn.miner.block(height) if height >= 0 else None
    await _earn(sn, peer_credential(request.scope), raw or b"")
    if raw is None:
        return refused(sn, Code.NO_BLOCK, f"the chain ends at block {sn.miner.chain.height}", 404)
    return Response(raw, media_type="application/json")


@router.get("/blocks/{height}/state", response_model=BlockState, responses=refusals(404, 422))
async def state(sn: Service, height: int) -> Response:
    """The hashes at a recent height, for other SNs to compare with; waits a moment for a block to come."""
    found = await _state(sn, height)
    if found is None:
        return refused(sn, Code.NO_BLOCK, f"block {height} is too old, or not here yet", 404)
    return JSONResponse(found._asdict())


@router.get("/blocks/{height}/attestation", response_model=Attestation, responses=refusals(404, 422))
async def attestation(sn: Service, height: int) -> Response:
    """This SN's signature under the block at a recent height and the state after it, for a checkpoint; waits a moment
    for a block to come."""
    found = await _state(sn, height)
    if found is None:
        return refused(sn, Code.NO_BLOCK, f"block {height} is too old to be attested, or not here yet", 404)
    return JSONResponse({"jws": sn.attest(found)})


@router.get("/blocks/{height}/stance", response_model=Stance, responses=refusals(404, 422))
async def stance(sn: Service, height: int) -> Response:
    """Whether this SN has acted on its block of this height or objects to it, since its time is ahead of the clock."""
    found = await sn.miner.stance(height) if height >= 0 else None
    if found is None:
        return refused(sn, Code.NO_BLOCK, f"block {height} is not here", 404)
    return JSONResponse({"block": found.block, "objection": found.objection})


async def _state(sn: Sn, height: int) -> State | None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(COMMENT_SECONDS):
            await sn.miner.reached(height)
    return sn.miner.state(height)


async def _earn(sn: Sn, credential: Credential, raw: bytes) -> None:
    """Waits until the reader's organisation has earned a block that is not new."""
    if wait := sn.history_turn(credential, max(len(raw), LEAST_BYTES)):
        await asyncio.sleep(wait)


async def _events(sn: Sn, start: int, credential: Credential, may_read: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The stream. What was on the chain before it began counts as history; what comes new is everybody's."""
    miner = sn.miner
    known = miner.chain.height
    while may_read():
        try:
            async with asyncio.timeout(COMMENT_SECONDS):
                await miner.reached(start)
        except TimeoutError:
            yield b": still here\n\n"
            continue
        for raw in await miner.blocks(start, STREAM_BATCH):
            if start <= known:
                await _earn(sn, credential, raw)
            yield b"id: %d\ndata: %b\n\n" % (start, raw)
            start += 1
