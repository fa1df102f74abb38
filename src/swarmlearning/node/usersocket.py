"""A unix socket in a node's data directory, for programs on its host that only the node's user may run."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from swarmlearning.channel.address import connect, short_path
from swarmlearning.node.errors import NodeError

LONGEST: Final = 64 * 1024
"""Bytes of a line."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]


@asynccontextmanager
async def listening(
    directory: Path, name: str, serve: Serve, purpose: str, longest: int = LONGEST
) -> AsyncIterator[None]:
    """Serves whoever connects to this socket inside the block. `purpose`: what they ask for; `longest`: bytes of a line
    that they send.

    Raises `NodeError` when the socket cannot be made.
    """
    path = directory / name
    mask = os.umask(0o077)
    try:
        path.unlink(missing_ok=True)  # of a start that was killed: the data directory is locked, so nobody listens
        with short_path(path) as short:
            server = await asyncio.start_unix_server(serve, short, limit=longest)
    except OSError as error:
        raise NodeError(f"{path}: cannot listen for {purpose}: {error}") from error
    finally:
        os.umask(mask)
    try:
        yield
    finally:
        server.close()
        with suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def connected(path: Path, seconds: float, node: str) -> Iterator[socket.socket]:
    """A connection to the `node` (its kind) that runs in the data directory of this socket.

    Raises `NodeError` when none does, or what is done inside the block fails as it does without an answer.
    """
    try:
        with connect(path, seconds) as connection:
            yield connection
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NodeError(f"{path.parent}: no {node} runs with this data directory") from error
    except (OSError, msgspec.DecodeError) as error:
        raise NodeError(f"{path}: the {node} does not answer: {str(error) or type(error).__name__}") from error
