"""An SN's process: its wiring, from identity to the served API, and its entry into the network."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from swarmlearning.address import join, split
from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.backoff import Backoff
from swarmlearning.identity.source import IdentitySource
from swarmlearning.identity.tls import require_role
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.chain import Chain, ForkError, UnsupportedRulesError
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.license.servers import NO_SERVERS, LicenseServers
from swarmlearning.node.checkpoints import Checkpoints
from swarmlearning.node.checkup import Checkup
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.errors import NodeError, RefusedError
from swarmlearning.node.expiry import warn_of_authorities
from swarmlearning.node.exposed import MetricsPlace
from swarmlearning.node.facts import Reporter
from swarmlearning.node.health import answering
from swarmlearning.node.license import Licensed, licensed
from swarmlearning.node.listening import listening_host
from swarmlearning.node.logfile import DEFAULT, LogSettings, kept_log
from swarmlearning.node.organisations import NOT_DESCRIBED, Founding
from swarmlearning.node.reading import OwnShelf, Reading
from swarmlearning.node.ready import ReportReady
from swarmlearning.node.renewing import LiveIdentity
from swarmlearning.node.sender import Author
from swarmlearning.node.trusting import trust_authorities
from swarmlearning.node.vitals import Gauge
from swarmlearning.ordering.local import LocalLog, LocalPresence
from swarmlearning.ordering.protocols import EngineChoice
from swarmlearning.sn.agreement import Agreement, recovery_excluding
from swarmlearning.sn.attesting import attesting
from swarmlearning.sn.beating import Beats
from swarmlearning.sn.carrying import Carrier, OwnPost
from swarmlearning.sn.clocks import Clocks
from swarmlearning.sn.cluster import Cluster
from swarmlearning.sn.copying import copy_until
from swarmlearning.sn.descriptors import raise_descriptor_limit
from swarmlearning.sn.engine import LOCAL_HINT, LocalEngine, etcd_program
from swarmlearning.sn.exclusion import until_shut_out
from swarmlearning.sn.holding import OBJECTION_FILE, Holding
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.observing import Observer
from swarmlearning.sn.peers import Peers
from swarmlearning.sn.rechecking import recheck
from swarmlearning.sn.registration import Registration
from swarmlearning.sn.relaying import RelaySettings, relaying
from swarmlearning.sn.sealing import SEALED_FILE
from swarmlearning.sn.watchdog import Watchdog
from swarmlearning.sn.welcoming import JoinSettings, announced, welcome
from swarmlearning.views.contracts import open_text

logger = logging.getLogger("swarm.SN")

LEASE_SECONDS = 2.5
CONTACT_ATTEMPTS = 12
PLACE_SECONDS = 20.0
"""Seconds that the start waits for this SN's registration; then it serves without (there is no majority yet)."""
STOP_SECONDS = 0.2
"""Seconds for answers under way. Block streams never end by themselves; whoever was cut off sends its request again."""
CHAIN_FILE = "chain.sqlite"
ETCD_FOLDER = "etcd"


@dataclass(frozen=True)
class SnSettings:
    """The settings of one SN. `api_service` and `p2p_service` are how others reach it when that is not
    `host` and the port listened on; `sentinel_address` is the API of any SN to join through; a `witness` has no API.
    `bind`: the address to listen on, empty: see `listening_host`. `network_id`: of the only one to join. `join`: its
    port for newcomers who are invited, if it takes any."""

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
    witness: bool
    bind: str = ""
    founding: Founding = NOT_DESCRIBED
    network_id: str = ""
    relay: RelaySettings | None = None
    join: JoinSettings | None = None
    license_servers: LicenseServers = NO_SERVERS
    vitals: bool = True
    log: LogSettings = DEFAULT
    metrics: MetricsPlace | None = None


async def run_sn(settings: SnSettings, source: IdentitySource, report_ready: ReportReady) -> None:
    """Runs an SN until cancelled. Raises `NodeError`, `OrderingError`, `ServerError` or `CertificateError`."""
    require_role(source.current.certificate, "SN")
    raise_descriptor_limit()
    with (
        DataDirectory(settings.data_dir, settings.network_id) as place,
        kept_log(settings.data_dir, settings.name, place.uid, settings.log) as log,
    ):
        logger.info("UID %s, start %d", place.uid, place.incarnation)
        own = LiveIdentity(source)
        async with licensed("SN", settings.license_servers, own.tls.client, place.uid) as license:
            with closing(LocalLog(settings.data_dir / CHAIN_FILE)) as file:
                binary = await etcd_program(settings.ordering, witness=settings.witness)
                await _Sn(settings, own, place, file, binary, license, log).run(report_ready)


class _Sn:
    """The parts of one SN while it runs."""

    def __init__(
        self,
        settings: SnSettings,
        own: LiveIdentity,
        place: DataDirectory,
        file: LocalLog,
        binary: Path | None,
        license: Licensed,
        log: Path,
    ) -> None:
        self._settings = settings
        self._license = license
        self._own = own
        self._place = place
        self._peers = Peers(place.uid, own.tls.client, lambda: self._miner.chain, settings.sentinel_address)
        self._engine: LocalEngine | Cluster
        if binary is None:
            self._engine = LocalEngine(file, LocalPresence(LEASE_SECONDS))
        else:
            self._engine = Cluster(
                place.uid,
                own.tls,
                binary,
                settings.data_dir / ETCD_FOLDER,
                file,
                lambda: self._miner.chain,
                self._peers,
                self._peers.archive,
            )
        author = Author(own.signers, place.uid, place.incarnation)
        self._clocks = Clocks(settings.name, self._peers, lambda: self._miner.chain)
        objection = settings.data_dir / OBJECTION_FILE
        self._holding = Holding(author, own.signers, self._peers, self._clocks.now_ms, objection)
        sealed = settings.data_dir / SEALED_FILE
        self._miner = Miner(self._engine.switch, place.uid, own.signers, self._clocks.now_ms, self._holding, sealed)
        self._registration = Registration(settings.name, own, settings.founding, author, self._miner, self._peers)
        self._placed = False
        self._host = ""  # where it listens, even when others reach it elsewhere
        self._listens = ""  # its API there
        self._agreement = Agreement(place.uid, self._miner, self._peers, self._registration.propose)
        self._checkpoints = Checkpoints(settings.data_dir)
        self._carrier = Carrier()
        reporter = Reporter("SN", settings.name, place.uid, settings.data_dir)
        self._logs = Reading(place.uid, own.signers, self._miner, OwnShelf(log), reporter.report)
        self._observer = Observer(self._miner, self._engine, place.uid, self._faults, file.size)
        gauge = Gauge(settings.data_dir, lambda: own.current, given=settings.vitals)
        self._beats = Beats(author, self._miner, self._engine.switch, gauge, self._clocks)
        hosts = [split(service)[0] for service in (settings.api_service, settings.p2p_service) if service]
        self._logs.checkup = Checkup(place.uid, own.tls.client, lambda: self._miner.chain, [settings.host, *hosts])
        self._resumed: Chain | None = None

    async def run(self, report_ready: ReportReady) -> None:
        """Joins or founds the network, then works until cancelled."""
        try:
            await self._choose_host()
            await self._resume()
            await self._load()
            if isinstance(self._engine, Cluster):
                await self._engine.start(self._host, self._settings.p2p_port)
                await self._enter(self._engine)
            elif self._miner.chain.height < 0:
                self._refuse_to_join()
                await self._registration.found(self._settings.network_name)
            await self._work(report_ready)
        finally:
            await self._engine.stop()
            await self._peers.close()

    async def _choose_host(self) -> None:
        announced, chosen = self._settings.host, self._settings.bind
        self._host = await asyncio.to_thread(listening_host, announced, chosen)
        if not chosen and self._host != announced:
            logger.warning("%s is not an address of this machine: listening on %s", announced, self._host)

    async def _resume(self) -> None:
        """Starts from the checkpoint, if there is one that fits the chain file."""
        if (chain := self._checkpoints.read(self._place.network)) is not None:
            await self._miner.resume(chain)
            if self._miner.chain is chain:
                self._resumed = chain

    async def _recheck(self) -> None:
        """Checks what has not been replayed at the start. Raises `NodeError`; then the next start replays all."""
        if self._resumed is not None:
            try:
                await recheck(self._miner.blocks, self._resumed, self._checkpoints.base(self._place.network))
            except NodeError:
                self._checkpoints.discard()
                raise

    async def _load(self) -> None:
        with self._faults_named():
            await self._miner.load()

    @contextmanager
    def _faults_named(self) -> Iterator[None]:
        """Raises `NodeError` for what is no chain."""
        try:
            yield
        except (ForkError, MalformedError, UnsupportedRulesError) as error:
            raise NodeError(
                f"{self._settings.data_dir / CHAIN_FILE}: {error}. `swarm sn repair` fetches it anew from the other SNs"
            ) from error

    # --- taking its place -------------------------------------------------------------------------------------------

    async def _enter(self, cluster: Cluster) -> None:
        """Founds the cluster, returns to it, carries a local chain over, or begins to join."""
        chain, uid = self._miner.chain, self._place.uid
        if chain.height < 0 and not self._settings.sentinel_address:
            self._check_founding()
            await cluster.found()
            await self._load()  # it may have been killed when etcd had the genesis and the chain file had not
            if self._miner.chain.height < 0:
                await self._registration.found(self._settings.network_name)
        elif cluster.voted_before and await self._may_return():
            await cluster.return_to(alone=[sn.uid for sn in network.admitted(chain.world)] == [uid])
        elif not cluster.voted_before and [sn.uid for sn in network.admitted(chain.world)] == [uid]:
            logger.info("Moving the chain to etcd at height %d", chain.height)
            await cluster.found()
        else:
            await self._follow_others()
            await self._return_or_join(cluster)

    async def _return_or_join(self, cluster: Cluster) -> None:
        """With the network's chain at hand: a member's data is of use only while the ledger admits this SN."""
        if cluster.voted_before and network.admits(self._miner.chain.world, self._place.uid):
            await cluster.return_to(alone=False)
        else:
            cluster.forget()

    async def _may_return(self) -> bool:
        """True if this SN still has its vote. Raises `NodeError` when its chain is not the network's any more."""
        chain, uid = self._miner.chain, self._place.uid
        if not network.admits(chain.world, uid):
            return False
        recovery = await recovery_excluding(uid, chain, self._peers())
        if recovery is not None:
            logger.warning("The network was restarted without this SN at block %d", recovery.height)
        return recovery is None

    async def _follow_others(self) -> None:
        """Copies the chain of a network that is there; its genesis is pinned before anything else is believed."""
        attempt = 0
        async for _ in Backoff(longest=3.0):
            attempt += 1
            reasons, refused = list[str](), list[RefusedError]()
            for client in self._peers():
                try:
                    status = await client.status()
                    self._place.pin(status["network_id"], status["network"])
                    await self._check_shared(client, int(status["height"]))
                except (Unavailable, Refusal) as error:
                    reasons.append(str(error))
                    if isinstance(error, Refusal) and error.code == Code.NOT_ALLOWED:
                        refused.append(RefusedError(client.address, error.detail))
                    continue
                if status["ordering"] == "local":
                    raise NodeError(f"SN {client.address}: {LOCAL_HINT}")
                logger.info("Sentinel Node is UP! Joining network %s through %s", status["network"], client.address)
                await self._copy_until(int(status["height"]))
                return
            if refused and len(refused) == len(reasons):
                raise refused[0]
            logger.warning(
                "Failed to connect to the API server. Retrying %d of %d: %s",
                attempt,
                CONTACT_ATTEMPTS,
                "; ".join(reasons) or "no SN is known",
            )
            if attempt == CONTACT_ATTEMPTS:
                break
        raise NodeError("no SN of the network can be reached; check --sentinel-ip and --sentinel-api-port")

    async def _check_shared(self, client: SnClient, height: int) -> None:
        """An SN that has blocks of its own must not mix them with the network's. Raises `NodeError`."""
        shared = min(self._miner.chain.height, height)
        if shared < 0:
            return
        [own] = await self._miner.blocks(shared, 1)
        if sha256(await client.block(shared)) != sha256(own):
            raise NodeError(
                f"this SN's block {shared} is not the network's, as SN {client.address} has it (was the network "
                "restarted without this SN?). `swarm sn repair` takes over the network's chain and keeps a copy"
            )

    async def _copy_until(self, height: int) -> None:
        with self._faults_named():
            await copy_until(height, self._miner, self._engine.switch, self._peers)
        if self._miner.chain.network_id != self._place.network:
            raise NodeError("the SN has sent the chain of another network than it reported")

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

    # --- at work ----------------------------------------------------------------------------------------------------

    async def _work(self, report_ready: ReportReady) -> None:
        chain, engine, settings = self._miner.chain, self._engine, self._settings
        name = network.network(chain.world).name
        self._place.pin(chain.network_id, name)
        await self._clocks.compare()  # before the first block of this start
        health = answering(settings.data_dir, lambda: {"ready": self._placed, "height": self._miner.chain.height})
        relay = relaying(settings.relay, self._own.tls, self._miner, self._host, settings.host)
        async with asyncio.TaskGroup() as tasks, relay as relayed, self._reachable(tasks, relayed) as addresses, health:
            propose = self._registration.propose
            watchdog = Watchdog(self._place.uid, self._miner, engine.switch, propose, lambda: engine.votes)
            works = (self._clocks.run(), self._miner.run(), engine.run(), self._agreement.run(), self._recheck())
            trusting, keeping = trust_authorities(self._own.tls, self._miner), self._checkpoints.keep(self._miner)
            others = (trusting, keeping, warn_of_authorities(lambda: self._miner.chain.world), self._observer.run())
            reading = self._logs.serve(OwnPost(self._carrier, self._place.uid))
            own, now_ms, api = self._own, self._clocks.now_ms, addresses.get("api", "")
            joining = welcome(settings.join, own, self._miner, self._registration, now_ms, self._host, api)
            running = [tasks.create_task(work) for work in (*works, *others, watchdog.run(), reading, joining)]
            try:
                running.append(placing := tasks.create_task(self._registration.take_place(addresses)))
                shut_out = until_shut_out(self._miner, self._place.uid, self._place.incarnation, engine.left)
                running.extend(map(tasks.create_task, (shut_out, self._registration.follow_identity(placing))))
                await asyncio.wait((placing,), timeout=PLACE_SECONDS)
                running.append(tasks.create_task(self._beats.run()))
                logger.info("Network %s (%s), height %d", name, chain.network_id, self._miner.chain.height)
                if text := open_text(self._miner.chain.world):
                    logger.info("%s", text)
                facts = {"listens": self._listens, "network": chain.network_id, "uid": self._place.uid}
                self._placed = True
                async with self._observer.exposed(settings.metrics, settings.data_dir, self._own, self._beats) as at:
                    report_ready({**addresses, **facts, **at})
                    await asyncio.Event().wait()
            finally:
                for task in running:  # before the API, so that requests that wait for a block are answered
                    task.cancel()

    def _faults(self) -> str:
        """The faults that comparisons with the other SNs have found, as text."""
        return "; ".join(text for text in (self._agreement.alarm, self._clocks.alarm, self._holding.alarm) if text)

    @asynccontextmanager
    async def _reachable(self, tasks: asyncio.TaskGroup, relayed: dict[str, str]) -> AsyncIterator[dict[str, str]]:
        """Serves the API, unless this is a witness; yields the addresses of this SN (`api`, `p2p`, `relay`)."""
        settings, addresses = self._settings, {**relayed, **announced(self._settings.join, self._settings.host)}
        if isinstance(self._engine, Cluster):
            addresses["p2p"] = settings.p2p_service or join(settings.host, self._engine.port)
        if settings.witness:
            yield addresses
            return
        from swarmlearning.node.cutting import cut_off_refused  # a witness saves the memory of the web framework
        from swarmlearning.sn.api.app import make_api
        from swarmlearning.sn.serving import api_server

        parts = (self._miner, self._engine, self._place.uid)
        attest = attesting(self._place.uid, self._own.signers, lambda: self._miner.chain)
        app = make_api(*parts, self._faults, self._carrier, self._license.require, self._observer, attest)
        server = api_server(app, self._own.tls.server, self._host, settings.api_port, lambda: self._miner.chain)
        await server.start()
        tasks.create_task(server.wait())  # raises what breaks the serving
        cutting = tasks.create_task(cut_off_refused(server, self._miner))
        try:
            logging.getLogger("swarm.blCnt").info("Starting SWARM-API-SERVER on port: %d", server.port)
            self._listens = join(self._host, server.port)
            yield {**addresses, "api": settings.api_service or join(settings.host, server.port)}
        finally:
            cutting.cancel()
            await server.stop(STOP_SECONDS)
