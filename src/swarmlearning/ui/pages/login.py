"""Logging in and out."""

from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from fastapi import FastAPI, Form, Query
from starlette.responses import RedirectResponse, Response

from swarmlearning.ui.pages.acting import reason
from swarmlearning.ui.pages.page import as_json, shown
from swarmlearning.ui.security.admission import cookie_name
from swarmlearning.ui.security.passwords import MOST, BusyError
from swarmlearning.ui.security.trying import WaitError
from swarmlearning.ui.site import Here, Visit
from swarmlearning.ui.store.users import LONGEST_NAME

TEMPLATE: Final = "login.html"
LONGEST_PATH: Final = 2000


class LoginView(msgspec.Struct, frozen=True):
    """The form; `fault` says why it comes again, empty at first. `to`: the page to go on with.
    `nobody`: there is no user yet."""

    to: str
    fault: str = ""
    name: str = ""
    nobody: bool = False


def add_login(app: FastAPI) -> None:
    """The form, and its two actions."""

    @app.get("/login", response_class=Response, response_model=None)
    async def form(visit: Here, to: Annotated[str, Query(max_length=LONGEST_PATH)] = "/") -> Response:
        if visit.known is not None:
            return RedirectResponse(local(to), 303)
        return shown(visit, TEMPLATE, LoginView(local(to), nobody=await visit.site.users.nobody()))

    @app.post("/login", response_class=Response, response_model=None)
    async def login(
        visit: Here,
        name: Annotated[str, Form(max_length=LONGEST_NAME)],
        password: Annotated[str, Form(max_length=MOST)],
        to: Annotated[str, Form(max_length=LONGEST_PATH)] = "/",
    ) -> Response:
        site = visit.site
        stored = await site.users.password_of(name)
        try:
            right = await site.trying.is_right(name, visit.address, password, stored)
        except (WaitError, BusyError) as error:
            status = 429 if isinstance(error, WaitError) else 503
            return _again(visit, LoginView(local(to), reason(visit, error), name), status)
        if not right:
            return _again(visit, LoginView(local(to), visit.text("login.wrong"), name), 401)
        if stored is not None and site.passwords.outdated(stored):
            await site.users.rehash(name, await site.passwords.hashed(password))
        await site.sessions.close(visit.admitted.session)  # one that somebody else may have begun in this browser
        token = await site.sessions.open(name, visit.address, visit.request.headers.get("user-agent", ""))
        answer: Response = as_json(LoginView(local(to))) if visit.wants_json else RedirectResponse(local(to), 303)
        return with_session(visit, answer, token)

    @app.post("/logout", response_class=Response, response_model=None)
    async def logout(visit: Here) -> Response:
        await visit.site.sessions.close(visit.admitted.session)
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(cookie_name(visit.request.url.scheme), secure=visit.request.url.scheme == "https")
        answer.headers["clear-site-data"] = '"cache"'
        return answer


def with_session(visit: Visit, answer: Response, token: str) -> Response:
    """The answer, with the cookie of this session."""
    scheme = visit.request.url.scheme
    answer.set_cookie(
        cookie_name(scheme),
        token,
        max_age=visit.site.sessions.longest_seconds,
        secure=scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return answer


def local(to: str) -> str:
    """The path if it is one of this UI, else that of the first page."""
    try:
        parts = urlsplit(to)
    except ValueError:
        return "/"
    plain = to.startswith("/") and not to.startswith("//") and "\\" not in to and to.isprintable()
    return to if plain and not parts.scheme and not parts.netloc else "/"


def _again(visit: Visit, data: LoginView, status: int) -> Response:
    return as_json(data, status) if visit.wants_json else shown(visit, TEMPLATE, data, status)
