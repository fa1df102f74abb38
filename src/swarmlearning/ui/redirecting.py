"""Leads browsers that come over plain HTTP to the UI's HTTPS."""

import re
from typing import Final

from starlette.types import Receive, Scope, Send

HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,253})(:[0-9]{1,5})?")
LONGEST: Final = 2000
HTTPS: Final = 443


class Redirect:
    """An ASGI application; `port`: of HTTPS, as browsers reach it."""

    def __init__(self, port: int) -> None:
        self._port = "" if port == HTTPS else f":{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answered(scope, send)

    async def _answered(self, scope: Scope, send: Send) -> None:
        host = HOST.fullmatch(dict(scope["headers"]).get(b"host", b""))
        if host is None:
            return await _answer(send, 400, b"This request names no host.\n")
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        path: bytes = (scope["raw_path"] or b"/") + query
        to = b"https://" + host[1] + self._port.encode() + (path if len(path) <= LONGEST else b"/")
        return await _answer(send, 308, b"The UI is at HTTPS.\n", (b"location", to))


async def _answer(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    fixed = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})
