"""Without TLS nothing but the name in a request tells a page of this UI from one of another site whose name leads to
this machine (DNS rebinding): such a page would be of the same origin, and could try passwords from inside."""

import re
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from swarmlearning.address import is_loopback

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(:[0-9]{1,5})?")
_BODY: Final = b"This UI answers on its own machine alone: open it as http://127.0.0.1, with its port.\n"


class LocalName:
    """ASGI middleware for a UI that only this machine reaches: what is asked of another name is turned away."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not all(is_local(value) for name, value in scope["headers"] if name == b"host"):
            headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(_BODY))]
            await send({"type": "http.response.start", "status": 421, "headers": headers})
            return await send({"type": "http.response.body", "body": _BODY})
        return await self._app(scope, receive, send)


def is_local(host: bytes) -> bool:
    """Whether this is a name or address of this machine alone, with or without a port."""
    found = _HOST.fullmatch(host.decode("latin-1"))
    return found is not None and is_loopback(found[1].strip("[]"))
