"""The API of a join port, as an ASGI application over TLS, for clients that have no certificate yet.

    GET  /join?wait=SECONDS    how the invitation stands; waits so long for the office or the other organisations
    GET  /join/block           block 0, by which the network is known
    POST /join                 the one request of the invitation, as it goes on the ledger

Every request shows by a signature that its sender has the one-time key of an invitation of this network (`Guard`):
whoever has none gets one and the same answer to everything, and no body of theirs is read. Those are bounded for each
network that they come from and in all, so that they cannot keep out who has been invited.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, cast

import msgspec
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

from swarmlearning.api.middleware import BodyLimit, error_body
from swarmlearning.invitations.standing import Standing, digest_of, holder_of, standing_of
from swarmlearning.ledger.bodies import RequestAdmission, RequestCertificate
from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.inviting import admission_of
from swarmlearning.ledger.contracts.network.state import Invitation, Proposal, invitation
from swarmlearning.ledger.contracts.network.trust import authorities_of
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.ordering.protocols import OrderingError
from swarmlearning.rates import Rate
from swarmlearning.transport.meters import Meter
from swarmlearning.transport.parties import network_of

logger = logging.getLogger("swarm.SN")

MOST_BYTES: Final = 128 * 1024
"""Of a request: what certificates of authorities take."""
MOST_SECONDS: Final = 20
"""For which one request may wait for a change."""
MOST_WAITING: Final = 2
"""Requests of one invitation that may wait at a time."""
HOLDERS: Final = Rate(2, 10)
"""Requests of one invitation."""
STRANGERS: Final = Rate(1, 20)
"""Requests without a key that count, from one network."""
ALL_STRANGERS: Final = Rate(20, 5)
HOLDER: Final = "swarm.invitation"
"""In a request's ASGI scope: the public half of the key that its sender has."""

Kind = RequestCertificate | RequestAdmission


@dataclass(frozen=True)
class Desk:
    """The SN behind a join port: its verified `chain`, its clock (Unix milliseconds), `submit` puts a request on the
    ledger (raises `Rejection` or `OrderingError`), `reached` waits for a height. `own`: its authorities (PEM), `api`:
    the address of its API."""

    chain: Callable[[], Chain]
    now_ms: Callable[[], int]
    submit: Callable[[Kind], Awaitable[int]]
    reached: Callable[[int], Awaitable[object]]
    own: Callable[[], tuple[str, ...]]
    api: Callable[[], str]
    waiting: Counter[str] = field(default_factory=Counter)

    def standing(self, key: str) -> Standing:
        """How the invitation of this key stands now. Raises `Rejection` where there is none."""
        chain, found = self.chain(), self.found(key)
        trusted = (*self.own(), *(each.pem for each in authorities_of(chain.world, found.by)))
        time_ms = max(chain.time_ms, self.now_ms())
        return standing_of(chain.world, found, time_ms, tuple(dict.fromkeys(trusted)), self.api())

    def facts(self, key: str) -> tuple[Invitation, Proposal | None]:
        """All on the ledger that can change how an invitation stands. Raises `Rejection` where there is none."""
        found = self.found(key)
        return found, network.proposal(self.chain().world, found.proposal)

    def found(self, key: str) -> Invitation:
        """The invitation of this key. Raises `Rejection`."""
        found = invitation(self.chain().world, key)
        if found is None:
            raise Rejection(Code.NO_INVITATION, "there is no invitation with this key")
        return found


class Refused(BaseModel):
    """The reason of a refusal: `code` for programs, `detail` for people."""

    code: str
    detail: str


def join_app(desk: Desk, block: Callable[[], Awaitable[bytes]]) -> ASGIApp:
    """The application for strangers; `block` gives block 0."""
    return Guard(BodyLimit(described(desk, block), MOST_BYTES), desk)


def described(desk: Desk, block: Callable[[], Awaitable[bytes]]) -> FastAPI:
    """What is behind the guard: the three operations. Their description is not served."""
    app = FastAPI(title="Join port of a Swarm Network node", docs_url=None, redoc_url=None, openapi_url=None)

    async def failed(request: Request, error: Exception) -> Response:
        return _answer_to(error)

    for kind in (Rejection, OrderingError, MalformedError, RequestValidationError):
        app.add_exception_handler(kind, failed)

    @app.get("/join", response_model=None, responses=_answers(409, 422))
    async def standing(key: Holder, wait: Annotated[int, Query(ge=0, le=MOST_SECONDS)] = 0) -> Response:
        """How the invitation stands; with `wait` once that changes, or so many seconds are over."""
        return _answer(await _changed(desk, key, wait))

    @app.get("/join/block", response_model=None, responses={200: {"content": {"application/json": {}}}})
    async def first_block(key: Holder) -> Response:
        """Block 0 of the network."""
        return Response(await block(), media_type="application/json")

    @app.post("/join", response_model=None, responses=_answers(400, 409, 503), openapi_extra=_BODY)
    async def take_up(request: Request, key: Holder) -> Response:
        """Puts the request of this invitation on the ledger. Sending the same one again is safe."""
        wanted = read_wanted(await request.body())
        if wanted.key != key:
            raise Rejection(Code.NO_INVITATION, "the request is for another invitation than its sender has")
        if not _is_known(desk, wanted):
            height = await desk.submit(wanted)
            named = desk.found(key)
            logger.info("Invitation %s of %s is used: %s (block %d)", key[:12], named.by, _subject(named), height)
        return _answer(desk.standing(key))

    return app


def read_wanted(body: bytes) -> Kind:
    """The request in a body. Raises `MalformedError`."""
    try:
        return msgspec.json.decode(body, type=Kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("the body is no request of an invitation") from error


def _holder(request: Request) -> str:
    return cast(str, request.scope[HOLDER])


Holder = Annotated[str, Depends(_holder)]
_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["kind", "key", "signature"],
                    "properties": {
                        "kind": {"enum": ["RequestCertificate", "RequestAdmission"]},
                        "key": {"type": "string"},
                        "signature": {"type": "string"},
                        "request": {"type": "string"},
                        "name": {"type": "string"},
                        "anchors": {"type": "array", "items": {"type": "object"}},
                    },
                }
            }
        },
    }
}


class Guard:
    """ASGI middleware: lets in who has the key of an invitation, and answers 401 to all others, or 429."""

    def __init__(self, app: ASGIApp, desk: Desk) -> None:
        self._app = app
        self._desk = desk
        self._holders = Meter()
        self._strangers = Meter()
        self._all = Meter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        chain = self._desk.chain()
        key = holder_of(_header(scope), chain.network_id, chain.world)
        if not key:
            return await _refuse(send, *self._unknown(network_of(scope.get("client"))))
        if self._holders.turn(key, HOLDERS, patience=0) is None:
            return await _refuse(send, 429, "this invitation sends too many requests; try again in a while")
        return await self._app({**scope, HOLDER: key}, receive, send)

    def _unknown(self, whence: str) -> tuple[int, str]:
        of_one = self._strangers.turn(whence, STRANGERS, patience=0)
        of_all = self._all.turn("", ALL_STRANGERS, patience=0)
        if of_one is None or of_all is None:
            return 429, "too many requests; try again in a while"
        return 401, "this port is for those who have an invitation to this network"


async def _refuse(send: Send, status: int, detail: str) -> None:
    body = error_body(detail, Code.NO_INVITATION if status == 401 else Code.QUOTA)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    further = (b"www-authenticate", b"Invitation") if status == 401 else (b"retry-after", b"5")
    await send(
        {"type": "http.response.start", "status": status, "headers": [*headers, further, (b"connection", b"close")]}
    )
    await send({"type": "http.response.body", "body": body})


def _header(scope: Scope) -> str:
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    return found[0].decode("latin-1") if len(found) == 1 else ""


async def _changed(desk: Desk, key: str, seconds: int) -> Standing:
    """How the invitation stands once that is another way than now, or the time is over."""
    before = desk.facts(key)
    if not seconds or desk.waiting[key] >= MOST_WAITING:
        return desk.standing(key)
    desk.waiting[key] += 1
    try:
        async with asyncio.timeout(seconds):
            while desk.facts(key) == before:
                await desk.reached(desk.chain().height + 1)
    except TimeoutError:
        pass  # it stands as before
    finally:
        desk.waiting[key] -= 1
        if not desk.waiting[key]:
            del desk.waiting[key]
    return desk.standing(key)


def _is_known(desk: Desk, wanted: Kind) -> bool:
    """True if the invitation was used for this very request: then its answer has been lost."""
    stated = wanted.request if isinstance(wanted, RequestCertificate) else _admission(desk, wanted)
    return desk.standing(wanted.key).request == digest_of(stated)


def _admission(desk: Desk, wanted: RequestAdmission) -> str:
    return canonical(admission_of(desk.found(wanted.key).organisation, wanted)).decode()


def _subject(found: Invitation) -> str:
    return f"a request for {found.name}" if found.role else f"organisation {found.organisation} asks to be admitted"


def _answers(*refusals: int) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "object", "required": ["state"], "properties": {"state": {"type": "string"}}}
    return {
        200: {"content": {"application/json": {"schema": schema}}},
        **{each: {"model": Refused} for each in refusals},
    }


def _answer(found: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(found), media_type="application/json")


def _answer_to(error: Exception) -> Response:
    """The answer to a request that has failed; faults of its form without the values sent."""
    match error:
        case Rejection(code=code, detail=detail):
            return _refusal(409, code, detail)
        case OrderingError():
            return _refusal(503, Code.UNAVAILABLE, str(error))
        case RequestValidationError():
            return _refusal(422, Code.MALFORMED, f"wait: 0 to {MOST_SECONDS} seconds")
    return _refusal(400, Code.MALFORMED, str(error))


def _refusal(status: int, code: str, detail: str) -> Response:
    return Response(Refused(code=code, detail=detail).model_dump_json(), status, media_type="application/json")
