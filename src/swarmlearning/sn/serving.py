"""The server of an SN's API. A witness does without, and saves the memory of the web framework."""

import ssl
from collections.abc import Callable

from starlette.types import ASGIApp

from swarmlearning.api.protocol import Limits
from swarmlearning.api.server import Server
from swarmlearning.ledger.chain import Chain
from swarmlearning.node.credentials import share_of

UNSENT_BYTES = 64 * 1024
"""Of each answer, in memory for a reader that is slow; more would only be more memory, with as many readers as SLs."""


def api_server(app: ASGIApp, tls: ssl.SSLContext, host: str, port: int, chain: Callable[[], Chain]) -> Server:
    """The server, not started yet; each organisation has its share of it, as `chain` shows."""
    limits = Limits(connections=1024, connections_per_peer=512, unsent_bytes=UNSENT_BYTES)
    return Server(app, tls, host, port, limits, lambda credential: share_of(chain(), credential))
