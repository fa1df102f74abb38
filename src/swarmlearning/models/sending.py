"""Sends a file as the body of an HTTP answer, to a client that may be slow, may be gone, or may stall.

Pieces are read in threads, which over loopback on two cores was faster than in the event loop (1890 against
1180 MB/s) and lets a slow disk stall nobody else. A client that gets not a single byte more in `stall_seconds` is cut
off; it can resume. A slow link is no reason: many clients may share one.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from io import FileIO
from typing import Final, NamedTuple

from starlette.types import Receive, Send

from swarmlearning.models.compression import Buffer, Encode
from swarmlearning.models.links import arrived
from swarmlearning.tensors.file import read_at

logger = logging.getLogger(__name__)

_PIECE: Final = 2**20
_RECORD: Final = 2**14  # bytes of a TLS record
_SMALL: Final = 2**16
"""The first piece, and each for a client that has to wait for its turn or of which the kernel does not report what has
arrived: one that shares a thin link with many others is then seen to get something."""

Headers = list[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """Status and headers, what goes before the file's bytes, which of them: [start, end), and how they are encoded.

    `header`: how many of these bytes come before the first chunk of data. TLS records begin anew with each piece, so
    they end with the chunks if the first piece is longer by that.
    """

    status: int
    headers: Headers
    prefix: bytes
    start: int
    end: int
    encode: Encode
    header: int = 0


async def send_file(
    file: FileIO,
    answer: Answer,
    readers: Executor,
    connection: socket.socket,
    stall_seconds: float,
    receive: Receive,
    send: Send,
    turn: Callable[[int], float] = lambda size: 0.0,
) -> None:
    """Sends `answer`. Returns early, which makes the server close the connection, when it cannot be sent.

    `turn`: the seconds until the client may have so many bytes more.
    """
    loop = asyncio.get_running_loop()
    gone = asyncio.create_task(_disconnected(receive))  # send() does not report it
    start, end, encode = answer.start, answer.end, answer.encode
    buffer = memoryview(bytearray(min(_PIECE, end - start)))  # sending is encrypting: then it is free
    reported, most = arrived(connection) is not None, _SMALL + answer.header % _RECORD

    async def send_on(body: Buffer, more: bool = True) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": more})

    try:
        async with _while_bytes_arrive(connection, lambda: start, stall_seconds):
            await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
            await send_on(encode(answer.prefix, start == end))
            while start < end and not gone.done():
                piece = buffer[: min(most, end - start)]
                body = await loop.run_in_executor(readers, _read, file, start, piece, encode, end)
                if body is None:
                    logger.error("%s has become shorter while it was sent", file.name)
                    return
                start += len(piece)
                wait = turn(len(body))
                most = _PIECE if reported and not wait else _SMALL
                if wait:
                    await asyncio.sleep(wait)
                await send_on(body)
            await send_on(b"", more=False)  # returns when the kernel has taken what was sent before
    except TimeoutError:
        logger.warning("a client has read no byte for %g s: disconnected", stall_seconds)
    finally:
        gone.cancel()


def _read(file: FileIO, start: int, piece: memoryview, encode: Encode, end: int) -> Buffer | None:
    """Returns the bytes to send for the next piece, which is read into `piece`; None when the file is shorter."""
    if not read_at(file.fileno(), piece, start):
        return None
    return encode(piece, start + len(piece) == end)


@asynccontextmanager
async def _while_bytes_arrive(
    connection: socket.socket, written: Callable[[], int], seconds: float
) -> AsyncIterator[None]:
    """Raises TimeoutError inside the block as soon as for `seconds` no byte has arrived at the other end.

    `written`: bytes given to the connection so far, which count where the kernel does not report what has arrived.
    """
    loop = asyncio.get_running_loop()

    async def watch(limit: asyncio.Timeout) -> None:
        before = None
        while (now := (arrived(connection), written())) != before:
            before = now
            await asyncio.sleep(seconds)
        limit.reschedule(loop.time())

    async with asyncio.timeout(None) as limit:
        watching = loop.create_task(watch(limit))
        try:
            yield
        finally:
            watching.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
