"""The API of Docker's engine, which Podman serves too: requests that can be cancelled, over a Unix socket or TCP.

Nothing blocks the event loop and no thread outlives a request, as it would with a blocking client: a request that is
cancelled closes its connection, on which Docker ends a pull or a build, and Podman goes no further than the step that
runs. Versions are never compared: Podman has its own numbers.
"""

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import aiohttp
import msgspec

from swarmlearning.swop.managing import ManagerError

SOCKETS: Final = ("/var/run/docker.sock", "/run/podman/podman.sock")
"""Where engines listen by default: Docker's, and Podman's of root."""
SECONDS: Final = 120.0
"""Seconds for a request that does no long work."""
UPLOAD_SECONDS: Final = 6 * 3600.0
LONGEST_LINE: Final = 2**20
"""Bytes of a line in which an engine reports progress."""


class EngineError(Exception):
    """The engine refused a request; `status` is HTTP's, 0 where the engine did not answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_missing(self) -> bool:
        """Whether what the request named is not there."""
        return self.status == 404


class Address(NamedTuple):
    """Where an engine listens: a URL without path, a Unix socket or None, and the TLS context of a TCP connection."""

    url: str
    socket: str | None = None
    tls: ssl.SSLContext | None = None


def address_from(environment: Mapping[str, str]) -> Address:
    """The address that Docker's variables name (DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH), else a socket.

    Raises `ManagerError`.
    """
    host = environment.get("DOCKER_HOST") or next((f"unix://{path}" for path in SOCKETS if Path(path).is_socket()), "")
    scheme, _, rest = host.partition("://")
    if scheme == "unix" and rest:
        return Address("http://engine", "/" + rest.lstrip("/"))
    if scheme == "tcp" and rest:
        if not environment.get("DOCKER_TLS_VERIFY"):
            return Address(f"http://{rest.rstrip('/')}")
        return Address(f"https://{rest.rstrip('/')}", tls=_tls(environment))
    if not host:
        raise ManagerError(
            "site",
            f"no container engine listens at {' or '.join(SOCKETS)}: start Docker, or Podman's podman.socket, "
            "or name the socket by DOCKER_HOST=unix:///path",
        )
    raise ManagerError("site", f"DOCKER_HOST={host}: it has the form unix:///path or tcp://host:port")


def _tls(environment: Mapping[str, str]) -> ssl.SSLContext:
    folder = Path(environment.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
    try:
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    except (OSError, ssl.SSLError) as error:
        raise ManagerError("site", f"DOCKER_CERT_PATH={folder}: ca.pem, cert.pem, key.pem: {error}") from error
    return context


class Engine:
    """Requests to one engine; their answers are its JSON. All raise `EngineError`."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Closes all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, *path: str, **parameters: Any) -> Any:
        """What the engine says about something."""
        return await self._call("GET", path, parameters)

    async def post(self, *path: str, body: object = None, seconds: float | None = SECONDS, **parameters: Any) -> Any:
        """Has something made or done."""
        return await self._call("POST", path, parameters, body, seconds)

    async def delete(self, *path: str, **parameters: Any) -> None:
        """Removes something; what is not there is removed already."""
        try:
            await self._call("DELETE", path, parameters)
        except EngineError as error:
            if not error.is_missing:
                raise

    async def upload(self, *path: str, archive: AsyncIterator[bytes], **parameters: Any) -> None:
        """Sends a tar archive, within `UPLOAD_SECONDS`."""
        async with self._request("PUT", path, parameters, UPLOAD_SECONDS, data=archive, headers=_TAR):
            pass

    @asynccontextmanager
    async def download(self, *path: str, **parameters: Any) -> AsyncIterator[aiohttp.StreamReader]:
        """Yields the bytes of an answer as they come, however long that takes."""
        async with self._request("GET", path, parameters, None) as answer:
            yield answer.content

    async def work(
        self,
        *path: str,
        archive: AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> AsyncIterator[dict[str, Any]]:
        """Has long work done, and yields the reports about it; the caller bounds the time."""
        headers = {**(_TAR if archive is not None else {}), **(headers or {})}
        async with self._request("POST", path, more, None, data=archive, headers=headers) as answer:
            async for report in _reports(answer.content):
                yield report

    async def _call(
        self,
        method: str,
        path: tuple[str, ...],
        parameters: Mapping[str, Any],
        body: object = None,
        seconds: float | None = SECONDS,
    ) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        async with self._request(method, path, parameters, seconds, data=data, headers=headers) as answer:
            text = (await answer.read()).strip()
            return msgspec.json.decode(text) if text else None

    @asynccontextmanager
    async def _request(
        self, method: str, path: tuple[str, ...], parameters: Mapping[str, Any], seconds: float | None, **more: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = f"{self._address.url}/{'/'.join(quote(part, safe='') for part in path)}"
        given = {name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()}
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=10.0)
        try:
            async with self._connected().request(method, url, params=given, timeout=timeout, **more) as answer:
                if answer.status >= 400:
                    raise EngineError(answer.status, _message(await answer.read()))
                yield answer
        except TimeoutError:
            raise EngineError(0, f"the container engine did not answer within {seconds} s") from None
        except (aiohttp.ClientError, OSError, msgspec.DecodeError) as error:
            raise EngineError(0, f"the container engine at {self._where} does not answer: {error}") from error

    @property
    def _where(self) -> str:
        return self._address.socket or self._address.url

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            limit = 0  # each pair waits in connections of its own
            connector = (
                aiohttp.UnixConnector(self._address.socket, limit=limit)
                if self._address.socket
                else aiohttp.TCPConnector(limit=limit, ssl=self._address.tls or True)
            )
            self._session = aiohttp.ClientSession(connector=connector, read_bufsize=LONGEST_LINE)
        return self._session


_TAR: Final = {"Content-Type": "application/x-tar"}


async def _reports(content: aiohttp.StreamReader) -> AsyncIterator[dict[str, Any]]:
    try:
        async for line in content:
            if line.strip():
                yield msgspec.json.decode(line, type=dict[str, Any])
    except ValueError as error:  # of a line that is too long, or no JSON
        raise EngineError(0, f"the container engine reports what is not understood: {error}") from error


def _message(answer: bytes) -> str:
    try:
        return str(msgspec.json.decode(answer)["message"])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return answer[:500].decode(errors="replace").strip() or "no reason given"
