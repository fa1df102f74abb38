"""Serves the models of a `TensorStore` as a plain ASGI application, to be run by `api.server.Server`.

    GET  /models/<digest>            the model file; `Range: bytes=a-b` (one range) is honoured
    GET  /models/<digest>/chunks     its chunk list
    GET  /models/<digest>/bundle     the chunk list, then the model file: a whole model in one round trip;
                                     `x-chunk-list-bytes` is the length of the first part
    GET  /is_up                      OK

A bundle smaller than the setting SL_MODEL_PARAMS_COMPRESSION_THRESHOLD_MB comes with `content-encoding: zstd` to those
who accept that, when it pays (`compression.py`). The rest of a model, after an interruption, comes as it is: ranges
count its own bytes.

HEAD works everywhere; a model's ETag is its digest. Errors are `{"detail": text}`: 403 when the client's certificate
takes no part in the contract (asked first, so that strangers do not learn what is held), 404 when the model is not
held here.

Pieces are read in threads, which over loopback on two cores was faster than in the event loop (1890 against
1180 MB/s) and lets a slow disk stall nobody else. A client that gets not a single byte more in `stall_seconds` is cut
off; it can resume. A slow link is no reason: many clients may share one.
"""

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from io import FileIO
from typing import Final, NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from swarmlearning.api.middleware import send_error
from swarmlearning.api.peer import peer_socket, peer_thumbprint
from swarmlearning.models.compression import CODING, Buffer, Encode, Encoder, identity, pays
from swarmlearning.models.links import Links, arrived
from swarmlearning.models.store import NotHeldError, TensorStore
from swarmlearning.tensors.digest import ModelDigest
from swarmlearning.tensors.file import read_at

logger = logging.getLogger(__name__)

LIST_HEADER: Final = "x-chunk-list-bytes"
_PIECE: Final = 2**20
_READERS: Final = 4
_ROUTE: Final = re.compile(r"/models/([0-9a-f]{64})(/chunks|/bundle)?")
_RANGE: Final = re.compile(rb"bytes=([0-9]{0,19})-([0-9]{0,19})")

Headers = list[tuple[bytes, bytes]]
MayRead = Callable[[str, str], bool]
OnMissing = Callable[[str], None]


class RangeError(Exception):
    """A Range header that is not served; `status` is 400 for a malformed one and 416 for one beyond the file."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def parse_range(value: bytes, size: int) -> tuple[int, int]:
    """The half-open interval [start, end) that a Range header means in a file of `size` bytes (RFC 9110, 14.1.2).

    Raises `RangeError`. Stricter than the RFC, which lets a server ignore a range and send everything: a client that
    asks for a part of a large model should hear that it asks wrongly.
    """
    match = _RANGE.fullmatch(value)
    if match is None or not any(match.groups()):
        raise RangeError(400, "one range of bytes is served: 'bytes=0-499', 'bytes=500-' or 'bytes=-500'")
    first, last = (int(digits) if digits else None for digits in match.groups())
    if first is None:
        start, end = max(0, size - (last or 0)), size
    elif last is not None and last < first:
        raise RangeError(400, f"the range ends at byte {last}, before it begins at byte {first}")
    else:
        start, end = first, size if last is None else min(last + 1, size)
    if start >= size:
        raise RangeError(416, f"the range lies beyond the file, which has {size} bytes")
    return start, end


def file_app(
    store: TensorStore,
    may_read: MayRead,
    on_missing: OnMissing = lambda digest: None,
    stall_seconds: float = 60.0,
    compress_below: int = 0,
) -> ASGIApp:
    """The application. `may_read(thumbprint, digest)` says whether the holder of a certificate may have a model.

    `on_missing` is told of each model that was asked for and is not here: its node may believe that it is. Models of
    fewer than `compress_below` bytes may be compressed.
    """
    readers = ThreadPoolExecutor(_READERS, "file-server")
    links = Links()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await send_error(send, 405, "only GET and HEAD are served", [(b"allow", b"GET, HEAD")])
        elif scope["path"] == "/is_up":
            await _send_bytes(send, b"OK", b"text/plain")
        elif (route := _ROUTE.fullmatch(scope["path"])) is None:
            detail = "no such page; a model is at /models/<digest>, a digest has 64 lower-case hex digits"
            await send_error(send, 404, detail)
        elif not may_read(peer_thumbprint(scope), route[1]):
            detail = f"this certificate takes no part in the training that model {route[1]} belongs to"
            await send_error(send, 403, detail)
        else:
            await send_model(route[1], route[2], scope, receive, send)

    async def send_model(digest: str, part: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        host = scope["client"][0]
        try:
            file, info = store.open(digest)
        except NotHeldError as error:
            on_missing(digest)
            await send_error(send, 404, f"{error}; ask another peer")
            return
        with file:
            if part == "/chunks":
                await _send_bytes(send, info.to_bytes(), b"application/octet-stream")
                return
            try:
                answer = _answer(digest, info, part == "/bundle", scope["headers"])
            except RangeError as error:
                content_range = (b"content-range", b"bytes */%d" % info.size)
                await send_error(send, error.status, str(error), [content_range])
                return
            encode: Encode = identity
            if scope["method"] == "HEAD":
                answer = answer._replace(start=answer.end)
            elif part == "/bundle" and info.size < compress_below and _accepts_compression(scope["headers"]):
                loop, speed = asyncio.get_running_loop(), links.speed(host)
                if speed and await loop.run_in_executor(readers, pays, file.fileno(), info.size, speed):
                    answer, encode = _compressed(answer), Encoder()
            with links.watched(host, peer_socket(scope)):
                await stream(file, answer, encode, peer_socket(scope), receive, send)

    async def stream(
        file: FileIO, answer: "_Answer", encode: Encode, connection: socket.socket, receive: Receive, send: Send
    ) -> None:
        """Returns early, which makes the server close the connection, when the answer cannot be sent."""
        loop = asyncio.get_running_loop()
        gone = asyncio.create_task(_disconnected(receive))  # send() does not report it
        start = answer.start
        buffer = memoryview(bytearray(min(_PIECE, answer.end - start)))  # sending is encrypting: then it is free

        async def send_on(body: Buffer, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": more})

        try:
            async with _while_bytes_arrive(connection, lambda: start, stall_seconds):
                await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
                await send_on(encode(answer.prefix, start == answer.end))
                while start < answer.end and not gone.done():
                    piece = buffer[: answer.end - start]
                    body = await loop.run_in_executor(readers, _read, file, start, piece, encode, answer.end)
                    if body is None:
                        logger.error("%s has become shorter while it was sent", file.name)
                        return
                    start += len(piece)
                    await send_on(body)
                await send_on(b"", more=False)  # returns when the kernel has taken what was sent before
        except TimeoutError:
            logger.warning("a client has taken no byte in %g s: cut off", stall_seconds)
        finally:
            gone.cancel()

    return app


class _Answer(NamedTuple):
    """Status and headers, what goes before the model's bytes, and which of them: [start, end)."""

    status: int
    headers: Headers
    prefix: bytes
    start: int
    end: int


def _answer(digest: str, info: ModelDigest, bundle: bool, request: Headers) -> _Answer:
    """What a request for a held model gets, by its headers. Raises `RangeError`."""
    headers = [(b"content-type", b"application/octet-stream"), (b"etag", b'"%s"' % digest.encode())]
    ranges = [value for name, value in request if name == b"range"]
    status, prefix, start, end = 200, b"", 0, info.size
    if bundle:
        prefix = info.to_bytes()
        headers.append((LIST_HEADER.encode(), b"%d" % len(prefix)))
    else:
        headers.append((b"accept-ranges", b"bytes"))
        if ranges:
            status, (start, end) = 206, parse_range(b", ".join(ranges), info.size)
            headers.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, info.size)))
    headers.append((b"content-length", b"%d" % (len(prefix) + end - start)))
    return _Answer(status, headers, prefix, start, end)


def _accepts_compression(request: Headers) -> bool:
    values = (value for name, value in request if name == b"accept-encoding")
    return any(token.strip() == CODING.encode() for value in values for token in value.split(b","))


def _compressed(answer: _Answer) -> _Answer:
    """The same answer, compressed: how long that gets nobody knows yet, and the ETag is that of other bytes."""
    headers = [header for header in answer.headers if header[0] not in (b"content-length", b"etag")]
    return answer._replace(headers=[*headers, (b"content-encoding", CODING.encode())])


def _read(file: FileIO, start: int, piece: memoryview, encode: Encode, end: int) -> Buffer | None:
    """What to send for the next piece of the file, which is read into `piece`; None when the file is shorter."""
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


async def _send_bytes(send: Send, body: bytes, content_type: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
