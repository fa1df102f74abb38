"""Takes chunks of models from sites that nobody can connect to: each pushes its own to whoever is to merge them.

    PUT  /models/<digest>/chunks                   the chunk list, which the digest proves
    PUT  /models/<digest>/chunks/<first>-<end>     the chunks from the first to before the end, one after another

Both are answered with the chunks that are here by then (as `/here` is): what is not is to be sent, or sent once more.
Each chunk is checked by the list before it counts, lies where fetched ones do, and may be on its way from another
source at the same time: the first one counts, and the bytes of the other are dropped.

Whoever may not push this is refused (403) before anything of it is read. Otherwise refused are a list that is not that
of the digest, or of a model that is cut otherwise than those of the training (422), chunks before their list (409), a
body that is not as long as they are (400), chunks that do not fit the list (422), and more than a few pushes of one
model at a time (429). A disk that is full is 507; what has come before stays. The time of a request is the server's,
which is given more of it with each byte that comes at a rate at which a source is not given up (`LEAST_RATE`).
"""

import asyncio
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, NamedTuple, TypeVar

from blake3 import blake3
from starlette.types import Receive, Scope, Send

from swarmlearning.api.middleware import send_error
from swarmlearning.api.peer import allow_more_time, peer_credential
from swarmlearning.models.body import LEAST_RATE
from swarmlearning.models.claims import Claim, Holding
from swarmlearning.models.parts import Overtaken, Parts, WrongChunk
from swarmlearning.models.store import StoreError, TensorStore
from swarmlearning.tensors.digest import DigestError, Layout, ModelDigest
from swarmlearning.transport.parties import Credential

logger = logging.getLogger(__name__)

AT_ONCE: Final = 4
"""Requests that push chunks of one model at a time."""
_ROUTE: Final = re.compile(r"/models/([0-9a-f]{64})/chunks(?:/([0-9]{1,7})-([0-9]{1,7}))?")
_ALLOWANCE_SECONDS: Final = 10.0
T = TypeVar("T")


class Pushable(NamedTuple):
    """What of a model somebody may push: these chunks, of a model that is cut like this."""

    layout: Layout
    chunks: frozenset[int]


class Pushes(NamedTuple):
    """`may_push`: what of a model the holder of a certificate (its thumbprint) may push. `came` is called with each
    model and its bytes that have come. `turn`: the seconds until the holder of a credential may send so many more."""

    may_push: Callable[[str, str], Pushable | None]
    came: Callable[[str, int], None]
    turn: Callable[[Credential, int], float]


Judge = Callable[[Scope, str], Awaitable[Pushable | None]]
"""Decides what of a model the sender of a request may push."""


class _Refused(Exception):
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class PushReceiver:
    """Belongs to one event loop. `readers` digest and write. `may_push` judges as that of `pushes` does."""

    def __init__(self, store: TensorStore, may_push: Judge, readers: Executor, pushes: Pushes) -> None:
        self._store = store
        self._may_push = may_push
        self._readers = readers
        self._turn, self._came = pushes.turn, pushes.came
        self._running: Counter[str] = Counter()

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a PUT."""
        if (route := _ROUTE.fullmatch(scope["path"])) is None:
            await send_error(send, 404, "chunks are pushed to /models/<digest>/chunks/<first>-<end>")
            return
        digest = route[1]
        if (pushable := await self._may_push(scope, digest)) is None:
            await send_error(send, 403, f"this certificate is not that of a node that may push model {digest} here")
            return
        try:
            with self._one_of_few(digest):
                if route[2] is None:
                    await self._take_list(digest, pushable, scope, receive)
                else:
                    await self._take_chunks(digest, range(int(route[2]), int(route[3])), pushable, scope, receive)
        except _Refused as refused:
            await send_error(send, refused.status, str(refused))
        except StoreError as error:
            logger.warning("model %s is pushed here: %s", digest, error)
            await send_error(send, 507, "this node's disk has no room for the model, or fails")
        except _Gone:
            pass
        else:
            await self._send_here(digest, pushable, send)

    @contextmanager
    def _one_of_few(self, digest: str) -> Iterator[None]:
        """Raises `_Refused`."""
        if self._running[digest] >= AT_ONCE:
            raise _Refused(429, f"{AT_ONCE} requests push this model here already; wait for one of them")
        self._running[digest] += 1
        try:
            yield
        finally:
            self._running[digest] -= 1
            if not self._running[digest]:
                del self._running[digest]

    async def _take_list(self, digest: str, pushable: Pushable, scope: Scope, receive: Receive) -> None:
        """Raises `_Refused` and `StoreError`."""
        size, data = len(ModelDigest.unstated(pushable.layout).to_bytes()), bytearray()
        if _length(scope) != size:
            raise _Refused(422, f"the chunk list of a model that is cut as those of the training has {size} bytes")
        async for piece in self._pieces(size, scope, receive):
            data += piece
        try:
            info = ModelDigest.from_bytes(bytes(data))
        except DigestError as error:
            raise _Refused(422, f"this is not a chunk list: {error}") from error
        if info.root != digest:
            raise _Refused(422, "this is the chunk list of another model")
        if info.layout != pushable.layout:
            raise _Refused(422, "this model is cut otherwise than those of the round, or a change of another base")
        if not self._store.has(digest):
            parts = self._store.parts(digest, info)
            assert parts is not None
            with self._store.pinned(digest):
                await self._in_thread(parts.open)
                await self._in_thread(parts.close)

    async def _take_chunks(
        self, digest: str, chunks: range, pushable: Pushable, scope: Scope, receive: Receive
    ) -> None:
        """Raises `_Refused` and `StoreError`."""
        if not chunks or not pushable.chunks.issuperset(chunks):
            raise _Refused(403, f"of model {digest} these chunks are not for this node to merge")
        size = pushable.layout.length(chunks)
        if _length(scope) != size:
            raise _Refused(400, f"chunks {chunks.start} to {chunks.stop - 1} have {size} bytes; send just these")
        if self._store.has(digest):
            return
        if (parts := self._store.parts(digest)) is None or parts.layout != pushable.layout:
            raise _Refused(409, "push the chunk list first")
        with self._store.pinned(digest):
            await self._in_thread(parts.open)
            run = _Run(parts, chunks)
            try:
                async for piece in self._pieces(size, scope, receive):
                    await self._in_thread(partial(run.add, piece))
                    self._came(digest, len(piece))
            except WrongChunk as error:
                raise _Refused(422, str(error)) from error
            finally:
                run.release()
                await self._in_thread(parts.close)

    async def _pieces(self, size: int, scope: Scope, receive: Receive) -> AsyncIterator[bytes]:
        """The body, of this size, as it comes and as fast as its sender's organisation may send. Raises `_Gone`."""
        credential, come, allowed = peer_credential(scope), 0, 0
        while come < size:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            piece = message.get("body", b"")[: size - come]
            come += len(piece)
            if come - allowed >= LEAST_RATE * _ALLOWANCE_SECONDS:
                allowed = come
                allow_more_time(scope)
            if wait := self._turn(credential, len(piece)):
                await asyncio.sleep(wait)
            if piece:
                yield piece
            if not message.get("more_body", False) and come < size:
                raise _Refused(400, f"the body ends after {come} of {size} bytes")

    async def _send_here(self, digest: str, pushable: Pushable, send: Send) -> None:
        parts = None if self._store.has(digest) else self._store.parts(digest)
        body = parts.bitmap() if parts else b"\xff" * -(-pushable.layout.count // 8)
        headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Runs it to its end, also where this task is cancelled meanwhile: what it writes is its own until then."""
        running = asyncio.get_running_loop().run_in_executor(self._readers, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            raise


class _Gone(Exception):
    """The sender has closed the connection."""


class _Run:
    """Chunks that come one after another. `add` may be called in any thread, by one at a time."""

    def __init__(self, parts: Parts, chunks: range) -> None:
        self._parts = parts
        self._index = chunks.start
        self._at, self._end = parts.layout.bounds(chunks.start)  # of the bytes that have come, and of the chunk
        self._claim: Claim | None = None
        self._begun = False
        self._chunk = blake3()

    def add(self, piece: bytes) -> None:
        """The next bytes. Raises `WrongChunk` and `StoreError`."""
        rest = memoryview(piece)
        while rest:
            if not self._begun:
                self._begun, self._chunk = True, blake3()
                self._claim = self._parts.claim(Holding(), range(self._index, self._index + 1))
            part = rest[: self._end - self._at]
            rest = rest[len(part) :]
            self._put(part)
            self._at += len(part)
            if self._at == self._end:
                self._end_chunk()

    def release(self) -> None:
        """The chunk on its way will not come."""
        if self._claim is not None:
            self._parts.release(self._claim)
            self._claim = None

    def _put(self, part: memoryview) -> None:
        """What is here, or comes from elsewhere, is dropped."""
        if self._claim is not None:
            try:
                self._parts.write(self._claim, part, self._at)
            except Overtaken:
                self.release()
            else:
                self._chunk.update(part)

    def _end_chunk(self) -> None:
        if self._claim is not None:
            with suppress(Overtaken):
                self._parts.confirm(self._claim, self._chunk.digest())
        self.release()
        self._index, self._begun = self._index + 1, False
        if self._index < self._parts.layout.count:
            self._end = self._parts.layout.bounds(self._index)[1]


def _length(scope: Scope) -> int:
    """The bytes of the body, as its head states them. Raises `_Refused`."""
    stated = [value for name, value in scope["headers"] if name == b"content-length"]
    if len(stated) != 1 or not stated[0].isdigit() or len(stated[0]) > 15:
        raise _Refused(411, "state the length of the body (content-length)")
    return int(stated[0])
