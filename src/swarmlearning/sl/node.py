"""An SL's process: its start-up in the documented order, and its end.

Identity, license, registration with an SN, file server and its announcement, then waiting for the ML process.
"""

import asyncio
import logging
import shlex
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from swarmlearning import __version__
from swarmlearning.address import join
from swarmlearning.api.client import Refusal, Unavailable
from swarmlearning.api.protocol import Limits
from swarmlearning.api.server import Server
from swarmlearning.backoff import Backoff
from swarmlearning.bridge.bridge import Bridge, BridgeSettings
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, require_role, server_context
from swarmlearning.ledger.bodies import Announce, Leave, Register
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.models.fileserver import file_app
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import Fetcher
from swarmlearning.node.checkpoints import Checkpoints
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.errors import NodeError, Superseded
from swarmlearning.node.follower import Follower
from swarmlearning.node.heartbeat import Heartbeat
from swarmlearning.node.license import acquire_license
from swarmlearning.node.ready import Ready
from swarmlearning.node.sender import Author, Sender
from swarmlearning.rounds.settings import RoundSettings
from swarmlearning.sl.driver import Driver
from swarmlearning.sl.mlprocess import run_ml
from swarmlearning.sl.readers import may_read

logger = logging.getLogger("swarm.SL")

CONTACT_ATTEMPTS = 12
LEAVE_SECONDS = 2.0
CONTACT_HINT = (
    "Check that the SN runs, that --sn-ip and --sn-api-port are its address, and that it trusts the CA of this node's "
    "certificate (its log tells of failed TLS handshakes)"
)


@dataclass(frozen=True)
class SlSettings:
    """What an operator says about one SL. `fs_service` is how others reach its file server when that is not `host` and
    the port it listens on. `compress_below`: bytes of the smallest model that is never sent compressed. `bridge`: also
    serve the original's client."""

    name: str
    host: str
    fs_port: int
    fs_service: str
    sn_address: str
    data_dir: Path
    rounds: RoundSettings
    compress_below: int
    command: Sequence[str]
    bridge: BridgeSettings | None = None


async def run_sl(settings: SlSettings, identity: Identity, ready: Ready) -> int:
    """Runs an SL until its training is over; the exit status of the ML command, 0 without one.

    Raises `NodeError`, `ServerError`, `StoreError` or `CertificateError` with what to do.
    """
    require_role(identity.certificate, "SL")
    acquire_license("SL")
    with DataDirectory(settings.data_dir) as place:
        logger.info("UID %s, start %d", place.uid, place.incarnation)
        tls = client_context(identity)
        store = TensorStore(settings.data_dir / "models")
        fetcher = Fetcher(tls, store)
        follower = Follower([settings.sn_address], tls, place.pin)
        try:
            return await _take_part(settings, identity, ready, place, store, fetcher, follower)
        finally:
            await fetcher.close()
            await follower.close()


async def _take_part(
    settings: SlSettings,
    identity: Identity,
    ready: Ready,
    place: DataDirectory,
    store: TensorStore,
    fetcher: Fetcher,
    follower: Follower,
) -> int:
    sender = Sender(Author(identity.signer(), place.uid, place.incarnation), follower, logger.warning)
    driver = Driver(settings.rounds, follower, sender, store, fetcher, settings.data_dir)
    superseded: asyncio.Queue[str] = asyncio.Queue()
    heartbeat = _heartbeat(identity, place, driver, superseded, follower)
    files = file_app(
        store,
        lambda thumbprint, digest: may_read(follower.chain, place.uid, thumbprint, digest),
        driver.missed,
        compress_below=settings.compress_below,
    )
    server = Server(files, server_context(identity), settings.host, settings.fs_port, Limits())
    height = await _contact(follower)
    checkpoints = Checkpoints(settings.data_dir)
    if (verified := checkpoints.read(place.network)) is not None:
        await follower.resume(verified)
    try:
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(follower.run()),
                tasks.create_task(checkpoints.keep(follower)),
                tasks.create_task(_end_when(superseded)),
            ]
            await follower.reached(height)
            await _say(sender, Register("SL", settings.name, identity.bundle, __version__))
            heartbeat.start(lambda: follower.addresses)
            await server.start()
            address = join(settings.host, server.port)
            logger.info("File server is at %s", address)
            await _say(sender, Announce({"fs": settings.fs_service or address}))
            background.append(tasks.create_task(server.wait()))
            try:
                status = await _train(settings, driver, ready, {"uid": place.uid, "fs": address})
            finally:  # also where an operator stops it: the others need not wait for its lease to end
                await asyncio.to_thread(heartbeat.stop)
                await _leave(sender)
            for task in background:
                task.cancel()
            return status
    finally:
        heartbeat.stop()
        await server.stop()


def _heartbeat(
    identity: Identity, place: DataDirectory, driver: Driver, superseded: "asyncio.Queue[str]", follower: Follower
) -> Heartbeat:
    loop = asyncio.get_running_loop()
    return Heartbeat(
        client_context(identity),
        place.uid,
        place.incarnation,
        progress=driver.progress,
        on_superseded=lambda why: loop.call_soon_threadsafe(superseded.put_nowait, why),
        chain=lambda: follower.chain,
    )


async def _train(settings: SlSettings, driver: Driver, ready: Ready, facts: dict[str, str]) -> int:
    """Waits for the ML process and takes part until training is over."""
    await driver.ml.channel.start()
    async with asyncio.TaskGroup() as tasks, _bridged(settings, driver.ml.channel.path) as variables:
        work = tasks.create_task(driver.run())
        logger.info("Waiting for the ML process on %s", driver.ml.channel.path)
        ready.tell({"channel": str(driver.ml.channel.path), **facts})
        if settings.command:
            status = await run_ml(settings.command, driver.ml.channel.path, variables)
            if status:
                work.cancel()
                return status
            if not driver.ml.served:
                raise NodeError(
                    f"the training command has ended although training is not over ({shlex.join(settings.command)}): "
                    "a script has to make a SwarmCallback, and to call on_train_end() before it ends"
                )
        await work
        return 0


@asynccontextmanager
async def _bridged(settings: SlSettings, channel: Path) -> AsyncIterator[dict[str, str]]:
    """Inside the block the original's client is served too, if that is asked for; the variables that lead it here.

    Raises `BridgeError` when the bridge cannot be set up.
    """
    if settings.bridge is None:
        yield {}
        return
    bridge = Bridge(settings.bridge, channel, settings.data_dir / "bridge")
    async with bridge.serving():
        yield settings.bridge.variables


async def _contact(follower: Follower) -> int:
    """Height of the chain at the SN. Raises `NodeError` when no SN can be reached, or refuses this node."""
    attempt = 0
    async for _ in Backoff(longest=3.0):
        attempt += 1
        try:
            status = await follower.client.status()
            return int(status["height"])
        except Unavailable as error:
            if error.final:
                raise NodeError(f"Unable to contact API-Server: {error}") from error
            if attempt == CONTACT_ATTEMPTS:
                raise NodeError(f"Unable to contact API-Server: {error}. {CONTACT_HINT}") from error
            logger.warning("%s", error)
            logger.info("Failed to connect to the API server. Retrying %d of %d", attempt, CONTACT_ATTEMPTS)
        except Refusal as refusal:
            raise NodeError(
                f"what answers at {follower.client.address} is not an SN: {refusal}. Check --sn-ip and --sn-api-port"
            ) from refusal
    raise AssertionError("unreachable")


async def _say(sender: Sender, body: Register | Announce) -> None:
    try:
        await sender.send(network.CONTRACT, body)
    except Refusal as refusal:
        if refusal.code == Code.OLD_INCARNATION:
            raise Superseded(refusal.detail) from refusal
        raise NodeError(f"the SN refuses this node: {refusal}") from refusal


async def _leave(sender: Sender) -> None:
    """Says that this node ends, so that nobody has to find out by its lease; a registration brings it back."""
    try:
        await asyncio.wait_for(sender.send(network.CONTRACT, Leave()), LEAVE_SECONDS)
    except (Refusal, TimeoutError) as error:
        logger.warning("The SN was not told that this node ends: %s", str(error) or "no answer")


async def _end_when(superseded: asyncio.Queue[str]) -> None:
    raise Superseded(await superseded.get())
