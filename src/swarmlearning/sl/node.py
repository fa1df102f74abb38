"""An SL's process: its start-up in the documented order, and its end.

Identity, license, registration with an SN, file server and its announcement, then waiting for the ML process.
"""

import asyncio
import logging
import os
import shlex
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from starlette.types import ASGIApp

from swarmlearning.address import join
from swarmlearning.api.protocol import Limits
from swarmlearning.api.server import Server
from swarmlearning.bridge.bridge import Bridge
from swarmlearning.identity.source import IdentitySource
from swarmlearning.identity.tls import require_role
from swarmlearning.merge.selfcheck import require_same_bits
from swarmlearning.models.destinations import refusal_beside
from swarmlearning.models.fileserver import file_app
from swarmlearning.models.pacing import Bandwidth, limited, paced
from swarmlearning.models.pushes import Pushes
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import Fetcher
from swarmlearning.node.credentials import model_turn, share_of
from swarmlearning.node.cutting import cut_off_refused
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.errors import NodeError, RefusedError
from swarmlearning.node.follower import Follower
from swarmlearning.node.joining import Membership
from swarmlearning.node.license import Licensed, licensed
from swarmlearning.node.listening import listening_host
from swarmlearning.node.logfile import kept_log
from swarmlearning.node.moving import new_hosts
from swarmlearning.node.ready import ReportReady
from swarmlearning.node.renewing import LiveIdentity
from swarmlearning.node.sources import announced
from swarmlearning.sl.driver import Driver
from swarmlearning.sl.locking import SiteLock
from swarmlearning.sl.lockpolicy import open_lock
from swarmlearning.sl.measuring import Measuring
from swarmlearning.sl.mirroring import mirrored
from swarmlearning.sl.mlprocess import run_ml
from swarmlearning.sl.reach import ADDRESS_HINT, fault_of_loopback, fault_of_own_address
from swarmlearning.sl.readers import may_read_chunks
from swarmlearning.sl.relayed import Relayed
from swarmlearning.sl.settings import SlSettings
from swarmlearning.sl.site import site_of
from swarmlearning.sl.stopwatch import Stopwatch
from swarmlearning.transport.meters import Meter
from swarmlearning.transport.parties import Credential
from swarmlearning.transport.shares import Share
from swarmlearning.views.contracts import open_text

logger = logging.getLogger("swarm.SL")

CATCH_UP_SECONDS = 5.0
MOST_AHEAD = 1024
"""Blocks by which another node may be ahead; one that claims more is not waited for."""
RELAY_SECONDS = 5.0
"""A start waits so long for a relay; then the training may begin, and other sites reach this one later."""
OVER_ALREADY = 3
"""Exit status of an SL whose script came after the end of the training: to start it again is of no use."""


async def run_sl(settings: SlSettings, source: IdentitySource, report_ready: ReportReady) -> int:
    """Runs an SL until its training is over; the exit status of the ML command, 0 without one.

    `OVER_ALREADY` when the command failed because the training was over before it came.

    Raises `NodeError`, `ServerError`, `StoreError` or `CertificateError` with what to do; `DifferentArithmetic` where
    models made here would not be those of the other sites.
    """
    require_role(source.current.certificate, "SL")
    require_same_bits()
    with (
        DataDirectory(settings.data_dir, settings.network_id, settings.uid) as place,
        kept_log(settings.data_dir, settings.name, place.uid, settings.log) as log,
    ):
        logger.info("UID %s, start %d", place.uid, place.incarnation)
        own = LiveIdentity(source)
        async with licensed("SL", settings.license_servers, own.tls.client, place.uid) as license:
            return await _run(settings, own, report_ready, place, log, license)


async def _run(
    settings: SlSettings,
    own: LiveIdentity,
    report_ready: ReportReady,
    place: DataDirectory,
    log: Path,
    license: Licensed,
) -> int:
    store = TensorStore(settings.data_dir / "models")
    lock = await asyncio.to_thread(_lock, settings, store)
    refuse = await asyncio.to_thread(refusal_beside, settings.own_hosts)
    bandwidth = limited(settings.caps)
    fetcher = Fetcher(own.tls.client, store, refuse=refuse, bandwidth=bandwidth)
    measuring = Measuring(settings.data_dir, log)
    member = Membership("SL", settings.name, settings.sn_address, own, place, measuring.shelf, vitals=settings.vitals)
    try:
        return await _take_part(
            settings, own, report_ready, place, store, fetcher, member, measuring, lock, license, bandwidth
        )
    finally:
        await fetcher.close()
        await member.close()


async def _take_part(
    settings: SlSettings,
    own: LiveIdentity,
    report_ready: ReportReady,
    place: DataDirectory,
    store: TensorStore,
    fetcher: Fetcher,
    member: Membership,
    measuring: Measuring,
    lock: SiteLock | None,
    license: Licensed,
    bandwidth: Bandwidth | None,
) -> int:
    follower, driver = member.follower, _driver(settings, member, store, fetcher, measuring.watch, lock, bandwidth)
    member.answer_checkups(settings.own_hosts, lambda: site_of(driver.ml, license.fault))
    host = await asyncio.to_thread(listening_host, settings.host or "0.0.0.0", settings.bind)
    files = paced(_files(settings, place, follower, driver, measuring.watch), bandwidth)
    server = Server(files, own.tls.server, host, settings.fs_port, Limits(), partial(_share_of, follower), bulk=True)
    try:
        async with (
            member.joined(driver.progress, lambda: {"ready": server.serving}, partial(_tell_script, driver)),
            mirrored(driver, follower, settings.tracking, place.uid, settings.data_dir),
            measuring.observed(settings.metrics, own, place, settings.name, member, driver) as metrics,
            asyncio.TaskGroup() as tasks,
        ):
            background = [tasks.create_task(cut_off_refused(server, follower))]
            _report_open(follower)
            relayed = Relayed(member, own.tls.client, place.uid, server.adopt)
            if settings.relay:
                background.append(await _begin_relayed(relayed, server, tasks))
            else:
                address = await _announce(settings, server, host, member)
                staying = _stay_reachable(settings, relayed, server, member, driver)
                later = (_check_own_address(settings, address, own, driver), staying)
                background.extend(tasks.create_task(work) for work in later)
            background.append(tasks.create_task(server.wait()))
            facts = {"uid": place.uid, "fs": join(settings.host or "0.0.0.0", server.port), **metrics}
            status = await _train(settings, driver, report_ready, facts)
            for task in background:
                task.cancel()
            return status
    finally:
        await server.stop()


def _driver(
    settings: SlSettings,
    member: Membership,
    store: TensorStore,
    fetcher: Fetcher,
    watch: Stopwatch,
    lock: SiteLock | None,
    bandwidth: Bandwidth | None,
) -> Driver:
    driver = Driver(
        settings.rounds,
        member.follower,
        member.sender,
        store,
        fetcher,
        settings.data_dir,
        bool(settings.command) and settings.bridge is None,
        settings.shared,
        lock,
        watch,
        bandwidth,
    )
    driver.narrator.outage = lambda: member.outage
    return driver


def _tell_script(driver: Driver, error: RefusedError) -> None:
    """The network refuses this node. Its script learns the reason: no restart of the SL alone would help it."""
    driver.ml.fail(f"this site has no part in the network any more. {error}")


def _report_open(follower: Follower) -> None:
    if text := open_text(follower.chain.world):
        logger.info("%s", text)


def _lock(settings: SlSettings, store: TensorStore) -> SiteLock | None:
    """The site's privacy lock, None without a policy. Blocks. Raises `UserError`."""
    if settings.privacy_policy is None:
        return None
    same_user = bool(settings.command) and settings.shared is None
    return open_lock(settings.privacy_policy, settings.data_dir, store, same_user=same_user)


def _files(
    settings: SlSettings,
    place: DataDirectory,
    follower: Follower,
    driver: Driver,
    watch: Stopwatch,
) -> ASGIApp:
    meter = Meter()

    def allowed(thumbprint: str, digest: str, chunks: range) -> bool:
        chain = follower.chain
        layout = driver.store.layout_of(digest) if chunks else None
        return may_read_chunks(chain, place.uid, thumbprint, digest, chunks, layout) and driver.gives(chain, digest)

    def turn(credential: Credential, size: int) -> float:
        return model_turn(follower.chain, meter, credential, size)

    return file_app(
        driver.store,
        allowed,
        driver.missed,
        compress_below=settings.compress_below,
        catch_up=lambda height: _catch_up(follower, height),
        turn=watch.counted(turn),
        sums=driver.effects.sums,
        links=driver.links,
        pushes=Pushes(driver.pushable, driver.effects.arrivals.came, turn),
    )


def _share_of(follower: Follower, credential: Credential) -> Share | None:
    return share_of(follower.chain, credential)


async def _catch_up(follower: Follower, height: int) -> None:
    """Waits a moment for a block that another node has seen already."""
    if follower.chain.height < height <= follower.chain.height + MOST_AHEAD:
        with suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP_SECONDS):
                await follower.reached(height)


async def _announce(settings: SlSettings, server: Server, host: str, member: Membership) -> str:
    """Starts the file server, which listens on `host`; returns the address that others are given."""
    await server.start()
    address = settings.fs_service or join(settings.host, server.port)
    logger.info("File server is at %s, announced as %s", join(host, server.port), address)
    await member.announce(announced(address, ""))
    return address


async def _stay_reachable(
    settings: SlSettings, relayed: Relayed, server: Server, member: Membership, driver: Driver
) -> None:
    """Follows this machine's address, until the ledger shows that others do not reach it: then it has a relay."""
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(_follow_address(settings, server, member))
        if settings.relay is not None:
            return
        await relayed.needed(lambda: driver.contract)
        following.cancel()
    driver.narrator.warn(
        "Others cannot connect to this node, so they reach it through the relay of an SN from now on (--relay: from "
        "the start; --no-relay: never)"
    )
    await relayed.run()


async def _follow_address(settings: SlSettings, server: Server, member: Membership) -> None:
    """Announces each new address of this machine, where this node was told to find it by itself."""
    if not settings.moves or settings.fs_service:
        return
    async with aclosing(new_hosts(settings.sn_address, settings.host)) as hosts:
        async for host in hosts:
            member.follower.reconnect()
            address = join(host, server.port)
            logger.warning("This machine has another address now: the file server is announced as %s", address)
            await member.announce(announced(address, ""))


async def _begin_relayed(relayed: Relayed, server: Server, tasks: asyncio.TaskGroup) -> asyncio.Task[None]:
    """Begins to serve through a relay; returns once others can find this node there, or after a while."""
    server.start_unheard()
    task = tasks.create_task(relayed.run())
    with suppress(TimeoutError):
        async with asyncio.timeout(RELAY_SECONDS):
            await relayed.announced.wait()
    return task


async def _check_own_address(settings: SlSettings, address: str, own: LiveIdentity, driver: Driver) -> None:
    """Warns when this node does not reach itself at its announced address, or when it alone can do so."""
    if fault := fault_of_loopback(address, settings.sn_address):
        driver.narrator.warn(f"This node announces {address} to other sites: {fault}. {ADDRESS_HINT}")
        return
    certificate = own.current.certificate.public_bytes(Encoding.DER)
    fault = await asyncio.to_thread(fault_of_own_address, address, own.tls.client, certificate)
    if fault:
        driver.narrator.warn(
            f"This node does not reach its own file server at {address}, the address that other sites are given: "
            f"{fault}. {ADDRESS_HINT}"
        )


async def _train(settings: SlSettings, driver: Driver, report_ready: ReportReady, facts: dict[str, str]) -> int:
    """Waits for the ML process and takes part until training is over."""
    await driver.ml.channel.start()
    async with asyncio.TaskGroup() as tasks, _bridged(settings, driver.ml.channel.path) as variables:
        work = tasks.create_task(driver.run())
        logger.info("Waiting for the ML process on %s", driver.ml.channel.path)
        report_ready({"channel": str(driver.ml.channel.path), **facts})
        if settings.command:
            environment = {**_run_folder(settings), **variables}
            status = await run_ml(settings.command, driver.ml.channel.path, environment)
            if status:
                work.cancel()
                if driver.over_already:
                    logger.warning(
                        "Exit status %d, this node has nothing to do: training of contract %s is over. Do not start it "
                        "again before an operator has reset the contract",
                        OVER_ALREADY,
                        driver.contract,
                    )
                    return OVER_ALREADY
                return status
            if not driver.ml.served:
                raise NodeError(
                    f"the training command has ended although training is not over ({shlex.join(settings.command)}): "
                    "a script has to make a SwarmCallback, and to call on_train_end() before it ends"
                )
        await work
        return 0


def _run_folder(settings: SlSettings) -> dict[str, str]:
    """The variables by which a script finds the folder for its results, as in `swarm run`; those set already stay."""
    site = "".join(char if char.isalnum() or char in "._-" else "-" for char in settings.name)
    variables = {"SWARM_RUN_DIR": str(settings.data_dir / "run"), "SWARM_SITE": site}
    variables |= {name: os.environ[name] for name in variables if name in os.environ}
    folder = Path(variables["SWARM_RUN_DIR"]) / "sites" / variables["SWARM_SITE"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.warning("%s cannot be made for the script's results: %s", folder, error.strerror)
    return variables


@asynccontextmanager
async def _bridged(settings: SlSettings, channel: Path) -> AsyncIterator[dict[str, str]]:
    """Inside the block the original's client is served too, if so configured; yields the variables that lead it here.

    Raises `BridgeError` when the bridge cannot be set up.
    """
    if settings.bridge is None:
        yield {}
        return
    bridge = Bridge(settings.bridge, channel, settings.data_dir / "bridge")
    async with bridge.serving():
        yield settings.bridge.variables
