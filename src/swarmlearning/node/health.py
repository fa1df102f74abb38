"""A node's health, for programs on its own host: a unix socket in the data directory that only its user may open.

Whoever connects gets one JSON object and the end of the connection. So a health check needs no certificate, and the
node's network ports need no exception for those who have none.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from swarmlearning.node.usersocket import LONGEST, connected, listening

SOCKET = "health.sock"
ANSWER_SECONDS = 5.0


@asynccontextmanager
async def answering(directory: Path, facts: Callable[[], Mapping[str, Any]]) -> AsyncIterator[None]:
    """Answers health checks with these facts inside the block. Raises `NodeError` when the socket cannot be made."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(msgspec.json.encode(facts()))
            await writer.drain()
        writer.close()

    async with listening(directory, SOCKET, answer, "health checks"):
        yield


def request_health(directory: Path) -> dict[str, Any]:
    """The health facts of the node that runs in this data directory.

    Raises `NodeError` when none does, or it does not answer in time.
    """
    with connected(directory / SOCKET, ANSWER_SECONDS, "node") as connection:
        connection.settimeout(ANSWER_SECONDS)
        with connection.makefile("rb") as stream:
            return msgspec.json.decode(stream.read(LONGEST), type=dict[str, Any])
