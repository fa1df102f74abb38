"""Behind a reverse proxy: who the browser is, by what the one proxy that is trusted adds to each request."""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

ADDED: Final = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded", b"x-forwarded-port")


class BehindProxy:
    """ASGI middleware: takes address, scheme and host from the headers of `proxy`, and from nobody else's. Others are
    turned away, so that nobody reaches the UI beside its proxy."""

    def __init__(self, app: ASGIApp, proxy: str) -> None:
        self._app = app
        self._proxy = proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        client = scope.get("client") or ("", 0)
        if client[0] != self._proxy:
            return await _refuse(send)
        told = {name: value.decode("latin-1") for name, value in scope["headers"] if name in ADDED}
        kept = [(name, value) for name, value in scope["headers"] if name not in ADDED]
        if host := told.get(b"x-forwarded-host", "").split(",")[-1].strip():
            kept = [(name, value) for name, value in kept if name != b"host"] + [(b"host", host.encode("latin-1"))]
        seen = told.get(b"x-forwarded-for", "").split(",")[-1].strip()
        scheme = told.get(b"x-forwarded-proto", "").split(",")[-1].strip()
        changed = {
            **scope,
            "headers": kept,
            "client": (seen or client[0], 0),
            "scheme": scheme if scheme in ("http", "https") else scope["scheme"],
        }
        return await self._app(changed, receive, send)


async def _refuse(send: Send) -> None:
    body = b"This page is behind a proxy, which this request has not come through.\n"
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
