"""An SN's process: its wiring, from identity to the API being served."""

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from swarmlearning import __version__
from swarmlearning.api.server import Limits, Server
from swarmlearning.identity.certificates import to_pem
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import require_role, server_context
from swarmlearning.ledger.bodies import Announce, Body, Genesis, Register
from swarmlearning.ledger.chain import RULES_VERSION
from swarmlearning.ledger.contracts import network
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.errors import NodeError
from swarmlearning.node.license import acquire_license
from swarmlearning.node.ready import Ready
from swarmlearning.node.sender import Author
from swarmlearning.ordering.local import LocalLog, LocalPresence
from swarmlearning.sn.api import make_api
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.watchdog import Watchdog

logger = logging.getLogger("swarm.SN")

LEASE_SECONDS = 2.5
CHAIN_FILE = "chain.sqlite"


@dataclass(frozen=True)
class SnSettings:
    """What an operator says about one SN."""

    name: str
    host: str
    api_port: int
    data_dir: Path
    network_name: str
    sentinel: bool


async def run_sn(settings: SnSettings, identity: Identity, ready: Ready) -> None:
    """Runs an SN until cancelled. Raises `NodeError`, `OrderingError`, `ServerError` or `CertificateError`."""
    require_role(identity.certificate, "SN")
    acquire_license("SN")
    with DataDirectory(settings.data_dir) as place:
        logger.info("UID %s, start %d", place.uid, place.incarnation)
        log = LocalLog(settings.data_dir / CHAIN_FILE)
        try:
            await _serve(settings, identity, ready, place, log)
        finally:
            log.close()


async def _serve(settings: SnSettings, identity: Identity, ready: Ready, place: DataDirectory, log: LocalLog) -> None:
    author = Author(identity.signer(), place.uid, place.incarnation)
    miner = Miner(log, place.uid, identity.signer(), lambda: time.time_ns() // 1_000_000)
    await miner.load()
    if miner.chain.height < 0:
        await _found(settings, identity, place, miner, author)
    chain = miner.chain
    place.pin(chain.network_id, network.network(chain.world).name)
    presence = LocalPresence(LEASE_SECONDS)

    async def propose(contract: str, body: Body) -> int:
        return await miner.submit(author.write(miner.chain, contract, body).raw)

    server = Server(
        make_api(miner, presence, place.uid, "local"),
        server_context(identity),
        settings.host,
        settings.api_port,
        Limits(connections=1024, connections_per_peer=512),
    )
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(miner.run()), tasks.create_task(Watchdog(miner, presence, propose).run())]
        known = network.node(chain.world, place.uid)
        if known is None or known.incarnation != place.incarnation:
            await propose(network.CONTRACT, _registration(settings, identity))
        await server.start()
        address = f"{settings.host}:{server.port}"
        await propose(network.CONTRACT, Announce({"api": address}))
        logger.info(
            "Network %s (%s), height %d", network.network(chain.world).name, chain.network_id[:16], chain.height
        )
        logging.getLogger("swarm.blCnt").info("Starting SWARM-API-SERVER on port: %d", server.port)
        ready.tell({"api": address, "network": chain.network_id, "uid": place.uid})
        try:
            await server.wait()
        finally:
            await server.stop()
            for task in running:
                task.cancel()


async def _found(settings: SnSettings, identity: Identity, place: DataDirectory, miner: Miner, author: Author) -> None:
    if not settings.sentinel:
        raise NodeError("either --sentinel or --sentinel-ip must be specified: this SN has no chain yet")
    if place.network:
        raise NodeError(
            f"{settings.data_dir}: the chain of network {place.network[:16]} is gone, but this node belongs to it. "
            "Restore its chain file; to found a new network use an empty --data-dir"
        )
    genesis = Genesis(
        network_name=settings.network_name,
        founder_name=settings.name,
        authorities=tuple(to_pem(anchor) for anchor in identity.anchors),
        certificate=_bundle(identity),
        version=__version__,
        rules_version=RULES_VERSION,
        created_ms=time.time_ns() // 1_000_000,
    )
    logger.info("Founding network %s", settings.network_name)
    await miner.found(author.write(miner.chain, network.CONTRACT, genesis))


def _registration(settings: SnSettings, identity: Identity) -> Register:
    return Register(node_type="SN", name=settings.name, certificate=_bundle(identity), version=__version__)


def _bundle(identity: Identity) -> str:
    return "".join(to_pem(certificate) for certificate in identity.chain)
