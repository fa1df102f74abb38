"""The SN's HTTP API. Everything is served over mutual TLS; the OpenAPI page is at `/docs`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel, Field

from swarmlearning import __version__
from swarmlearning.api.server import BodyLimit, Shortcut, peer_certificate, peer_thumbprint
from swarmlearning.identity.certificates import subject_of
from swarmlearning.ledger.apply import state_of
from swarmlearning.ledger.block import MAX_BLOCK, read
from swarmlearning.ledger.bodies import Register
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import MalformedError, Transaction, parse
from swarmlearning.ordering.protocols import ConflictError, Head, Lease, OrderingError, TrainingProgress
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.ordering import LOCAL_ONLY, Engine
from swarmlearning.sn.status import Status, status_of
from swarmlearning.views.names import node_names
from swarmlearning.views.render import waiting_text
from swarmlearning.views.training import waiting

COMMENT_SECONDS = 2.0
STREAM_BATCH = 64
TRANSACTIONS = "/transactions"
FAILURES = (Rejection, MalformedError, OrderingError)
"""What a request may fail with; each has its answer."""

TRANSACTION_BODY = {"requestBody": {"required": True, "content": {"application/jose": {"schema": {"type": "string"}}}}}


class Committed(BaseModel):
    """Where a transaction stands."""

    height: int


class Refused(BaseModel):
    """Why a request was refused: `code` for programs, `detail` for people, judged on the block of `height`."""

    code: str
    detail: str
    height: int


class Beat(BaseModel):
    """A heartbeat: which start of the node, and its progress."""

    incarnation: int = Field(ge=1)
    steps: int = Field(ge=0)
    moved: int = Field(ge=0)
    training: TrainingProgress | None = None


class ClusterMember(BaseModel):
    """A member of the etcd cluster; `name` is the SN's UID, empty until its member has started once."""

    id: int
    name: str
    peer_url: str
    learner: bool


class BlockState(BaseModel):
    """The hash of a block, and that of the state after it."""

    height: int
    hash: str
    state_hash: str


class Ordered(BaseModel):
    """The new head of the log."""

    height: int
    hash: str


def make_api(miner: Miner, engine: Engine, uid: str, fault: Callable[[], str]) -> BodyLimit:
    """The ASGI application of the SN `uid`; `fault` says what it finds wrong between itself and the others."""
    presence = engine.switch
    app = FastAPI(
        title="Swarm Network node",
        version=__version__,
        description="Submit signed transactions, follow the chain, ask for the state. See docs/protocol.md.",
    )

    def refused(code: str, detail: str, status: int = 409) -> JSONResponse:
        return JSONResponse(
            Refused(code=code, detail=detail, height=miner.chain.height).model_dump(), status_code=status
        )

    def answer_to(error: Exception) -> JSONResponse:
        match error:
            case Rejection(code=code, detail=detail):
                return refused(code, detail)
            case MalformedError():
                return refused(Code.MALFORMED, str(error), status=400)
        return refused(Code.UNAVAILABLE, str(error), status=503)

    async def failed(request: Request, error: Exception) -> JSONResponse:
        return answer_to(error)

    for kind in FAILURES:
        app.add_exception_handler(kind, failed)

    async def commit(body: bytes) -> Response:
        try:
            signed = parse(body.decode("ascii", errors="replace"))
            if engine.name == "local":
                _refuse_second_sn(signed.content, uid)
            return JSONResponse({"height": await miner.commit(signed)})
        except FAILURES as error:
            return answer_to(error)

    @app.post(
        TRANSACTIONS, response_model=Committed, responses=_refusals(400, 409, 503), openapi_extra=TRANSACTION_BODY
    )
    async def submit(request: Request) -> Response:
        """Commits a signed transaction (body: JWS, compact form). The answer means *on the chain*, never queued.

        Sending the same bytes again is always safe.
        """
        return await commit(await request.body())  # as `Shortcut` does, which is faster

    @app.post("/log/{height}", response_model=Ordered, responses=_refusals(400, 403, 409, 503))
    async def order(height: int, previous: str, request: Request) -> Response:
        """Orders a block for an SN that has no vote (body: the block); one compare-and-swap on the head."""
        _require_sn(miner, request)
        raw = await request.body()
        header = read(raw).header
        if (header.height, header.previous) != (height, previous):
            raise MalformedError(f"the block follows block {header.height - 1} {header.previous[:12]}, not this head")
        try:
            head = await engine.order(Head(height - 1, previous), raw)
        except ConflictError as conflict:
            return refused(Code.CONFLICT, str(conflict))
        return JSONResponse({"height": head.height, "hash": head.hash})

    @app.get("/cluster")
    async def cluster() -> list[ClusterMember]:
        """The members of the etcd cluster: an SN learns here that it was added, or removed. Empty without a vote."""
        return [ClusterMember(**member._asdict()) for member in await engine.members()]

    @app.delete("/cluster/{sn}", status_code=204, responses=_refusals(403, 503))
    async def end_vote(sn: str, request: Request) -> Response:
        """Ends the vote of an SN that has lost what its etcd member had on disk; only at its own word."""
        known = network.node(miner.chain.world, sn)
        if known is None or known.type != "SN" or known.certificate != peer_thumbprint(request.scope):
            return refused(Code.NOT_ALLOWED, f"only SN {sn} itself may ask this", status=403)
        await engine.remove(sn)
        return Response(status_code=204)

    @app.get("/blocks")
    async def stream(start: Annotated[int, Query(alias="from", ge=0)] = 0) -> StreamingResponse:
        """Every block from a height on, for ever, as server-sent events: id = height, data = the block."""
        return StreamingResponse(_events(miner, start), media_type="text/event-stream")

    @app.get("/blocks/{height}", response_class=Response, responses=_refusals(404))
    async def block(height: int) -> Response:
        """One block, its exact bytes."""
        raw = await miner.block(height) if height >= 0 else None
        if raw is None:
            return refused(Code.NO_BLOCK, f"the chain ends at block {miner.chain.height}", status=404)
        return Response(raw, media_type="application/json")

    @app.get("/blocks/{height}/state", response_model=BlockState, responses=_refusals(404))
    async def state(height: int) -> Response:
        """What stands at a recent height, for other SNs to compare with; waits a moment for a block to come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COMMENT_SECONDS):
                await miner.reached(height)
        found = miner.state(height)
        if found is None:
            return refused(Code.NO_BLOCK, f"block {height} is too old, or not here yet", status=404)
        return JSONResponse(found._asdict())

    @app.put("/presence/{node}", status_code=204, responses=_refusals(403, 409))
    async def beat(node: str, beat: Beat, request: Request) -> Response:
        """Renews a node's lease; only with a certificate of that node, and only for its latest start."""
        known = network.node(miner.chain.world, node)
        if known is None or known.subject != subject_of(peer_certificate(request.scope)):
            return refused(Code.UNKNOWN_NODE, f"no node {node} is registered with this certificate", status=403)
        if known.incarnation > beat.incarnation:
            detail = f"node {node} was started again and now runs as incarnation {known.incarnation}"
            return refused(Code.OLD_INCARNATION, f"{detail}; incarnation {beat.incarnation} must stop")
        if known.incarnation < beat.incarnation:
            return refused(
                Code.UNKNOWN_INCARNATION, f"node {node} has not registered incarnation {beat.incarnation} yet"
            )
        await presence.announce(Lease(node, beat.incarnation, beat.steps, beat.moved, beat.training))
        return Response(status_code=204)

    @app.get("/status", response_model=Status)
    async def status() -> Status:
        """Nodes, trainings, and what each of them waits for."""
        return await status_of(miner.chain, uid, engine, fault())

    @app.get("/contracts/{name}")
    async def contract(name: str) -> Response:
        """The whole state of a training contract."""
        state = state_of(miner.chain.world, name)
        body: dict[str, Any] = msgspec.to_builtins(state)
        return JSONResponse(body | {"text": waiting_text(waiting(state), node_names(miner.chain.world))})

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Whether this SN can do its work."""
        return {"ready": True, "height": miner.chain.height}

    @app.get("/is_up", response_class=PlainTextResponse)
    async def is_up() -> str:
        """As the original's scripts ask."""
        return "OK"

    return BodyLimit(Shortcut(app, TRANSACTIONS, commit), MAX_BLOCK)


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Refused} for status in statuses}


async def _events(miner: Miner, start: int) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(COMMENT_SECONDS):
                await miner.reached(start)
        except TimeoutError:
            yield b": still here\n\n"
            continue
        for raw in await miner.blocks(start, STREAM_BATCH):
            yield b"id: %d\ndata: %b\n\n" % (start, raw)
            start += 1


def _require_sn(miner: Miner, request: Request) -> None:
    thumbprint = peer_thumbprint(request.scope)
    if all(sn.certificate != thumbprint for sn in network.admitted(miner.chain.world)):
        raise Rejection(Code.NOT_ALLOWED, "only an SN that the ledger admits may ask this")


def _refuse_second_sn(content: Transaction, uid: str) -> None:
    if isinstance(content.body, Register) and content.body.node_type == "SN" and content.sender != uid:
        raise Rejection(Code.LOCAL_ORDERING, LOCAL_ONLY)
