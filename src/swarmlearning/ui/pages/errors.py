"""Pages for what cannot be done."""

import logging
from http import HTTPStatus

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from swarmlearning.errors import UserError
from swarmlearning.ui.pages.page import as_json, shown
from swarmlearning.ui.security.admission import Denied
from swarmlearning.ui.site import Visit, visit_of
from swarmlearning.views.names import displayed

logger = logging.getLogger("swarm.ui")

TEMPLATE = "error.html"
LONGEST = 2000
KEYS = {404: "errors.no-page", 405: "errors.method"}


class ErrorView(msgspec.Struct, frozen=True):
    """What is wrong, and what to do."""

    status: int
    title: str
    detail: str


def add_errors(app: FastAPI) -> None:
    """Handlers of all that requests can raise."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(UserError, _user_error)
    app.add_exception_handler(Exception, _defect)


async def denied(request: Request, error: Denied) -> Response:
    """The answer to a request that is not let in."""
    visit = visit_of(request)
    if error.to and not visit.wants_json and request.method == "GET" and not request.url.path.endswith(".json"):
        return RedirectResponse(error.to, 303)
    return _answer(visit, error.status_code, visit.text(error.key))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, Denied):
        return await denied(request, error)
    visit = visit_of(request)
    return _answer(visit, error.status_code, visit.text(KEYS.get(error.status_code, "errors.malformed")))


async def _malformed(request: Request, error: Exception) -> Response:
    """Of what was sent only the places are told, not the values."""
    assert isinstance(error, RequestValidationError)
    visit = visit_of(request)
    found = ", ".join(".".join(map(str, each["loc"][1:4])) for each in error.errors()[:5])
    return _answer(visit, 422, visit.text("errors.fields", fields=displayed(found, 300)))


async def _user_error(request: Request, error: Exception) -> Response:
    visit = visit_of(request)
    return _answer(visit, 503, visit.said(displayed(str(error), LONGEST)))


async def _defect(request: Request, error: Exception) -> Response:
    logger.error("%s %s", request.method, displayed(request.url.path, 200), exc_info=error)
    visit = visit_of(request)
    return _answer(visit, 500, visit.text("errors.defect"))


def _answer(visit: Visit, status: int, detail: str) -> Response:
    data = ErrorView(status, HTTPStatus(status).phrase, detail)
    if visit.wants_json or visit.request.url.path.endswith(".json"):
        return as_json(data, status)
    return shown(visit, TEMPLATE, data, status)
