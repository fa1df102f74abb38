"""`/v1/logs`: carries operators' requests for logs to nodes, and sealed answers back."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Request, Response

from swarmlearning.api.peer import peer_credential
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import OPERATORS
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.node.credentials import organisation_of, peer_of
from swarmlearning.node.sealing import MAX_ANSWER, MAX_ASK, digest_of
from swarmlearning.sn.api.service import Service, Sn, refusals, refused
from swarmlearning.sn.carrying import ANSWER_SECONDS, BusyError, NotConnectedError

router = APIRouter()
T = TypeVar("T")
JOSE = "application/jose"
BODY = {"requestBody": {"required": True, "content": {JOSE: {"schema": {"type": "string"}}}}}
Uid = Annotated[str, Path(max_length=64)]
Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


@router.post(
    "/v1/logs/{node}",
    response_class=Response,
    responses=refusals(400, 403, 404, 409, 422, 503),
    openapi_extra=BODY,
)
async def ask(sn: Service, node: Uid, request: Request) -> Response:
    """Asks a node for a piece of a log (body: JWS of the operator); answers with the node's JWS, sealed to the asker.

    404: the node is not connected to this SN. See docs/protocol.md for the forms of both.
    """
    credential = peer_credential(request.scope)
    if peer_of(sn.miner.chain, credential).role not in OPERATORS:
        return refused(sn, Code.NOT_ALLOWED, "only operators may ask for logs", 403)
    jws = await _text(request, MAX_ASK)
    asked = sn.carrier.ask(node, organisation_of(sn.miner.chain, credential), digest_of(jws), jws)
    try:
        answer = await _unless_gone(request, asked)
    except NotConnectedError:
        return refused(sn, Code.NOT_CONNECTED, f"node {node} is not connected to this SN", 404)
    except BusyError as error:
        return refused(sn, Code.UNAVAILABLE, str(error), 503)
    except TimeoutError:
        return refused(sn, Code.UNAVAILABLE, f"node {node} has not answered within {ANSWER_SECONDS:.0f} s", 503)
    if not answer:
        return refused(sn, Code.NOT_ALLOWED, f"node {node} does not answer this request", 409)
    if wait := sn.history_turn(credential, len(answer)):
        await asyncio.sleep(wait)
    return Response(answer, media_type=JOSE)


@router.get("/v1/logs/{node}", response_class=Response, responses=refusals(403, 422))
async def next_ask(sn: Service, node: Uid, request: Request) -> Response:
    """Waits for the next request to a node, which alone may ask this; empty where none comes for a while."""
    if not _owns(sn, node, request):
        return _not_own(sn, node)
    return Response(await _unless_gone(request, sn.carrier.next(node)), media_type=JOSE)


@router.put("/v1/logs/{node}/{digest}", status_code=204, responses=refusals(400, 403, 404, 422), openapi_extra=BODY)
async def answer(sn: Service, node: Uid, digest: Digest, request: Request) -> Response:
    """Hands over the answer of a node to the request of this digest (SHA-256 of its bytes); empty: there is none."""
    if not _owns(sn, node, request):
        return _not_own(sn, node)
    if not sn.carrier.deliver(digest, (node,), await _text(request, MAX_ANSWER)):
        return refused(sn, Code.NO_REQUEST, "nobody waits for this answer", 404)
    return Response(status_code=204)


def _owns(sn: Sn, node: str, request: Request) -> bool:
    return peer_of(sn.miner.chain, peer_credential(request.scope)).node(node) is not None


def _not_own(sn: Sn, node: str) -> Response:
    return refused(sn, Code.UNKNOWN_NODE, f"no node {node} is registered with this certificate", 403)


async def _text(request: Request, longest: int) -> str:
    """The body. Raises `MalformedError`."""
    body = await request.body()
    if len(body) > longest or not body.isascii():
        raise MalformedError(f"the body has to be a JWS of at most {longest} characters")
    return body.decode("ascii")


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns. It is cancelled when the client closes its connection: what it would get goes to nobody."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise MalformedError("the client has closed the connection")
        return working.result()
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    await request.body()
    while (await request.receive())["type"] != "http.disconnect":
        pass
