"""Serves the web mode until it is stopped."""

from pathlib import Path

from swarmlearning.api.protocol import Limits
from swarmlearning.api.server import Server
from swarmlearning.identity.tls import CurrentContext, follow_source
from swarmlearning.node.expiry import while_working
from swarmlearning.swci.session import Session
from swarmlearning.swci.web.app import guarded, make_api
from swarmlearning.swci.web.commands import MOST_AT_ONCE
from swarmlearning.swci.web.guard import own_tls

LIMITS = Limits(connections=4 * MOST_AT_ONCE, connections_per_peer=2 * MOST_AT_ONCE)


async def serve(session: Session, script: Path | None, host: str, port: int) -> None:
    """Serves `session` on `host:port` until it is cancelled.

    Raises `ListenError` where the address cannot be taken, `CertificateError` for an identity that cannot serve.
    """
    source = session.settings.source
    tls = CurrentContext(own_tls(known := source.current))
    server = Server(guarded(make_api(session, script), session), tls, host, port, LIMITS)
    await server.start()
    print(f"Web mode : https port {server.port}", flush=True)
    try:
        await while_working(server.wait(), follow_source(tls, own_tls, source, known))
    finally:
        await server.stop()
