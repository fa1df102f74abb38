"""The SN's HTTP API. Everything is served over mutual TLS; the OpenAPI page is at `/docs`."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel, Field

from swarmlearning import __version__
from swarmlearning.api.server import BodyLimit, peer_certificate
from swarmlearning.identity.certificates import subject_of
from swarmlearning.ledger.apply import state_of
from swarmlearning.ledger.contracts import network, training
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training import Training
from swarmlearning.ledger.transaction import MAX_TRANSACTION, MalformedError
from swarmlearning.ordering.protocols import Lease, OrderingError, Presence
from swarmlearning.sn.miner import BusyError, Miner

COMMENT_SECONDS = 15.0
STREAM_BATCH = 64


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


class NodeStatus(BaseModel):
    """A registered node."""

    uid: str
    type: str
    name: str
    incarnation: int
    alive: bool
    version: str
    addresses: dict[str, str]


class TrainingStatus(BaseModel):
    """A training contract in short."""

    name: str
    rounds: int
    over: bool
    min_peers: int | None
    members: list[str]
    leader: str | None
    waiting_for: list[str]
    text: str


class Status(BaseModel):
    """The network as this SN sees it."""

    network: str
    network_id: str
    sn: str
    version: str
    height: int
    hash: str
    ordering: str
    nodes: list[NodeStatus]
    trainings: list[TrainingStatus]


def make_api(miner: Miner, presence: Presence, uid: str, ordering: str) -> BodyLimit:
    """The ASGI application of one SN."""
    app = FastAPI(
        title="Swarm Network node",
        version=__version__,
        description="Submit signed transactions, follow the chain, ask for the state. See docs/protocol.md.",
        responses={409: {"model": Refused}},
    )

    def refused(code: str, detail: str, status: int = 409) -> JSONResponse:
        return JSONResponse(
            Refused(code=code, detail=detail, height=miner.chain.height).model_dump(), status_code=status
        )

    @app.exception_handler(Rejection)
    async def rejected(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Rejection)
        return refused(error.code, error.detail)

    @app.exception_handler(MalformedError)
    async def malformed(request: Request, error: Exception) -> JSONResponse:
        return refused("malformed", str(error), status=400)

    @app.exception_handler(BusyError)
    @app.exception_handler(OrderingError)
    async def unavailable(request: Request, error: Exception) -> JSONResponse:
        return refused("unavailable", str(error), status=503)

    @app.post("/transactions", response_model=Committed)
    async def submit(request: Request) -> Response:
        """Commits a signed transaction (body: JWS, compact form). The answer means *on the chain*, never queued.

        Sending the same bytes again is always safe.
        """
        raw = (await request.body()).decode("ascii", errors="replace")
        return JSONResponse({"height": await miner.submit(raw)})

    @app.get("/blocks")
    async def stream(start: Annotated[int, Query(alias="from", ge=0)] = 0) -> StreamingResponse:
        """Every block from a height on, for ever, as server-sent events: id = height, data = the block."""
        return StreamingResponse(_events(miner, start), media_type="text/event-stream")

    @app.get("/blocks/{height}", response_class=Response)
    async def block(height: int) -> Response:
        """One block, its exact bytes."""
        raw = await miner.block(height) if height >= 0 else None
        if raw is None:
            return refused("no-block", f"the chain ends at block {miner.chain.height}", status=404)
        return Response(raw, media_type="application/json")

    @app.put("/presence/{node}", status_code=204)
    async def beat(node: str, beat: Beat, request: Request) -> Response:
        """Renews a node's lease; only with a certificate of that node, and only for its latest start."""
        known = network.node(miner.chain.world, node)
        if known is None or known.subject != subject_of(peer_certificate(request.scope)):
            return refused("unknown-node", f"no node {node} is registered with this certificate", status=403)
        if known.incarnation > beat.incarnation:
            return refused("old-incarnation", f"node {node} was started again as incarnation {known.incarnation}")
        await presence.announce(Lease(node, beat.incarnation, beat.steps, beat.moved))
        return Response(status_code=204)

    @app.get("/status", response_model=Status)
    async def status() -> Status:
        """Nodes, trainings, and what each of them waits for."""
        return _status(miner, uid, ordering)

    @app.get("/contracts/{name}")
    async def contract(name: str) -> Response:
        """The whole state of a training contract."""
        state = state_of(miner.chain.world, name)
        body: dict[str, Any] = msgspec.to_builtins(state)
        return JSONResponse(body | {"text": training.waiting_text(state)})

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Whether this SN can do its work."""
        return {"ready": True, "height": miner.chain.height}

    @app.get("/is_up", response_class=PlainTextResponse)
    async def is_up() -> str:
        """As the original's scripts ask."""
        return "OK"

    return BodyLimit(app, MAX_TRANSACTION)


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


def _status(miner: Miner, uid: str, ordering: str) -> Status:
    chain = miner.chain
    known = {node.uid: node for node in network.nodes(chain.world)}

    def name(node: str) -> str:
        return known[node].name if node in known else node

    return Status(
        network=network.network(chain.world).name,
        network_id=chain.network_id,
        sn=uid,
        version=__version__,
        height=chain.height,
        hash=chain.hash,
        ordering=ordering,
        nodes=[
            NodeStatus(**{field: getattr(node, field) for field in NodeStatus.model_fields}) for node in known.values()
        ],
        trainings=[
            TrainingStatus(
                name=state.name,
                rounds=state.rounds,
                over=state.over,
                min_peers=state.terms.min_peers if state.terms else None,
                members=[name(member) for member in sorted(state.members)],
                leader=name(state.round.leader) if state.round else None,
                waiting_for=[name(member) for member in training.awaited(state)],
                text=network.with_names(chain.world, training.waiting_text(state)),
            )
            for state in chain.world.area("training/", Training)
        ],
    )
