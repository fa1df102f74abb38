"""The one way to act: a POST of a page does something, tells it as a flash message, and goes back to a page.

    @action(app, "/contracts/reset")
    async def reset(visit: Here, contract: Annotated[str, Form()]) -> Done: ...

returns what has been done and where to go on; programs (`Accept: application/json`) get the message as JSON. A
`UserError` that the function raises is told as what has failed.
"""

import functools
import inspect
import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, ParamSpec
from urllib.parse import quote

from fastapi import FastAPI
from starlette.responses import RedirectResponse, Response

from swarmlearning.errors import UserError
from swarmlearning.ledger.world import World
from swarmlearning.operator.acts import Act
from swarmlearning.operator.session import sent
from swarmlearning.ui.pages.flash import Flash
from swarmlearning.ui.pages.page import as_json
from swarmlearning.ui.site import Visit
from swarmlearning.views.names import displayed

P = ParamSpec("P")
LONGEST: Final = 2000


@dataclass(frozen=True)
class Done:
    """What an action has done, and the path of the page to go on with."""

    flash: Flash
    to: str


class NotAllowedError(UserError):
    """The UI's certificate is an observer's: it sees, and cannot act."""

    def __init__(self, visit: Visit) -> None:
        super().__init__(visit.text("errors.observer", role=visit.feed.role or "-"))


async def act(visit: Visit, compose: Callable[[World], Act], command: Sequence[str], to: str) -> Done:
    """Sends an act to the ledger for the visitor. `command` would do the same. Raises `UserError`."""
    if not visit.feed.may_act:
        raise NotAllowedError(visit)
    told: list[str] = []

    def composed(world: World) -> Act:
        found = compose(world)
        told[:] = [found.done]
        return found

    person = visit.user.name
    proposal = await visit.feed.use(lambda operator: sent(operator, composed, person))
    if proposal is not None and proposal.state == "open":
        text = visit.text("acting.proposed", number=proposal.number, missing=", ".join(proposal.missing))
        return Done(Flash("waits", text, shlex.join(command)), to)
    return Done(Flash("done", visit.said(displayed(told[0], LONGEST)), shlex.join(command)), to)


def action(
    app: FastAPI, path: str, back: str
) -> Callable[[Callable[P, Awaitable[Done]]], Callable[P, Awaitable[Done]]]:
    """Makes an action of a function with the parameter `visit`. `back`: the page to go to where it fails, in which
    parameters of the path stand in braces."""

    def decorate(work: Callable[P, Awaitable[Done]]) -> Callable[P, Awaitable[Done]]:
        async def post(*args: P.args, **given: P.kwargs) -> Response:
            visit = given["visit"]
            assert isinstance(visit, Visit)
            try:
                done = await work(*args, **given)
            except UserError as error:
                done = Done(Flash("failed", reason(visit, error)), back.format(**visit.request.path_params))
                return answer(visit, done, 409)
            return answer(visit, done)

        functools.update_wrapper(post, work)
        post.__signature__ = inspect.signature(work, eval_str=True).replace(  # type: ignore[attr-defined]
            return_annotation=inspect.Signature.empty
        )
        app.post(path, response_class=Response, response_model=None, name=f"{work.__name__} {path}")(post)
        return work

    return decorate


def answer(visit: Visit, done: Done, status: int = 200) -> Response:
    """The answer to an action: the message as JSON, with the page to go on with in its header, or the way there."""
    if visit.wants_json:
        told = as_json(done.flash, status)
        told.headers["location"] = quote(done.to, safe="/?=&#:~")
        return told
    if done.flash.text:  # a step that speaks for itself has none
        visit.site.flashes.add(visit.admitted.session, done.flash)
    return RedirectResponse(done.to, 303)


def reason(visit: Visit, error: UserError) -> str:
    """The error in the visitor's language, if it is one of the UI's own; else as it is."""
    key: Any = getattr(error, "key", "")
    return visit.text(key, **getattr(error, "values", {})) if key else visit.said(displayed(str(error), LONGEST))
