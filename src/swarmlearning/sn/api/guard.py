"""Who may talk to an SN at all: holders of a certificate that is made for a node or an operator, and not revoked."""

from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from swarmlearning.api.peer import peer_credential
from swarmlearning.identity.certificates import CertificateError, load_der, role_of
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.world import World
from swarmlearning.sn.api.service import Sn, refused


class Guard:
    """ASGI middleware: answers 403 to those who may not talk to this SN."""

    def __init__(self, app: ASGIApp, sn: Sn) -> None:
        self._app = app
        self._sn = sn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if fault := fault_of(self._sn.miner.chain.world, scope):
            return await refused(self._sn, *fault, 403)(scope, receive, send)
        return await self._app(scope, receive, send)


def fault_of(world: World, scope: Scope) -> tuple[Code, str] | None:
    """Why the peer of this request may not use this network's SNs; None when it may."""
    credential = peer_credential(scope)
    known = network.certificate(world, credential.thumbprint)
    if known is not None:
        return (Code.REVOKED, f"the certificate of {known.subject} has been revoked") if known.revoked else None
    fault = _role_fault(credential.certificate)
    return (Code.BAD_ROLE, fault) if fault else None


@lru_cache(maxsize=1024)
def _role_fault(der: bytes) -> str:
    try:
        role_of(load_der(der))
    except CertificateError as error:
        return str(error)
    return ""
