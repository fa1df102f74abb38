"""A node's health, for programs on its own host: a unix socket in the data directory that only its user may open.

Whoever connects gets one JSON object and the end of the connection. So a health check needs no certificate, and the
node's network ports need no exception for those who have none.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from swarmlearning.channel.address import connect, short_path
from swarmlearning.node.errors import NodeError

SOCKET = "health.sock"
ANSWER_SECONDS = 5.0
LONGEST = 64 * 1024


@asynccontextmanager
async def answering(directory: Path, facts: Callable[[], Mapping[str, Any]]) -> AsyncIterator[None]:
    """Answers health checks with these facts inside the block. Raises `NodeError` when the socket cannot be made."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(msgspec.json.encode(facts()))
            await writer.drain()
        writer.close()

    path = directory / SOCKET
    path.unlink(missing_ok=True)  # of a start that was killed: the data directory is locked, so nobody listens
    mask = os.umask(0o077)
    try:
        with short_path(path) as short:
            server = await asyncio.start_unix_server(answer, short)
    except OSError as error:
        raise NodeError(f"{path}: cannot listen for health checks: {error}") from error
    finally:
        os.umask(mask)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


def request_health(directory: Path) -> dict[str, Any]:
    """The health facts of the node that runs in this data directory.

    Raises `NodeError` when none does, or it does not answer in time.
    """
    path = directory / SOCKET
    try:
        with connect(path, ANSWER_SECONDS) as connection:
            connection.settimeout(ANSWER_SECONDS)
            with connection.makefile("rb") as stream:
                return msgspec.json.decode(stream.read(LONGEST), type=dict[str, Any])
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NodeError(f"{directory}: no node runs with this data directory") from error
    except (OSError, msgspec.DecodeError) as error:
        raise NodeError(f"{path}: the node does not answer: {str(error) or type(error).__name__}") from error
