"""Serves the UI to browsers until it is stopped: TLS, uvicorn as it is, and what runs beside the pages."""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from swarmlearning.files import make_private
from swarmlearning.identity.source import IdentitySource
from swarmlearning.identity.tls import CurrentContext, browser_context, follow_source
from swarmlearning.node.errors import NodeError
from swarmlearning.ui.accepting import BEHIND_PROXY, Bounds, BrowserServer
from swarmlearning.ui.app import make_ui
from swarmlearning.ui.redirecting import Redirect
from swarmlearning.ui.settings import Serving, UiSettings
from swarmlearning.ui.site import Site
from swarmlearning.ui.store.database import Database

logger = logging.getLogger("swarm.ui")

_BACKLOG: Final = 128


@contextmanager
def kept(folder: Path) -> Iterator[Database]:
    """What the UI keeps in this folder, which no other UI uses meanwhile. Raises `NodeError`."""
    try:
        make_private(folder)
    except OSError as error:
        raise NodeError(f"{folder}: cannot be made: {error.strerror}; choose another --data-dir") from error
    lock = FileLock(folder / "ui.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise NodeError(f"{folder}: another UI is running there; stop it, or choose another --data-dir") from error
    try:
        with Database(folder) as database:
            yield database
    finally:
        lock.release()


async def serve(
    settings: UiSettings,
    database: Database,
    ready: Callable[[dict[str, str]], None],
    first: Callable[[str], None] = lambda link: None,
) -> None:
    """Serves until cancelled; `ready` gets the address once browsers can connect, and `first`, where there is no user
    yet, the link by which one is made: a secret. Raises `NodeError`."""
    await serve_site(Site(settings, database), ready, first)


async def serve_site(
    site: Site, ready: Callable[[dict[str, str]], None], first: Callable[[str], None] = lambda link: None
) -> None:
    """Serves this site, as `serve` does."""
    settings, serving = site.settings, site.settings.serving
    listener = listen(serving.host, serving.port)
    port = listener.getsockname()[1]
    async with tls(serving, settings.source) as context:
        servers = [(BrowserServer(make_ui(site), context, BEHIND_PROXY if serving.proxy else Bounds()), listener)]
        public = serving.public_port or port
        if serving.redirect_port is not None and context is not None:
            redirect = BrowserServer(Redirect(public), None, Bounds())
            servers.append((redirect, listen(serving.host, serving.redirect_port, "--http-redirect-port")))
        running = list[asyncio.Task[None]]()
        async with asyncio.TaskGroup() as tasks:
            following = [tasks.create_task(site.feed.run())]
            following.append(tasks.create_task(site.license.run(required=settings.source is not None)))
            try:
                if settings.source is not None:
                    await site.license.settled.wait()
                running += [tasks.create_task(server.serve([each])) for server, each in servers]
                following += [tasks.create_task(server.accepted()) for server, _ in servers]
                await asyncio.gather(*(server.begun.wait() for server, _ in servers))
                found = _addresses(serving, context is not None, public, servers)
                if await site.users.nobody():
                    first(site.first.made(found["ui"]))
                ready(found)
                await asyncio.shield(asyncio.gather(*running))
            finally:
                site.feed.news.close()
                for server, _ in servers:
                    server.should_exit = True
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.gather(*running)
                await site.jobs.close()
                await site.stage.close()
                for each in following:
                    each.cancel()


def _addresses(
    serving: Serving, secure: bool, public: int, servers: Sequence[tuple[BrowserServer, socket.socket]]
) -> dict[str, str]:
    """What browsers open; `redirect`: the port from which they are led there."""
    shown = "" if public == (443 if secure else 80) else f":{public}"
    found = {"ui": f"{'https' if secure else 'http'}://{_shown(serving.host)}{shown}/"}
    return found | ({"redirect": str(servers[1][1].getsockname()[1])} if len(servers) > 1 else {})


def listen(host: str, port: int, option: str = "--port") -> socket.socket:
    """A socket that listens there and does not block; `option` names the port. Raises `NodeError`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(_BACKLOG)
        made.setblocking(False)
    except OSError as error:
        raise NodeError(f"the UI cannot listen on {host} port {port}: {error.strerror}; see {option}") from error
    return made


@asynccontextmanager
async def tls(serving: Serving, source: IdentitySource | None) -> AsyncIterator[ssl.SSLContext | None]:
    """The context for browsers, which follows the identity where that is used; None without TLS. Raises `NodeError`
    where that would show passwords to others, or where there is no certificate."""
    if serving.plain:
        if not (serving.proxy or is_loopback(serving.host)):
            raise NodeError(
                f"--http: without TLS everybody on the way reads passwords: listen on 127.0.0.1, not {serving.host}, "
                "or give --https-cert and --https-key, or --behind-proxy"
            )
        yield None
    elif serving.certificate is not None and serving.key is not None:
        yield of_files(serving.certificate, serving.key)
    elif source is not None:
        context = CurrentContext(browser_context(known := source.current))
        follow = asyncio.ensure_future(follow_source(context, browser_context, source, known))
        try:
            yield context
        finally:
            follow.cancel()
            await asyncio.wait((follow,))
    else:
        raise NodeError(
            "the UI has no certificate for browsers that is valid: start it with --http, open it on this machine, and "
            "the page Set-up issues one (step Organisation); or give --https-cert and --https-key, or --cert and --key"
        )


def of_files(certificate: Path, key: Path) -> ssl.SSLContext:
    """A context that shows this certificate to browsers. Raises `NodeError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise NodeError(f"--https-cert {certificate}, --https-key {key}: cannot be used: {error}") from error
    return context


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _shown(host: str) -> str:
    """The host as it is typed into a browser on this machine."""
    if host in ("0.0.0.0", "::"):
        return "localhost"
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
