"""The first user, an admin, made in the browser by the link that `swarm ui` has printed."""

from typing import Annotated, Final

import msgspec
from fastapi import FastAPI, Form, Query
from starlette.responses import RedirectResponse, Response

from swarmlearning.errors import UserError
from swarmlearning.ui.pages.acting import reason
from swarmlearning.ui.pages.login import with_session
from swarmlearning.ui.pages.page import as_json, shown
from swarmlearning.ui.security.firstlink import PATH
from swarmlearning.ui.security.passwords import LEAST, MOST, require_good
from swarmlearning.ui.site import Here, Visit
from swarmlearning.ui.store.users import LONGEST_NAME, require_name

TEMPLATE: Final = "first.html"
LONGEST_TOKEN: Final = 100
AFTER: Final = "/setup"


class FirstView(msgspec.Struct, frozen=True):
    """The form; without a token it says that the link is no longer good. `fault`: why the form comes again."""

    token: str
    least: int = LEAST
    name: str = ""
    fault: str = ""


def add_first(app: FastAPI) -> None:
    """The form, and what it does."""

    @app.get(PATH, response_class=Response, response_model=None)
    async def form(visit: Here, token: Annotated[str, Query(max_length=LONGEST_TOKEN)] = "") -> Response:
        if not await visit.site.users.nobody():
            return RedirectResponse("/", 303)
        return _answer(visit, FirstView(token) if visit.site.first.opens(token) else FirstView(""))

    @app.post(PATH, response_class=Response, response_model=None)
    async def make(
        visit: Here,
        token: Annotated[str, Form(max_length=LONGEST_TOKEN)],
        name: Annotated[str, Form(max_length=LONGEST_NAME)],
        password: Annotated[str, Form(max_length=MOST)],
        again: Annotated[str, Form(max_length=MOST)],
    ) -> Response:
        site = visit.site
        if not site.first.opens(token):
            return _answer(visit, FirstView(""), 403)
        try:
            require_name(name)
            require_good(password, name)
            if password != again:
                raise UserError(visit.text("account.differ"))
            hashed = await site.passwords.hashed(password)
            if not site.first.opens(token):  # somebody else has used it meanwhile
                return _answer(visit, FirstView(""), 403)
            site.first.use_up()
            await site.users.add_first(name, hashed)
        except UserError as error:
            return _answer(visit, FirstView(token, name=name, fault=reason(visit, error)), 409)
        session = await site.sessions.open(name, visit.address, visit.request.headers.get("user-agent", ""))
        answer: Response = as_json(FirstView("")) if visit.wants_json else RedirectResponse(AFTER, 303)
        return with_session(visit, answer, session)


def _answer(visit: Visit, data: FirstView, status: int = 200) -> Response:
    if not data.token and status == 200:
        status = 403
    return as_json(data, status) if visit.wants_json else shown(visit, TEMPLATE, data, status)
