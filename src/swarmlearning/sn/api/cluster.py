"""`/log` and `/cluster`: ordering for SNs that have no vote, and the members of the cluster."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from swarmlearning.api.peer import peer_credential
from swarmlearning.ledger.block import read_header
from swarmlearning.ledger.chain import Chain, UnsealedError
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.node.credentials import peer_of
from swarmlearning.ordering.protocols import ConflictError, Head
from swarmlearning.sn.api.service import Service, Sn, refusals, refused

router = APIRouter()


class ClusterMember(BaseModel):
    """A member of the etcd cluster; `name` is the SN's UID, empty until its member has started once."""

    id: int
    name: str
    peer_url: str
    learner: bool


class Ordered(BaseModel):
    """The new head of the log."""

    height: int
    hash: str


@router.post("/log/{height}", response_model=Ordered, responses=refusals(400, 403, 409, 422, 503))
async def order(sn: Service, height: int, previous: str, request: Request) -> Response:
    """Orders a block for an SN that has no vote (body: the block); one compare-and-swap on the head."""
    _require_sn(sn, request)
    raw = await request.body()
    header = read_header(raw)
    if (header.height, header.previous) != (height, previous):
        raise MalformedError(f"the block follows block {header.height - 1} {header.previous[:12]}, not this head")
    _require_sealed(sn.miner.chain, raw, previous)
    try:
        head = await sn.engine.order(Head(height - 1, previous), raw)
    except ConflictError as conflict:
        return refused(sn, Code.CONFLICT, str(conflict))
    return JSONResponse({"height": head.height, "hash": head.hash})


@router.get("/cluster")
async def cluster(sn: Service) -> list[ClusterMember]:
    """The members of the etcd cluster: an SN learns here that it was added, or removed. Empty without a vote."""
    return [ClusterMember(**member._asdict()) for member in await sn.engine.members()]


@router.delete("/cluster/{uid}", status_code=204, responses=refusals(403, 422, 503))
async def end_vote(sn: Service, uid: str, request: Request) -> Response:
    """Ends the vote of an SN that has lost what its etcd member had on disk; only at its own request."""
    known = peer_of(sn.miner.chain, peer_credential(request.scope)).node(uid)
    if known is None or known.type != "SN":
        return refused(sn, Code.NOT_ALLOWED, f"only SN {uid} itself may request this", 403)
    await sn.engine.remove(uid)
    return Response(status_code=204)


def _require_sealed(chain: Chain, raw: bytes, previous: str) -> None:
    """Raises `MalformedError` for what is no block; where this SN does not have that head, the log decides."""
    if chain.hash == previous:
        try:
            chain.append(raw)
        except UnsealedError as error:
            raise MalformedError(str(error)) from error


def _require_sn(sn: Sn, request: Request) -> None:
    if not peer_of(sn.miner.chain, peer_credential(request.scope)).is_sn:
        raise Rejection(Code.NOT_ALLOWED, "only an SN that the ledger admits may request this")
