"""The process of a license server: its parts and their wiring."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from swarmlearning.address import join
from swarmlearning.api.server import Server
from swarmlearning.files import make_private
from swarmlearning.identity.certificates import CertificateError, anchors_reached, thumbprint
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.source import IdentitySource
from swarmlearning.identity.tls import CurrentContext, client_context, follow_source, server_context
from swarmlearning.license.client import LicenseClient
from swarmlearning.license.documents import License, capacity_text
from swarmlearning.license.features import LicenseError
from swarmlearning.license.following import Following
from swarmlearning.license.office import LEASE_SECONDS, TAKEOVER_SECONDS, Office
from swarmlearning.license.rights import date_text
from swarmlearning.license.serving import authority_in, license_app
from swarmlearning.license.shelf import Shelf
from swarmlearning.license.store import LeaseStore
from swarmlearning.views.names import displayed

logger = logging.getLogger("swarm.license")

WARNING_DAYS = (30, 7, 1, 0)
DAY_MS = 24 * 3600 * 1000
STOP_SECONDS = 1.0
SECONDS_BETWEEN_LOOKS = 3600


@dataclass(frozen=True)
class ServerSettings:
    """`other`: the address of the other one of two servers, empty where there is none; `standby`: this one is the
    secondary."""

    host: str
    port: int
    data_dir: Path
    other: str = ""
    standby: bool = False
    lease_seconds: float = LEASE_SECONDS
    takeover_seconds: float = TAKEOVER_SECONDS


async def run_server(
    settings: ServerSettings, shelf: Shelf, source: IdentitySource, report_ready: Callable[[dict[str, str]], None]
) -> None:
    """Serves until cancelled. Raises `LicenseError`, `ListenError` or `CertificateError`."""
    lock = _locked(settings.data_dir)
    store = LeaseStore(settings.data_dir / "leases.sqlite")
    try:
        office = Office(
            store,
            shelf.refresh,
            settings.lease_seconds,
            standby=settings.standby,
            takeover_seconds=settings.takeover_seconds,
        )
        await _serve(settings, office, shelf, source, report_ready)
    finally:
        store.close()
        lock.release()


async def _serve(
    settings: ServerSettings,
    office: Office,
    shelf: Shelf,
    source: IdentitySource,
    report_ready: Callable[[dict[str, str]], None],
) -> None:
    identity = source.current
    client_tls, server_tls = CurrentContext(client_context(identity)), CurrentContext(server_context(identity))
    own = _authorities(identity)
    app = license_app(office, own.__contains__, lambda: source.current.bundles)
    server = Server(app, server_tls, settings.host, settings.port)
    async with AsyncExitStack() as stack:
        following = None
        if settings.other:
            client = await stack.enter_async_context(LicenseClient(settings.other, client_tls))
            following = Following(office, client)
            await following.catch_up()
        await server.start()
        stack.push_async_callback(server.stop, STOP_SECONDS)
        async with asyncio.TaskGroup() as tasks:
            for work in (server.wait(), office.sweep(), _warn_of_ends(shelf)):
                tasks.create_task(work)
            tasks.create_task(follow_source(client_tls, client_context, source, identity))
            tasks.create_task(follow_source(server_tls, server_context, source, identity))
            tasks.create_task(_add_authorities(own, source, identity))
            if following is not None:
                tasks.create_task(following.run())
            logger.info("License server on port: %d", server.port)
            report_ready({"api": join(settings.host, server.port)})


def _authorities(identity: Identity) -> set[str]:
    """Those that have issued the server's certificate, as `authority_in` names them. Raises `CertificateError`."""
    found = anchors_reached(identity.chain[0], identity.chain[1:], identity.anchors, _now_ms())
    return {authority_in(identity.bundles, thumbprint(anchor), identity.certificate) for anchor in found}


async def _add_authorities(own: set[str], source: IdentitySource, known: Identity) -> None:
    """Adds those of each identity after the `known` one, until cancelled: the certificates of two servers are renewed
    one after the other, and meanwhile they follow each other's leases."""
    while True:
        known = await source.changed(known)
        try:
            own |= _authorities(known)
        except CertificateError as error:
            logger.warning("%s. License servers of this authority cannot follow the leases", error)


def _locked(folder: Path) -> FileLock:
    """The lock of the data directory, made when missing. Raises `LicenseError`."""
    try:
        make_private(folder)
        lock = FileLock(folder / "lock")
        lock.acquire(blocking=False)
    except Timeout as error:
        raise LicenseError(
            f"{folder}: another license server uses it; stop it, or choose another --data-dir"
        ) from error
    except OSError as error:
        raise LicenseError(f"{folder}: cannot be used as data directory: {error.strerror}") from error
    return lock


async def _warn_of_ends(shelf: Shelf) -> None:
    """Logs what the licenses allow, then warns 30, 7 and 1 days before each ends, and when it has ended."""
    rights, now = shelf.rights, _now_ms()
    for signed in rights.licenses:
        logger.info("%s: %s", _title(signed.document), rights.fault(signed, now) or "in force")
    warned: dict[str, int] = {}
    while True:
        for signed in shelf.refresh().licenses:
            left = signed.document.expires_ms - _now_ms()
            due = sum(left <= days * DAY_MS for days in WARNING_DAYS)
            if due > warned.get(signed.document.id, 0):
                warned[signed.document.id] = due
                logger.warning("%s. Have another one issued in time", _title(signed.document))
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS)


def _title(found: License) -> str:
    end = date_text(found.expires_ms)
    return f"License {found.id[:8]} for {displayed(found.licensee)} until {end}: {capacity_text(found.features)}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
