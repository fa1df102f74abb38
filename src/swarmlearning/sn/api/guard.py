"""Refuses peers that may not send requests to an SN: revoked, of a retired authority, or without a role."""

from starlette.types import ASGIApp, Receive, Scope, Send

from swarmlearning.api.peer import peer_credential
from swarmlearning.ledger.codes import Code
from swarmlearning.node.credentials import peer_of
from swarmlearning.sn.api.service import Sn, refused


class Guard:
    """ASGI middleware: answers 403 to peers that may not send requests to this SN, and closes their connections."""

    def __init__(self, app: ASGIApp, sn: Sn) -> None:
        self._app = app
        self._sn = sn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = peer_of(self._sn.miner.chain, peer_credential(scope))
        if not found.may_read:
            answer = refused(self._sn, Code.NOT_ALLOWED, found.fault, 403)
            answer.headers["connection"] = "close"
            return await answer(scope, receive, send)
        return await self._app(scope, receive, send)
