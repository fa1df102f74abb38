"""Connecting with TLS in an event loop, by the way that the environment names: directly, or through an HTTP proxy."""

import asyncio
import os
import socket
import ssl
from typing import Final, TypeAlias

from swarmlearning.proxies import connect_through, proxy_to

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_LIMIT: Final = 2**16


async def open_tls(host: str, port: int, tls: ssl.SSLContext, seconds: float, limit: int = _LIMIT) -> Streams:
    """A connection on which TLS has shaken hands, within `seconds`; `limit`: bytes of a line. Raises OSError."""
    proxy = proxy_to(host, os.environ)
    try:
        async with asyncio.timeout(seconds):
            if proxy is None:
                return await asyncio.open_connection(host, port, ssl=tls, server_hostname=host, limit=limit)
            plain = await asyncio.to_thread(connect_through, proxy, host, port, seconds)
            return await asyncio.open_connection(sock=plain, ssl=tls, server_hostname=host, limit=limit)
    except UnicodeError as error:  # not an OSError, as of all other names that are not known
        raise socket.gaierror(socket.EAI_NONAME, "no such host name") from error
