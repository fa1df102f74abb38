"""`/presence`, `/status` and the smaller questions about the network's state."""

import asyncio
from typing import Annotated, Any, TypeAlias

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from swarmlearning.api.client import TIME_HEADER
from swarmlearning.api.peer import peer_credential
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.node.clocks import clock_ms
from swarmlearning.node.credentials import peer_of
from swarmlearning.ordering.protocols import Lease
from swarmlearning.sn.api.service import Service, refusals, refused
from swarmlearning.sn.status import Status
from swarmlearning.views.names import fetch_addresses, node_names
from swarmlearning.views.render import waiting_text
from swarmlearning.views.training import TrainingProgress, waiting_in
from swarmlearning.views.vitals import Vitals, read_vitals

router = APIRouter()


Count: TypeAlias = Annotated[int, Field(ge=0, lt=2**53)]
"""As on the ledger: every program for JSON reads it exactly, and clients of the status refuse others."""
MOST = 1e300
COST = 16
"""A byte of a contract's state counts as so many of history: it is the writing of it that costs."""


def _check(progress: TrainingProgress) -> TrainingProgress:
    counts = (progress.epochs, progress.total_epochs)
    measures = (progress.batches_per_second, progress.samples_per_second, progress.eta_seconds)
    if not all(0 <= count < 2**53 for count in counts) or not all(0 <= (each or 0.0) <= MOST for each in measures):
        raise ValueError("no progress that a training can have")
    return progress


class Beat(BaseModel):
    """A heartbeat: the number of the node's start, and its progress: an SL's batches in `steps`, an SN's height.

    `time_ms`: what the node's clock shows, as Unix time. `same_user`: a SWOP that runs ML processes as its own user.
    `vitals`: what the node says of its machine; what is none counts as withheld.
    """

    incarnation: int = Field(ge=1)
    steps: Count
    moved: Count
    training: Annotated[TrainingProgress, AfterValidator(_check)] | None = None
    time_ms: Count | None = None
    same_user: bool = False
    vitals: Annotated[Vitals | None, BeforeValidator(read_vitals)] = None


@router.put("/presence/{node}", status_code=204, responses=refusals(403, 409, 422))
async def renew(sn: Service, node: str, beat: Beat, request: Request) -> Response:
    """Renews a node's lease; only with a certificate of that node, and only for its latest start. The answer has the
    SN's time, by which the node compares its clock."""
    known = peer_of(sn.miner.chain, peer_credential(request.scope)).node(node)
    if known is None:
        return refused(sn, Code.UNKNOWN_NODE, f"no node {node} is registered with this certificate", 403)
    if known.incarnation > beat.incarnation:
        detail = f"node {node} was started again and now runs as incarnation {known.incarnation}"
        return refused(sn, Code.OLD_INCARNATION, f"{detail}; incarnation {beat.incarnation} must stop")
    if known.incarnation < beat.incarnation:
        detail = f"node {node} has not registered incarnation {beat.incarnation} yet"
        return refused(sn, Code.UNKNOWN_INCARNATION, detail)
    ahead_ms = beat.time_ms - sn.miner.now_ms() if beat.time_ms is not None else 0
    told = (beat.steps, beat.moved, beat.training, ahead_ms, beat.same_user, beat.vitals)
    lease = Lease(node, beat.incarnation, *told)
    await sn.engine.switch.announce(lease)
    return Response(status_code=204, headers={TIME_HEADER: str(sn.miner.now_ms())})


@router.get("/status", response_model=Status)
async def status(sn: Service) -> Response:
    """Nodes, trainings, and what each of them waits for."""
    return Response(await sn.status.get(), media_type="application/json")


@router.get("/contracts/{name}", responses=refusals(422))
async def contract(sn: Service, name: str, request: Request) -> Response:
    """The whole state of a training contract."""
    world = sn.miner.chain.world
    state = state_of(world, name)
    body: dict[str, Any] = msgspec.to_builtins(state)
    text = waiting_text(waiting_in(world, state), node_names(world), fetch_addresses(world))
    answer = JSONResponse(body | {"text": text})
    if wait := sn.history_turn(peer_credential(request.scope), COST * len(answer.body)):
        await asyncio.sleep(wait)
    return answer


@router.get("/health")
async def health(sn: Service) -> dict[str, Any]:
    """Reports that this SN can do its work, its height, and the time of its clock."""
    return {"ready": True, "height": sn.miner.chain.height, "time_ms": clock_ms()}


@router.get("/is_up", response_class=PlainTextResponse)
async def is_up() -> str:
    """Returns OK, as the original's scripts expect."""
    return "OK"
