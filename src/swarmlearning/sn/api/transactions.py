"""`POST /transactions`: the request that comes so often that a framework's way to its handler would cost most of it."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel

from swarmlearning.ledger.bodies import Register
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import Transaction
from swarmlearning.sn.api.service import FAILURES, answer_to, refusals, service
from swarmlearning.sn.ordering import LOCAL_ONLY

BODY = {"requestBody": {"required": True, "content": {"application/jose": {"schema": {"type": "string"}}}}}


class Committed(BaseModel):
    """Where a transaction stands."""

    height: int


class PlainRoute(APIRoute):
    """A described route whose endpoint gets the request as it is, without FastAPI's dependencies and validation."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint itself."""
        endpoint: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return endpoint


router = APIRouter(route_class=PlainRoute)


@router.post("/transactions", response_model=Committed, responses=refusals(400, 409, 503), openapi_extra=BODY)
async def submit(request: Request) -> Response:
    """Commits a signed transaction (body: JWS, compact form). The answer means *on the chain*, never queued.

    Sending the same bytes again is always safe.
    """
    sn = service(request)
    try:
        signed = sn.miner.chain.rules.parse((await request.body()).decode("ascii", errors="replace"))
        if sn.engine.name == "local":
            _refuse_second_sn(signed.content, sn.uid)
        return JSONResponse({"height": await sn.miner.commit(signed)})
    except FAILURES as error:
        return answer_to(sn, error)


def _refuse_second_sn(content: Transaction, uid: str) -> None:
    if isinstance(content.body, Register) and content.body.node_type == "SN" and content.sender != uid:
        raise Rejection(Code.LOCAL_ORDERING, LOCAL_ONLY)
