"""An SN's process: its wiring, from identity to the API being served, and how it takes its place among the others."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from swarmlearning import __version__
from swarmlearning.api.client import Refusal, Unavailable
from swarmlearning.api.server import Limits, Server
from swarmlearning.identity.certificates import to_pem
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, require_role, server_context
from swarmlearning.ledger.bodies import Announce, Body, Genesis, Register
from swarmlearning.ledger.chain import RULES_VERSION, ForkError, UnsupportedRulesError
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.errors import NodeError
from swarmlearning.node.license import acquire_license
from swarmlearning.node.ready import Ready
from swarmlearning.node.sender import Author
from swarmlearning.ordering.etcd.binary import HOW_TO_INSTALL, check_version, find_binary
from swarmlearning.ordering.local import LocalLog, LocalPresence
from swarmlearning.ordering.protocols import EngineChoice, Lease, OrderingError
from swarmlearning.sn.api import make_api
from swarmlearning.sn.cluster import Cluster, admitted
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.ordering import LocalEngine
from swarmlearning.sn.peers import Peers
from swarmlearning.sn.watchdog import Watchdog

logger = logging.getLogger("swarm.SN")

LEASE_SECONDS = 2.5
BEAT_SECONDS = 0.8
CONTACT_ATTEMPTS = 12
PLACE_SECONDS = 20.0
"""How long the start waits for this SN's registration before it serves all the same (no majority yet)."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 3.0
STOP_SECONDS = 0.2
"""For answers under way. Block streams never end by themselves, and what is cut off is sent again by its sender."""
CHAIN_FILE = "chain.sqlite"


@dataclass(frozen=True)
class SnSettings:
    """What an operator says about one SN. `api_service` and `p2p_service` are how others reach it when that is not
    `host` and the port listened on; `sentinel_address` is the API of any SN to join through."""

    name: str
    host: str
    api_port: int
    p2p_port: int
    data_dir: Path
    network_name: str
    sentinel: bool
    sentinel_address: str
    ordering: EngineChoice
    api_service: str
    p2p_service: str


async def run_sn(settings: SnSettings, identity: Identity, ready: Ready) -> None:
    """Runs an SN until cancelled. Raises `NodeError`, `OrderingError`, `ServerError` or `CertificateError`."""
    require_role(identity.certificate, "SN")
    acquire_license("SN")
    with DataDirectory(settings.data_dir) as place:
        logger.info("UID %s, start %d", place.uid, place.incarnation)
        file = LocalLog(settings.data_dir / CHAIN_FILE)
        try:
            await _Sn(settings, identity, place, file, await _etcd(settings)).run(ready)
        finally:
            file.close()


async def _etcd(settings: SnSettings) -> Path | None:
    """The etcd program to order with, None for the embedded engine."""
    if settings.ordering == "local":
        return None
    binary = find_binary(os.environ)
    if binary is None and settings.ordering == "etcd":
        raise NodeError(f"--ordering etcd needs etcd, which is not in PATH: {HOW_TO_INSTALL}")
    if binary is None:
        logger.warning("etcd is not installed: this SN orders alone, no other SN can join (%s)", HOW_TO_INSTALL)
        return None
    logger.info("Ordering by etcd %s", await check_version(binary))
    return binary


class _Sn:
    """The parts of one SN while it runs."""

    def __init__(
        self, settings: SnSettings, identity: Identity, place: DataDirectory, file: LocalLog, binary: Path | None
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._place = place
        self._author = Author(identity.signer(), place.uid, place.incarnation)
        self._peers = Peers(place.uid, client_context(identity), lambda: self._miner.chain, settings.sentinel_address)
        self._engine: LocalEngine | Cluster
        if binary is None:
            self._engine = LocalEngine(file, LocalPresence(LEASE_SECONDS))
        else:
            self._engine = Cluster(
                place.uid,
                identity,
                binary,
                settings.data_dir / "etcd",
                file,
                lambda: self._miner.chain,
                self._peers,
                self._peers.archive,
            )
        self._miner = Miner(self._engine.switch, place.uid, identity.signer(), lambda: time.time_ns() // 1_000_000)

    async def run(self, ready: Ready) -> None:
        """Takes its place in the network, then serves until cancelled."""
        try:
            await self._load()
            if isinstance(self._engine, Cluster):
                await self._engine.start(self._settings.host, self._settings.p2p_port)
                await self._enter(self._engine)
            elif self._miner.chain.height < 0:
                self._refuse_to_join()
                await self._found()
            await self._serve(ready)
        finally:
            await self._engine.stop()
            await self._peers.close()

    async def _load(self) -> None:
        try:
            await self._miner.load()
        except (ForkError, MalformedError, UnsupportedRulesError) as error:
            raise NodeError(f"{self._settings.data_dir / CHAIN_FILE}: {error}") from error

    async def _enter(self, cluster: Cluster) -> None:
        """Founds the cluster, returns to it, carries a local chain over, or begins to join."""
        chain = self._miner.chain
        others = [node for node in admitted(chain) if node.uid != self._place.uid]
        if cluster.voted_before:
            await cluster.return_to()
        elif chain.height < 0 and not self._settings.sentinel_address:
            self._check_founding()
            await cluster.found()
            await self._found()
        elif chain.height >= 0 and not others:
            logger.info("Carrying the chain over to etcd at height %d", chain.height)
            await cluster.found()
        else:
            await self._follow_others()

    async def _follow_others(self) -> None:
        """Copies the chain of a network that is there; its genesis is pinned before anything else is believed."""
        pause = FIRST_PAUSE
        for attempt in range(1, CONTACT_ATTEMPTS + 1):
            for client in self._peers():
                try:
                    status = await client.status()
                except (Unavailable, Refusal) as error:
                    logger.warning("%s", error)
                    continue
                if status["ordering"] == "local":
                    raise NodeError(f"SN {client.address}: {LOCAL_HINT}")
                logger.info("Sentinel Node is UP! Joining network %s through %s", status["network"], client.address)
                self._place.pin(status["network_id"], status["network"])
                await self._copy_until(int(status["height"]))
                return
            logger.info("Failed to connect to the API server. Retrying %d of %d", attempt, CONTACT_ATTEMPTS)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        raise NodeError("no SN of the network can be reached; check --sentinel-ip and --sentinel-api-port")

    async def _copy_until(self, height: int) -> None:
        while self._miner.chain.height < height:
            await self._engine.switch.grown(self._miner.chain.height)
            await self._load()
        if self._miner.chain.network_id != self._place.network:
            raise NodeError("the SN has sent the chain of another network than it said")

    async def _serve(self, ready: Ready) -> None:
        settings, chain = self._settings, self._miner.chain
        name = network.network(chain.world).name
        self._place.pin(chain.network_id, name)
        engine = self._engine
        server = Server(
            make_api(self._miner, engine, self._place.uid),
            server_context(self._identity),
            settings.host,
            settings.api_port,
            Limits(connections=1024, connections_per_peer=512),
        )
        watchdog = Watchdog(self._miner, engine.switch, self._propose, lambda: engine.votes)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(work) for work in (self._miner.run(), watchdog.run(), engine.run())]
            await server.start()
            try:
                running.append(placing := tasks.create_task(self._take_place(server.port)))
                await asyncio.wait((placing,), timeout=PLACE_SECONDS)
                running.append(tasks.create_task(self._beat()))
                logger.info("Network %s (%s), height %d", name, chain.network_id[:16], self._miner.chain.height)
                logging.getLogger("swarm.blCnt").info("Starting SWARM-API-SERVER on port: %d", server.port)
                address = settings.api_service or f"{settings.host}:{server.port}"
                ready.tell({"api": address, "network": chain.network_id, "uid": self._place.uid})
                await server.wait()
            finally:
                await server.stop(STOP_SECONDS)
                for task in running:
                    task.cancel()

    async def _take_place(self, api_port: int) -> None:
        """Registers this start and announces where it is reached; waits for a majority as long as it takes."""
        settings = self._settings
        addresses = {"api": settings.api_service or f"{settings.host}:{api_port}"}
        if isinstance(self._engine, Cluster):
            addresses["p2p"] = settings.p2p_service or f"{settings.host}:{self._engine.port}"
        await self._insist(self._register)
        known = network.node(self._miner.chain.world, self._place.uid)
        if known is None or known.addresses != addresses:
            await self._insist(lambda: self._propose(network.CONTRACT, Announce(addresses)))

    async def _register(self) -> None:
        """Registers this start. One that the ledger does not admit may seal no block: another SN does it for it."""
        known = network.node(self._miner.chain.world, self._place.uid)
        if known is not None and network.admits(self._miner.chain.world, known.uid):
            if known.incarnation != self._place.incarnation:
                await self._propose(network.CONTRACT, self._registration())
            return
        signed = self._author.write(self._miner.chain, network.CONTRACT, self._registration())
        reasons = []
        for client in self._peers():
            try:
                await self._miner.reached(await client.submit(signed.raw))
                return
            except Unavailable as error:
                reasons.append(str(error))
            except Refusal as refusal:
                raise NodeError(f"the network refuses this SN: {refusal}") from refusal
        raise OrderingError(f"no other SN registers this one: {'; '.join(reasons) or 'none is known'}")

    async def _insist(self, say: Callable[[], Awaitable[object]]) -> None:
        """Says it until it stands; without a majority that takes as long as it takes."""
        pause = FIRST_PAUSE
        while True:
            try:
                await say()
                return
            except OrderingError as error:
                logger.warning("%s; trying again", error)
            except Rejection as rejection:
                raise NodeError(f"the network refuses this SN: {rejection}") from rejection
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _beat(self) -> None:
        """This SN's own lease; its progress is its height."""
        while True:
            lease = Lease(self._place.uid, self._place.incarnation, self._miner.chain.height, 0)
            try:
                await self._engine.switch.announce(lease)
            except OrderingError as error:
                logger.debug("%s", error)
            await asyncio.sleep(BEAT_SECONDS)

    async def _propose(self, contract: str, body: Body) -> int:
        return await self._miner.submit(self._author.write(self._miner.chain, contract, body).raw)

    # --- founding ---------------------------------------------------------------------------------------------------

    def _refuse_to_join(self) -> None:
        if self._settings.sentinel_address:
            raise NodeError(
                f"this SN cannot join {self._settings.sentinel_address} with the embedded engine: {LOCAL_HINT}"
            )
        self._check_founding()

    def _check_founding(self) -> None:
        if not self._settings.sentinel:
            raise NodeError("either --sentinel or --sentinel-ip must be specified: this SN has no chain yet")
        if self._place.network:
            raise NodeError(
                f"{self._settings.data_dir}: the chain of network {self._place.network[:16]} is gone, but this node "
                "belongs to it. Restore its chain file; to found a new network use an empty --data-dir"
            )

    async def _found(self) -> None:
        genesis = Genesis(
            network_name=self._settings.network_name,
            founder_name=self._settings.name,
            authorities=tuple(to_pem(anchor) for anchor in self._identity.anchors),
            certificate=self._bundle(),
            version=__version__,
            rules_version=RULES_VERSION,
            created_ms=time.time_ns() // 1_000_000,
        )
        logger.info("Founding network %s", self._settings.network_name)
        await self._miner.found(self._author.write(self._miner.chain, network.CONTRACT, genesis))

    def _registration(self) -> Register:
        return Register(node_type="SN", name=self._settings.name, certificate=self._bundle(), version=__version__)

    def _bundle(self) -> str:
        return "".join(to_pem(certificate) for certificate in self._identity.chain)


LOCAL_HINT = (
    f"several SNs need etcd. {HOW_TO_INSTALL[0].upper()}{HOW_TO_INSTALL[1:]}, then start the SN with --ordering etcd: "
    "its chain is carried over"
)
