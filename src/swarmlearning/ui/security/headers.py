"""Headers of every answer: a strict content security policy, and what else keeps a browser from being misled."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
FIXED: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
YEAR: Final = 365 * 24 * 3600
HSTS: Final = (b"strict-transport-security", b"max-age=%d" % YEAR)
NO_STORE: Final = (b"cache-control", b"no-store")


class SafeHeaders:
    """ASGI middleware. What sets no `cache-control` itself is kept by nobody."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = list(message.get("headers", ()))
                names = {name.lower() for name, _ in own}
                added = [*FIXED, NO_STORE, *((HSTS,) if scope.get("scheme") == "https" else ())]
                message["headers"] = own + [each for each in added if each[0] not in names]
            await send(message)

        await self._app(scope, receive, send_with)
