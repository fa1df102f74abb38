"""`POST /transactions`: a request so frequent that a framework's routing would cost most of its time."""

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

from swarmlearning.api.middleware import send_json
from swarmlearning.api.peer import peer_credential
from swarmlearning.choices import DEFAULT_CONTRACT, DEFAULT_TASKRUNNER
from swarmlearning.ledger.bodies import (
    AddAuthority,
    AddRoot,
    AdmitOrganisation,
    CreateContract,
    CreateTaskrunner,
    Register,
    Renew,
)
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.contract import OPERATORS
from swarmlearning.ledger.contracts.network.quotas import limited, refuse_excess
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import Transaction
from swarmlearning.license.features import Feature
from swarmlearning.node.credentials import organisation_of
from swarmlearning.node.license import NoLicenseError, one_line
from swarmlearning.rates import Rate
from swarmlearning.sn.api.service import FAILURES, Service, Sn, answer_to, refusals
from swarmlearning.sn.engine import LOCAL_ONLY

PATH = "/transactions"
WITH_CERTIFICATES = (Register, Renew, AdmitOrganisation, AddAuthority, AddRoot)
"""Bodies with certificates, each of which costs as much to judge as many other transactions."""
CERTIFICATES = Rate(32, 8)
"""Of one organisation, whose nodes may all start at once."""
PATIENCE = 5.0
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
    return JSONResponse(
        {"height": await _commit(sn, await request.body(), request.scope)}
    )  # described here; `Submit` answers first


class Submit:
    """ASGI middleware that does the same before the application behind it; the body has to come in one message."""

    def __init__(self, app: ASGIApp, sn: Sn) -> None:
        self._app = app
        self._sn = sn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            return await self._app(scope, receive, send)
        try:
            height = await _commit(self._sn, (await receive()).get("body", b""), scope)
        except FAILURES as error:
            return await answer_to(self._sn, error)(scope, receive, send)
        return await send_json(send, 200, b'{"height":%d}' % height)


async def _commit(sn: Sn, body: bytes, scope: Scope) -> int:
    chain, party = sn.miner.chain, organisation_of(sn.miner.chain, peer_credential(scope))
    signed = sn.miner.chain.rules.parse(body.decode("ascii", errors="replace"))
    if sn.engine.name == "local":
        _refuse_second_sn(signed.content, sn.uid)
    signer = network.certificate(chain.world, signed.signer)
    if signer is not None and signer.organisation == party:  # what nobody has to judge costs little
        refuse_excess(chain.world, signer, sn.miner.next_time())
    if signer is not None and signer.role in OPERATORS:  # others may create nothing
        await _require_license(sn, signed.content)
    if isinstance(signed.content.body, WITH_CERTIFICATES) and limited(chain.world):
        wait = sn.certificates.turn(party, CERTIFICATES, patience=PATIENCE)
        if wait is None:
            text = f"organisation {party} sends more certificates than {CERTIFICATES.amount} a second; try again in"
            raise Rejection(Code.QUOTA, f"{text} {PATIENCE:g} s")
        await asyncio.sleep(wait)
    return await sn.miner.commit(signed, party)


async def _require_license(sn: Sn, content: Transaction) -> None:
    """Takes the token for training contracts and taskrunners beside the default ones. Raises `Rejection`."""
    match content.body:
        case CreateContract() if content.contract != DEFAULT_CONTRACT:
            feature = Feature.TRAINING_CONTRACTS
        case CreateTaskrunner() if content.contract != DEFAULT_TASKRUNNER:
            feature = Feature.TASKRUNNERS
        case _:
            return
    try:
        await sn.require(feature)
    except NoLicenseError as error:
        raise Rejection(Code.NO_LICENSE, one_line(str(error))) from error


def _refuse_second_sn(content: Transaction, uid: str) -> None:
    if isinstance(content.body, Register) and content.body.node_type == "SN" and content.sender != uid:
        raise Rejection(Code.LOCAL_ORDERING, LOCAL_ONLY)
