"""Middleware and answers that every application here shares."""

import asyncio
import json
from collections.abc import Iterable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from swarmlearning.api.peer import peer_credential
from swarmlearning.transport.shares import OverQuotaError, Shares

BYTES_A_REQUEST: Final = 4 * 1024
"""A body counts as one more request for each of these: what is in it has to be parsed and verified."""
UNSTATED_BYTES: Final = 1024 * 1024


QUOTA: Final = "quota"
"""The code of refusals that pass by themselves, as on the ledger (`ledger/codes.py`)."""


def error_body(detail: str, code: str = "") -> bytes:
    """`{"detail": detail}`, the form of FastAPI's errors; with a `code` for programs where there is one."""
    return json.dumps({"code": code, "detail": detail} if code else {"detail": detail}).encode()


async def send_error(send: Send, status: int, detail: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Answers an ASGI request with `{"detail": detail}`."""
    await send_json(send, status, error_body(detail), headers)


async def send_json(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Answers an ASGI request with `body`, which is JSON."""
    fixed = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})


class Paced:
    """ASGI middleware: a request waits until its organisation has earned it; answers 429 when that takes too long.

    What a request costs grows with its body, which the application would have to read; unless bodies are `bulk`, of
    which the application counts the bytes.
    """

    def __init__(self, app: ASGIApp, shares: Shares, *, bulk: bool = False) -> None:
        self._app = app
        self._shares = shares
        self._bulk = bulk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = 0 if self._bulk else _body_bytes(scope) // BYTES_A_REQUEST
            wait = self._shares.turn(peer_credential(scope), 1 + body)
        except OverQuotaError as error:
            headers = [(b"content-type", b"application/json"), (b"retry-after", b"5")]
            await send({"type": "http.response.start", "status": 429, "headers": headers})
            return await send({"type": "http.response.body", "body": error_body(str(error), QUOTA)})
        if wait:
            await asyncio.sleep(wait)
        return await self._app(scope, receive, send)


def _body_bytes(scope: Scope) -> int:
    """The size of a request's body as its head states it; where it does not, a large one."""
    stated = {name: value for name, value in scope["headers"] if name in (b"content-length", b"transfer-encoding")}
    if b"transfer-encoding" in stated:
        return UNSTATED_BYTES
    length = stated.get(b"content-length", b"0")
    return min(int(length), UNSTATED_BYTES) if length.isdigit() and len(length) < 20 else UNSTATED_BYTES


class BodyLimit:
    """ASGI middleware: reads a body of at most `max_bytes` bytes before the application runs, else answers 413.

    The application gets the body in one message: it cannot stall on it, nor see a part of it.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        body = bytearray()
        too_large, more = False, True
        while more and not too_large:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            too_large, more = len(body) > self._max_bytes, message.get("more_body", False)
        if too_large:
            # The connection stays open while the protocol drops the rest of the body (within the time limit of
            # a request), else a client that is still sending would meet a reset instead of this answer.
            detail = f"the body is larger than the {self._max_bytes} bytes that are accepted; send less at once"
            return await send_error(send, 413, detail)
        whole: Message | None = {"type": "http.request", "body": bytes(body), "more_body": False}

        async def replay() -> Message:
            nonlocal whole
            message, whole = whole, None
            return message if message is not None else await receive()

        return await self._app(scope, replay, send)
