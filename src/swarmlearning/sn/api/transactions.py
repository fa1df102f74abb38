"""`POST /transactions`: the request that comes so often that a framework's way to its handler would cost most of it."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from swarmlearning.ledger.bodies import Register
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import Transaction
from swarmlearning.sn.api.service import FAILURES, Service, Sn, answer_to, refusals
from swarmlearning.sn.engine import LOCAL_ONLY

PATH = "/transactions"
BODY = {"requestBody": {"required": True, "content": {"application/jose": {"schema": {"type": "string"}}}}}


class Committed(BaseModel):
    """The height of the block that holds a transaction."""

    height: int


router = APIRouter()


@router.post(PATH, response_model=Committed, responses=refusals(400, 409, 503), openapi_extra=BODY)
async def submit(sn: Service, request: Request) -> Response:
    """Commits a signed transaction (body: JWS, compact form). The answer means *on the chain*, never queued.

    Sending the same bytes again is always safe.
    """
    return await _commit(sn, await request.body())  # described here; `Submit` answers first


class Submit:
    """The same as an ASGI application of its own."""

    def __init__(self, sn: Sn) -> None:
        self._sn = sn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await _commit(self._sn, await Request(scope, receive).body())
        await response(scope, receive, send)


async def _commit(sn: Sn, body: bytes) -> Response:
    try:
        signed = sn.miner.chain.rules.parse(body.decode("ascii", errors="replace"))
        if sn.engine.name == "local":
            _refuse_second_sn(signed.content, sn.uid)
        return JSONResponse({"height": await sn.miner.commit(signed)})
    except FAILURES as error:
        return answer_to(sn, error)


def _refuse_second_sn(content: Transaction, uid: str) -> None:
    if isinstance(content.body, Register) and content.body.node_type == "SN" and content.sender != uid:
        raise Rejection(Code.LOCAL_ORDERING, LOCAL_ONLY)
