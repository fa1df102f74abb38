"""Middleware and answers that every application here shares."""

import json
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send


def error_body(detail: str) -> bytes:
    """`{"detail": detail}`, the form of FastAPI's errors."""
    return json.dumps({"detail": detail}).encode()


async def send_error(send: Send, status: int, detail: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Answers an ASGI request with `{"detail": detail}`."""
    await send_json(send, status, error_body(detail), headers)


async def send_json(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Answers an ASGI request with `body`, which is JSON."""
    fixed = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})


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
