"""Serves the UI to browsers until it is stopped: TLS, uvicorn as it is, and what runs beside the pages."""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import uvicorn
from filelock import FileLock, Timeout

from swarmlearning.files import make_private
from swarmlearning.identity.source import IdentitySource
from swarmlearning.identity.tls import CurrentContext, browser_context, follow_source
from swarmlearning.node.errors import NodeError
from swarmlearning.ui.app import make_ui
from swarmlearning.ui.settings import Serving, UiSettings
from swarmlearning.ui.site import Site
from swarmlearning.ui.store.database import Database

logger = logging.getLogger("swarm.ui")

STOP_SECONDS: Final = 3
"""For requests in progress when the UI is stopped."""
MOST_CONNECTIONS: Final = 1000


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


async def serve(settings: UiSettings, database: Database, ready: Callable[[dict[str, str]], None]) -> None:
    """Serves until cancelled; `ready` gets the address once browsers can connect. Raises `NodeError`."""
    await serve_site(Site(settings, database), ready)


async def serve_site(site: Site, ready: Callable[[dict[str, str]], None]) -> None:
    """Serves this site, as `serve` does."""
    settings = site.settings
    listener = listen(settings.serving.host, settings.serving.port)
    port = listener.getsockname()[1]
    async with tls(settings.serving, settings.source) as context:
        server = _Server(_config(make_ui(site), context))
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(site.feed.run())
            serving = tasks.create_task(server.serve([listener]))
            try:
                await server.begun.wait()
                ready({"ui": f"{'https' if context else 'http'}://{_shown(settings.serving.host)}:{port}/"})
                await asyncio.shield(serving)
            finally:
                site.feed.news.close()
                server.should_exit = True
                with contextlib.suppress(asyncio.CancelledError):
                    await serving
                await site.jobs.close()
                following.cancel()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises `NodeError`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        raise NodeError(f"the UI cannot listen on {host} port {port}: {error.strerror}; see --port") from error
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
        raise NodeError("the UI has no certificate for browsers: give --https-cert and --https-key, or --http")


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


def _config(app: object, context: ssl.SSLContext | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=STOP_SECONDS,
        ssl_context_factory=(lambda config, default: context) if context is not None else None,
    )


class _Server(uvicorn.Server):
    """uvicorn, which leaves signals to whoever runs it, and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.begun = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are this process' affair."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does."""
        await super().startup(sockets)
        self.begun.set()
