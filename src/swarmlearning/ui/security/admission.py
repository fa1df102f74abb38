"""The gate before all pages: decides by path, session and token, before anything of a request is read.

Whoever is let in stands in `scope["state"]["admitted"]`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final, TypeAlias
from urllib.parse import parse_qs, quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from swarmlearning.ui.security import csrf
from swarmlearning.ui.security.roles import Access, access, may, methods
from swarmlearning.ui.store.sessions import Sessions
from swarmlearning.ui.store.users import User

LIVE: Final = "x-live"
"""The header of a request by which a page keeps itself up to date: it does not prolong a session."""
SILENCE_SECONDS: Final = 30.0
"""Longest wait for the next part of a body."""
SLOWEST: Final = 2048
"""Bytes of a body in a second on average, beyond the first 30 seconds: who sends less keeps a place for nothing."""
FORM: Final = "application/x-www-form-urlencoded"
MOST_FORM: Final = 2 * 2**20
"""Bytes of a form without files: it is read whole before anything else is known of it."""
MOST_FIELDS: Final = 10_000


@dataclass(frozen=True)
class Admitted:
    """Who sends a request: `user` is None for somebody who has not logged in, whose `session` is empty."""

    user: User | None = None
    session: str = ""

    @property
    def csrf(self) -> str:
        """The token that forms of this session send along."""
        return csrf.token_of(self.session) if self.session else ""


class Denied(HTTPException):
    """A request is not let in: the answer's status, the key of a text, and where to go in place of it."""

    def __init__(self, status: int, key: str, to: str = "") -> None:
        super().__init__(status, key)
        self.key = key
        self.to = to


Answer: TypeAlias = Callable[[Request, Denied], Awaitable[Response]]
"""Answers requests that are not let in."""


def cookie_name(scheme: str) -> str:
    """The name of the session's cookie; browsers give one that begins with `__Host-` to nobody but this host."""
    return "__Host-swarm" if scheme == "https" else "swarm"


class Admission:
    """ASGI middleware; `denied` answers whoever is not let in."""

    def __init__(self, app: ASGIApp, sessions: Sessions, denied: Answer) -> None:
        self._app = app
        self._sessions = sessions
        self._denied = denied

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send) if scope["type"] == "lifespan" else None
        state = scope.setdefault("state", {})
        state["admitted"] = Admitted()
        try:
            known = _required(scope["method"], scope["path"])
            headers = _headers(scope)
            state["admitted"] = await self._who(scope["scheme"], headers)
            _require_role(state["admitted"], known, scope)
            received = _bounded(receive, headers, known.body)
            if scope["method"] not in csrf.SAFE:
                received = await _require_own(scope, headers, received, state["admitted"])
        except Denied as denied:
            answer = await self._denied(Request(scope, receive), denied)
            return await answer(scope, receive, send)
        return await self._app(scope, received, send)

    async def _who(self, scheme: str, headers: Mapping[str, str]) -> Admitted:
        try:
            found = SimpleCookie(headers.get("cookie", "")[:8192]).get(cookie_name(scheme))
        except CookieError:
            found = None
        if found is None or not found.value or len(found.value) > 200:
            return Admitted()
        user = await self._sessions.user(found.value, active=LIVE not in headers)
        return Admitted(user, found.value) if user is not None else Admitted()


def _required(method: str, path: str) -> Access:
    if (known := access(method, path)) is not None:
        return known
    raise Denied(405 if methods(path) else 404, "errors.method" if methods(path) else "errors.no-page")


def _require_role(admitted: Admitted, known: Access, scope: Scope) -> None:
    if may(admitted.user.role if admitted.user else None, known.role):
        return
    if admitted.user is not None:
        raise Denied(403, "errors.role")
    raise Denied(401, "errors.login", _login(scope))


def _login(scope: Scope) -> str:
    """Where to log in, and where to go on from there."""
    if scope["method"] != "GET" or scope["path"] == "/":
        return "/login"
    query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
    return f"/login?to={quote(scope['path'] + query, safe='')}"


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _bounded(receive: Receive, headers: Mapping[str, str], most: int) -> Receive:
    """`receive` for a body of so many bytes, whose parts do not stall. Raises `Denied` there, and for a stated length
    that is too large at once."""
    stated = headers.get("content-length", "0")
    if not stated.isdigit() or len(stated) > 15 or int(stated) > most:
        raise Denied(413, "errors.too-large")
    received = 0
    whole = False
    begun = asyncio.get_running_loop().time()

    async def bounded() -> Message:
        nonlocal received, whole
        if whole:
            return await receive()
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(min(now, begun + received / SLOWEST) + SILENCE_SECONDS):
                message = await receive()
        except TimeoutError:
            raise Denied(408, "errors.slow") from None
        received += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if received > most:
            raise Denied(413, "errors.too-large")
        return message

    return bounded


async def _require_own(scope: Scope, headers: Mapping[str, str], receive: Receive, admitted: Admitted) -> Receive:
    """Raises `Denied` for a request that none of our pages has sent; returns what gives the same body."""
    if not csrf.is_from_here(headers, scope["scheme"], headers.get("host", "")):
        raise Denied(403, "errors.foreign")
    if not admitted.session:  # a login: what a browser states is enough, for there is nothing to be misused
        return receive
    given = headers.get(csrf.HEADER)
    if given is None and headers.get("content-type", "").startswith(FORM):
        body, receive = await _read(receive)
        given = _field(body)
    elif given is None:  # files: the form's address has it
        given = _field(scope["query_string"])
    if not csrf.is_token(given, admitted.session):
        raise Denied(403, "errors.token")
    return receive


def _field(form: bytes) -> str:
    """The token in a form. Raises `Denied` for one of more fields than any of ours has."""
    try:
        return parse_qs(form.decode("latin-1"), max_num_fields=MOST_FIELDS).get(csrf.FIELD, [""])[0]
    except ValueError:
        raise Denied(413, "errors.too-large") from None


async def _read(receive: Receive) -> tuple[bytes, Receive]:
    """A whole body, and what gives it once more. Raises `Denied` for one that is larger than any of our forms."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MOST_FORM:
            raise Denied(413, "errors.too-large")
        more = message["type"] != "http.disconnect" and message.get("more_body", False)
    read = False

    async def again() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return bytes(body), again
