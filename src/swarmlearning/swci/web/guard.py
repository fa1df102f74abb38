"""Who may use the web mode: operators of SWCI's own organisation.

The organisation is the authority that has issued SWCI's own certificate: TLS trusts no other one. What a ledger says
can only take away: a certificate that is revoked in the network of a context is refused.
"""

import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from starlette.types import ASGIApp, Receive, Scope, Send

from swarmlearning.api.middleware import send_error
from swarmlearning.api.peer import peer_credential
from swarmlearning.identity.certificates import OPERATORS, CertificateError, anchors_reached, load_der, role_of
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import server_context
from swarmlearning.ledger.chain import Chain
from swarmlearning.node.credentials import peer_of
from swarmlearning.transport.parties import Credential


def own_tls(identity: Identity) -> ssl.SSLContext:
    """A server's TLS context, which trusts the authority of `identity` alone. Raises `CertificateError`.

    Where paths lead to several authorities, it is the nearest: one above it may have issued those of others.
    """
    reached = anchors_reached(identity.chain[0], identity.chain[1:], identity.anchors, time.time_ns() // 1_000_000)
    nearest = min(reached.values())
    own = tuple(anchor for anchor, distance in reached.items() if distance == nearest)
    return server_context(replace(identity, anchors=own))


def fault_of(credential: Credential, chains: Iterable[Chain]) -> str:
    """Why the holder of a certificate that TLS has accepted may not use the web mode; empty where it may."""
    try:
        role = role_of(load_der(credential.certificate))
    except CertificateError as error:
        return str(error)
    if role not in OPERATORS:
        return f"the web mode is for operators ({', '.join(sorted(OPERATORS))}); this certificate is for {role}"
    found = (peer_of(chain, credential) for chain in chains if chain.height >= 0)
    return next((peer.fault for peer in found if not peer.may_read), "")


class Guard:
    """ASGI middleware: answers 403 to whoever may not use the web mode, and closes the connection."""

    def __init__(self, app: ASGIApp, chains: Callable[[], Iterable[Chain]]) -> None:
        self._app = app
        self._chains = chains

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if fault := fault_of(peer_credential(scope), self._chains()):
            return await send_error(send, 403, fault, [(b"connection", b"close")])
        return await self._app(scope, receive, send)
