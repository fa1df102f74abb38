"""An SN's relay, if its operator has given it a port; the ledger decides on who may use it, and how much."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from swarmlearning.address import join
from swarmlearning.identity.tls import NodeTls
from swarmlearning.ledger.chain import Chain
from swarmlearning.node.checkpoints import Source
from swarmlearning.node.credentials import model_turn, peer_of, share_of
from swarmlearning.node.cutting import cut_off_refused
from swarmlearning.node.sources import RELAY
from swarmlearning.relay.relay import Relay
from swarmlearning.transport.meters import Meter
from swarmlearning.transport.parties import Credential
from swarmlearning.transport.shares import Share

logger = logging.getLogger("swarm.SN")


@dataclass(frozen=True)
class RelaySettings:
    """`service` is announced in place of the SN's host and the `port` listened on, where given."""

    port: int
    service: str = ""


@asynccontextmanager
async def relaying(
    settings: RelaySettings | None, tls: NodeTls, source: Source, listens: str, host: str
) -> AsyncIterator[dict[str, str]]:
    """Inside the block the relay works, if there is one, at the address `listens`; yields what the SN announces for it.

    Raises `ListenError`; what breaks the relay later ends the block.
    """
    if settings is None:
        yield {}
        return
    relay = Relay(tls.server, Members(lambda: source.chain))
    port = await relay.start(listens, settings.port)
    announced = settings.service or join(host, port)
    logger.info(
        "The relay for SLs that nobody can connect to is at %s, announced as %s", join(listens, port), announced
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            works = [tasks.create_task(work) for work in (relay.wait(), cut_off_refused(relay, source))]
            yield {RELAY: announced}
            for work in works:
                work.cancel()
    finally:
        await relay.stop()


class Members:
    """A `relay.relay.Registry`; `chain` gives the SN's verified chain."""

    def __init__(self, chain: Callable[[], Chain]) -> None:
        self._chain = chain
        self._meter = Meter()

    def fault(self, credential: Credential) -> str:
        """See `Registry`: only whoever is on the ledger may use the relay."""
        found = peer_of(self._chain(), credential)
        return found.fault or ("" if found.standing == "trusted" else f"{found.subject} is not on the ledger")

    def owns(self, credential: Credential, uid: str) -> bool:
        """See `Registry`."""
        return peer_of(self._chain(), credential).node(uid) is not None

    def share_of(self, credential: Credential) -> Share | None:
        """See `Registry`: as at the SN's API."""
        return share_of(self._chain(), credential)

    def turn(self, credential: Credential, size: int) -> float:
        """See `Registry`: as at an SL's file server."""
        return model_turn(self._chain(), self._meter, credential, size)
