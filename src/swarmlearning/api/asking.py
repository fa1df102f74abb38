"""What the HTTP clients of nodes share: sessions, answers that are bounded, and failures in plain words."""

import errno
import os
import ssl
from collections.abc import Iterator

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from swarmlearning.address import join, split
from swarmlearning.proxies import proxy_to
from swarmlearning.views.names import displayed

MAX_LINE = 2 * 1024 * 1024
MAX_DETAIL = 1000
"""Characters of another organisation's text in our logs."""
CLOSED = "it closed the connection"


class TooLongError(aiohttp.ClientError):
    """A server sends more than an answer may have."""


def session_to(
    address: str, tls: ssl.SSLContext, timeout: aiohttp.ClientTimeout, connections: int
) -> aiohttp.ClientSession:
    """A session for one server, through the HTTP proxy for it if the environment names one: answers come as they are,
    without content coding or cookies."""
    proxy = proxy_to(split(address)[0], os.environ)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, limit=connections),
        timeout=timeout,
        headers={"accept-encoding": "identity"},
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=f"http://{proxy}" if proxy else None,
        proxy_auth=aiohttp.BasicAuth(proxy.user, proxy.password) if proxy and proxy.user else None,
        read_bufsize=MAX_LINE,
    )


async def body_of(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body of an answer, which may have so many bytes. Raises `TooLongError`."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > most:
            raise TooLongError(f"it sends more than the {most} bytes that an answer may have")
    return bytes(body)


def reason_of(error: Exception) -> str:
    """Returns in plain words the reason that there was no answer."""
    match error:
        case aiohttp.ClientHttpProxyError():
            return f"the proxy lets no connection through: {error.status} {printable(error.message)}"
        case aiohttp.ClientProxyConnectionError():
            return f"the proxy {join(error.host, error.port or 0)} cannot be reached"
        case aiohttp.ClientConnectorDNSError():
            return "its host name is not known here"
        case aiohttp.ClientConnectorError() if error.errno is not None:
            return os.strerror(error.errno)
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError(errno=errno.ECONNRESET):
            return CLOSED
        case TimeoutError():
            return "no answer in time"
        case _:
            return printable(str(error)) or type(error).__name__


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that led to it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


FAILURES = (aiohttp.ClientError, HttpProcessingError, TimeoutError, ValueError, ssl.SSLError)
"""The errors of a request that nobody could answer."""


def printable(text: str) -> str:
    """Another organisation's text as one line for a log."""
    return displayed(text, MAX_DETAIL)
