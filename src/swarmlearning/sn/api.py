"""The SN's HTTP API. Everything is served over mutual TLS; the OpenAPI page is at `/docs`."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel, Field

from swarmlearning import __version__
from swarmlearning.api.server import BodyLimit, peer_certificate, peer_thumbprint
from swarmlearning.identity.certificates import subject_of
from swarmlearning.ledger.apply import state_of
from swarmlearning.ledger.block import MAX_BLOCK
from swarmlearning.ledger.bodies import Register
from swarmlearning.ledger.contracts import network, training
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training import Training
from swarmlearning.ledger.transaction import MalformedError, parse
from swarmlearning.ordering.etcd.gateway import Member
from swarmlearning.ordering.etcd.member import peer_url
from swarmlearning.ordering.etcd.membership import describe
from swarmlearning.ordering.protocols import ConflictError, Head, Lease, OrderingError
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.ordering import LOCAL_ONLY, Engine

COMMENT_SECONDS = 2.0
STREAM_BATCH = 64


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


class VoterStatus(BaseModel):
    """An SN's part in ordering: `voter`, `learner` or `spare`; its height as its last heartbeat said it."""

    uid: str
    name: str
    part: str
    height: int | None
    present: bool


class Status(BaseModel):
    """The network as this SN sees it."""

    network: str
    network_id: str
    sn: str
    version: str
    height: int
    hash: str
    ordering: str
    votes: bool
    bears: str
    sns: list[VoterStatus]
    nodes: list[NodeStatus]
    trainings: list[TrainingStatus]


class Ordered(BaseModel):
    """The new head of the log."""

    height: int
    hash: str


def make_api(miner: Miner, engine: Engine, uid: str) -> BodyLimit:
    """The ASGI application of one SN."""
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

    @app.exception_handler(Rejection)
    async def rejected(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Rejection)
        return refused(error.code, error.detail)

    @app.exception_handler(MalformedError)
    async def malformed(request: Request, error: Exception) -> JSONResponse:
        return refused("malformed", str(error), status=400)

    @app.exception_handler(OrderingError)
    async def unavailable(request: Request, error: Exception) -> JSONResponse:
        return refused("unavailable", str(error), status=503)

    @app.post(
        "/transactions", response_model=Committed, responses=_refusals(400, 409, 503), openapi_extra=TRANSACTION_BODY
    )
    async def submit(request: Request) -> Response:
        """Commits a signed transaction (body: JWS, compact form). The answer means *on the chain*, never queued.

        Sending the same bytes again is always safe.
        """
        raw = (await request.body()).decode("ascii", errors="replace")
        if engine.name == "local":
            _refuse_second_sn(raw, uid)
        return JSONResponse({"height": await miner.submit(raw)})

    @app.post("/log/{height}", response_model=Ordered, responses=_refusals(403, 409, 503))
    async def order(height: int, previous: str, request: Request) -> Response:
        """Orders a block for an SN that has no vote (body: the block); one compare-and-swap on the head."""
        _require_sn(miner, request)
        try:
            head = await engine.order(Head(height - 1, previous), await request.body())
        except ConflictError as conflict:
            return refused("conflict", str(conflict))
        return JSONResponse({"height": head.height, "hash": head.hash})

    @app.post("/cluster/join", status_code=204, responses=_refusals(403, 503))
    async def join(members: dict[str, str], request: Request) -> Response:
        """A voter tells this SN that it is a learner of the cluster now."""
        _require_sn(miner, request)
        if not engine.votes and not engine.learns:
            await engine.join(members)
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
            return refused("no-block", f"the chain ends at block {miner.chain.height}", status=404)
        return Response(raw, media_type="application/json")

    @app.put("/presence/{node}", status_code=204, responses=_refusals(403, 409))
    async def beat(node: str, beat: Beat, request: Request) -> Response:
        """Renews a node's lease; only with a certificate of that node, and only for its latest start."""
        known = network.node(miner.chain.world, node)
        if known is None or known.subject != subject_of(peer_certificate(request.scope)):
            return refused("unknown-node", f"no node {node} is registered with this certificate", status=403)
        if known.incarnation > beat.incarnation:
            detail = f"node {node} was started again and now runs as incarnation {known.incarnation}"
            return refused("old-incarnation", f"{detail}; incarnation {beat.incarnation} must stop")
        if known.incarnation < beat.incarnation:
            return refused("unknown-incarnation", f"node {node} has not registered incarnation {beat.incarnation} yet")
        await presence.announce(Lease(node, beat.incarnation, beat.steps, beat.moved))
        return Response(status_code=204)

    @app.get("/status", response_model=Status)
    async def status() -> Status:
        """Nodes, trainings, and what each of them waits for."""
        return _status(miner, uid, engine, await engine.members(), await engine.leases())

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

    return BodyLimit(app, MAX_BLOCK)


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
        raise Rejection("not-allowed", "only an SN that the ledger admits may ask this")


def _refuse_second_sn(raw: str, uid: str) -> None:
    content = parse(raw).content
    if isinstance(content.body, Register) and content.body.node_type == "SN" and content.sender != uid:
        raise Rejection("local-ordering", LOCAL_ONLY)


def _sns(miner: Miner, members: list[Member], leases: dict[str, Lease]) -> list[VoterStatus]:
    found = []
    for node in network.nodes(miner.chain.world):
        if node.type != "SN" or node.left:
            continue
        member = next((one for one in members if one.peer_url == peer_url(node.uid)), None)
        part = "spare" if member is None else "learner" if member.learner else "voter"
        lease = leases.get(node.uid)
        found.append(
            VoterStatus(
                uid=node.uid,
                name=node.name,
                part=part,
                height=lease.steps if lease else None,
                present=lease is not None,
            )
        )
    return found


def _bears(engine: Engine, members: list[Member]) -> str:
    if engine.name == "local":
        return "one SN, ordering alone: survives none; with etcd more SNs can join"
    voters = sum(not member.learner for member in members)
    if voters:
        return describe(voters)
    return "no majority of voters answers: writes wait" if engine.votes else "this SN has no vote; ask a voter"


def _status(miner: Miner, uid: str, engine: Engine, members: list[Member], leases: dict[str, Lease]) -> Status:
    chain = miner.chain
    known = {node.uid: node for node in network.nodes(chain.world)}

    def name(node: str) -> str:
        return known[node].name if node in known else node

    def text(state: Training) -> str:
        line = training.waiting_text(state)
        for member in state.members:
            line = line.replace(member, name(member))
        return line

    return Status(
        network=network.network(chain.world).name,
        network_id=chain.network_id,
        sn=uid,
        version=__version__,
        height=chain.height,
        hash=chain.hash,
        ordering=engine.name,
        votes=engine.votes,
        bears=_bears(engine, members),
        sns=_sns(miner, members, leases),
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
