"""Serves the models of a `TensorStore` as a plain ASGI application, to be run by `api.server.Server`.

    GET  /models/<digest>            the model file; `Range: bytes=a-b` (one range) is honoured
    GET  /models/<digest>/chunks     its chunk list
    GET  /models/<digest>/chunks/<a>-<b>
                                     the digests of these chunks only, from chunk a to chunk b
    GET  /models/<digest>/here       which chunks are here: a bit each, the first is the highest of the first byte
    GET  /models/<digest>/bundle     the chunk list, then the model file: a whole model in one round trip;
                                     `x-chunk-list-bytes` is the length of the first part
    GET  /models/<digest>/influence/<n>
                                     of a result that is merged in slices: what its models' influence in slice n is made
                                     of, if this node has merged that
    GET  /models/<digest>/statistics/<n>
                                     of a survey of models: what the coefficients of a geometric median are made of in
                                     slice n, if this node has surveyed that
    PUT  /models/<digest>/chunks…    a contributor's model that is pushed here: `pushes.py`
    GET  /is_up                      OK
    GET  /probe/<bytes>              so many bytes, at most 256 KiB, for whoever looks how fast this node is reached

A bundle smaller than the setting SL_MODEL_PARAMS_COMPRESSION_THRESHOLD_MB comes with `content-encoding: zstd` to those
who accept that, when it pays (`compression.py`). The rest of a model, after an interruption, comes as it is: ranges
count its own bytes.

A model of which only some chunks are here, while others still come or are merged, is served as far as it is here: a
request for bytes that are not gets 416, and `/here` tells which are. The list of one whose root nobody knows yet has
zeros for the digests that are not known.

A request may state in `x-chain-height` the height of the ledger at which its sender saw that it may have the model; a
node that has not seen that block yet waits for it, rather than refuse.

HEAD works everywhere; a model's ETag is its digest. Errors are `{"detail": text}`: 403 when the client's certificate
is not that of a node that may have it, or these chunks of it (checked first, so that strangers do not learn what is
held), 404 when nothing of the model is here.

How the bytes of a model are sent is in `sending.py`.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import FileIO
from typing import Final, NamedTuple, TypeVar

from starlette.types import ASGIApp, Receive, Scope, Send

from swarmlearning.api.middleware import send_error
from swarmlearning.api.peer import peer_credential, peer_socket, peer_thumbprint
from swarmlearning.models.compression import CODING, Encoder, identity, pays
from swarmlearning.models.links import PROBE, Links
from swarmlearning.models.parts import Parts, packed
from swarmlearning.models.pushes import Pushable, Pushes, PushReceiver
from swarmlearning.models.sending import Answer, Headers, send_file
from swarmlearning.models.store import StoreError, TensorStore
from swarmlearning.tensors.digest import ModelDigest
from swarmlearning.transport.parties import Credential

LIST_HEADER: Final = "x-chunk-list-bytes"
HEIGHT_HEADER: Final = "x-chain-height"
MOST_PROBED: Final = 256 * 1024
_READERS: Final = 4
_NONE: Final = range(0)
_ROUTE: Final = re.compile(
    r"/models/([0-9a-f]{64})(/chunks(?:/[0-9]{1,7}-[0-9]{1,7})?|/bundle|/here|/(?:influence|statistics)/[0-9]{1,4})?"
)
_PROBED: Final = re.compile(re.escape(PROBE) + "([0-9]{1,6})")
_HEIGHT: Final = re.compile(rb"[0-9]{1,15}")
_RANGE: Final = re.compile(rb"bytes=([0-9]{0,19})-([0-9]{0,19})")

T = TypeVar("T")

MayRead = Callable[[str, str, range], bool]
"""Whether the holder of a certificate (its thumbprint) may have these chunks of a model; none of them: whether it may
have its chunk list, and know which chunks are here."""
OnMissing = Callable[[str], None]
CatchUp = Callable[[int], Awaitable[None]]
Turn = Callable[[Credential, int], float]
Sums = Callable[[str, str, int], bytes | None]
"""What a node knows of the models' `influence` in a slice of a result, by its name and index, or its `statistics`
in a survey; None: nothing."""


def _unknown(kind: str, name: str, index: int) -> bytes | None:
    """For a node that merges no slices."""
    return None


async def _is_up_to_date(height: int) -> None:
    """For a node that follows no ledger."""


def _at_once(credential: Credential, size: int) -> float:
    """For a node that follows no ledger."""
    return 0.0


class RangeError(Exception):
    """A Range header that is not served; `status` is 400 for a malformed one and 416 for one beyond the file."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def parse_range(value: bytes, size: int) -> tuple[int, int]:
    """Returns the interval [start, end) that a Range header means in a file of `size` bytes (RFC 9110, 14.1.2).

    Raises `RangeError`. Stricter than the RFC, which lets a server ignore a range and send everything: a client that
    requests a part of a large model should learn that its request is wrong.
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
    catch_up: CatchUp = _is_up_to_date,
    turn: Turn = _at_once,
    sums: Sums = _unknown,
    links: Links | None = None,
    pushes: Pushes | None = None,
) -> ASGIApp:
    """Returns the application.

    `on_missing` is called with each model that was requested and is not here: its node may believe that it is. Models
    of fewer than `compress_below` bytes may be compressed. `catch_up` waits a moment for the ledger to reach a height.
    `turn`: the seconds until the holder of a credential may have so many bytes more. `links` measures transfers.
    `pushes`: where this node takes what others push to it.
    """
    server = _FileServer(
        store, may_read, on_missing, stall_seconds, compress_below, catch_up, turn, sums, links or Links()
    )
    return server if pushes is None else server.accepting(pushes)


class _FileServer:
    """Routes by hand: its few paths are matched to the letter, and each refusal has a text."""

    def __init__(
        self,
        store: TensorStore,
        may_read: MayRead,
        on_missing: OnMissing,
        stall_seconds: float,
        compress_below: int,
        catch_up: CatchUp,
        turn: Turn,
        sums: Sums,
        links: Links,
    ) -> None:
        self._store = store
        self._may_read = may_read
        self._catch_up = catch_up
        self._turn = turn
        self._sums = sums
        self._on_missing = on_missing
        self._stall_seconds = stall_seconds
        self._compress_below = compress_below
        self._readers = ThreadPoolExecutor(_READERS, "file-server")
        self._links = links
        self._pushes: PushReceiver | None = None

    def accepting(self, pushes: Pushes) -> "_FileServer":
        """The same, which takes what is pushed, too."""

        async def judge(scope: Scope, digest: str) -> Pushable | None:
            return await self._judged(scope, lambda: pushes.may_push(peer_thumbprint(scope), digest))

        self._pushes = PushReceiver(self._store, judge, self._readers, pushes)
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "PUT" and self._pushes is not None:
            await self._pushes.answer(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            await send_error(send, 405, "only GET and HEAD are served", [(b"allow", b"GET, HEAD")])
        elif scope["path"] == "/is_up":
            await _send_bytes(send, b"OK", b"text/plain")
        elif probed := _PROBED.fullmatch(scope["path"]):
            await self._send_probe(int(probed[1]), scope, send)
        elif (route := _ROUTE.fullmatch(scope["path"])) is None:
            detail = "no such page; a model is at /models/<digest>, a digest has 64 lower-case hex digits"
            await send_error(send, 404, detail)
        elif not await self._may_have(scope, route[1]):
            await _refuse(send, route[1])
        else:
            await self._serve(route[1], route[2], scope, receive, send)

    async def _send_probe(self, size: int, scope: Scope, send: Send) -> None:
        size = min(size, MOST_PROBED)
        await asyncio.sleep(self._turn(peer_credential(scope), size))
        await _send_bytes(send, bytes(size), b"application/octet-stream")

    async def _may_have(self, scope: Scope, digest: str, chunks: range = _NONE) -> bool:
        reader = peer_thumbprint(scope)
        return await self._judged(scope, lambda: self._may_read(reader, digest, chunks))

    async def _judged(self, scope: Scope, judge: Callable[[], T]) -> T:
        """What is judged by the ledger, once more where the sender has seen more of it than this node."""
        if found := judge():
            return found
        heights = [value for name, value in scope["headers"] if name == HEIGHT_HEADER.encode()]
        if len(heights) != 1 or not _HEIGHT.fullmatch(heights[0]):
            return found
        await self._catch_up(int(heights[0]))
        return judge()

    async def _serve(self, digest: str, part: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        _, kind, *where = part.split("/") if part else ("", "")
        if where and kind != "chunks":
            await self._send_sums(kind, digest, int(where[0]), send)
            return
        try:
            served = await self._find(digest)
        except StoreError as error:
            self._on_missing(digest)
            await send_error(send, 404, f"{error}; request it from another peer")
            return
        with served.file:
            if kind == "chunks" and where:
                await _send_digests(send, served, where[0])
            elif kind == "chunks":
                await _send_bytes(send, served.info.to_bytes(), b"application/octet-stream")
            elif kind == "here":
                await _send_bytes(send, served.bitmap(), b"application/octet-stream")
            else:
                await self._send_model(digest, served, kind == "bundle", scope, receive, send)

    async def _send_sums(self, kind: str, digest: str, index: int, send: Send) -> None:
        if (found := self._sums(kind, digest, index)) is None:
            await send_error(send, 404, f"this node has not merged slice {index} of {digest}, or has forgotten it")
        else:
            await _send_bytes(send, found, b"application/octet-stream")

    async def _find(self, digest: str) -> "_Served":
        """A model that is held, or what is here of it. Raises `NotHeldError`."""
        digest = self._store.name_of(digest)
        if not self._store.has(digest) and (parts := self._store.parts(digest)) is not None:
            loop = asyncio.get_running_loop()
            file = await loop.run_in_executor(self._readers, parts.opened_for_reading)
            if file is not None:
                return _Served(file, parts.info, parts)
        return _Served(*self._store.open(digest), None)

    async def _send_model(
        self, digest: str, served: "_Served", bundle: bool, scope: Scope, receive: Receive, send: Send
    ) -> None:
        host, connection = scope["client"][0], peer_socket(scope)
        file, info = served.file, served.info
        try:
            answer = _answer(digest, info, bundle, scope["headers"])
            chunks = info.layout.touched(answer.start, answer.end)
            if not await self._may_have(scope, digest, chunks):
                await _refuse(send, digest)
                return
            served.require(chunks)
        except RangeError as error:
            await send_error(send, error.status, str(error), [(b"content-range", b"bytes */%d" % info.size)])
            return
        if scope["method"] == "HEAD":
            answer = answer._replace(start=answer.end)
        elif bundle and _accepts_compression(scope["headers"]) and await self._compression_pays(file, info.size, host):
            answer = _compressed(answer)
        with self._links.watched(host, connection):
            turn = partial(self._turn, peer_credential(scope))
            await send_file(file, answer, self._readers, connection, self._stall_seconds, receive, send, turn)

    async def _compression_pays(self, file: FileIO, size: int, host: str) -> bool:
        speed = self._links.speed(host)
        if size >= self._compress_below or not speed:
            return False
        return await asyncio.get_running_loop().run_in_executor(self._readers, pays, file.fileno(), size, speed)


class _Served(NamedTuple):
    """A model's file and chunk list; `parts`: which chunks are here, None if it is whole."""

    file: FileIO
    info: ModelDigest
    parts: Parts | None

    def bitmap(self) -> bytes:
        return self.parts.bitmap() if self.parts else packed(b"\1" * len(self.info.chunks))

    def require(self, chunks: range) -> None:
        """Raises `RangeError` when some of them are not here."""
        if self.parts is not None and not self.parts.has(chunks):
            raise RangeError(416, "not all of these bytes are here; GET /models/<digest>/here tells which chunks are")


async def _send_digests(send: Send, served: _Served, wanted: str) -> None:
    """Those of chunks `a-b`, where all of these are here."""
    first, last = map(int, wanted.split("-"))
    chunks = range(first, last + 1)
    try:
        if not 0 <= first <= last < served.info.layout.count:
            raise RangeError(416, f"there are no chunks {wanted}: the model has {served.info.layout.count}")
        served.require(chunks)
    except RangeError as error:
        await send_error(send, error.status, str(error))
    else:
        await _send_bytes(send, b"".join(served.info.chunks[first : last + 1]), b"application/octet-stream")


async def _refuse(send: Send, digest: str) -> None:
    detail = f"this certificate is not that of a node that may have model {digest}, or this part of it"
    await send_error(send, 403, detail)


def _answer(digest: str, info: ModelDigest, bundle: bool, request: Headers) -> Answer:
    """Returns the answer to a request for a model, by its headers. Raises `RangeError`."""
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
    return Answer(status, headers, prefix, start, end, identity, 0 if start else info.header or 0)


def _accepts_compression(request: Headers) -> bool:
    values = (value for name, value in request if name == b"accept-encoding")
    return any(token.strip() == CODING.encode() for value in values for token in value.split(b","))


def _compressed(answer: Answer) -> Answer:
    """Returns the same answer, compressed: its length is not known yet, and the ETag is that of other bytes."""
    headers = [header for header in answer.headers if header[0] not in (b"content-length", b"etag")]
    return answer._replace(headers=[*headers, (b"content-encoding", CODING.encode())], encode=Encoder())


async def _send_bytes(send: Send, body: bytes, content_type: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
