"""The one way to make a page: a function that returns a structure of data, shown as HTML or given as JSON.

    @page(app, "/things/{name}", "things/thing.html")
    async def thing(visit: Here, name: str) -> ThingView: ...

serves `/things/NAME` and `/things/NAME.json`; the former, too, gives JSON where a client prefers it (`Accept`). The
template gets the structure as `data`; what all templates can use is in `shown`.

Parts of a page that keep themselves up to date have an `id` and the topics of the news that change them, as
`data-live="training nodes"`: `static/live.js` fetches the page again when it hears of them, and replaces these parts.
So a page is whole without JavaScript, too.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import msgspec
from fastapi import FastAPI
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from swarmlearning import __version__
from swarmlearning.node.clocks import clock_ms
from swarmlearning.ui.pages import formatting
from swarmlearning.ui.pages.navigation import entries
from swarmlearning.ui.security.admission import LIVE
from swarmlearning.ui.security.roles import json_path
from swarmlearning.ui.site import Visit
from swarmlearning.ui.texts.catalogue import of_scripts

P = ParamSpec("P")
Data = TypeVar("Data", bound=msgspec.Struct)
FOLDER: Final = Path(__file__).parents[1]
TEMPLATES: Final = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
TEMPLATES.filters |= {
    "plain": msgspec.to_builtins,
    "when": formatting.when,
    "iso": formatting.iso,
    "ago": formatting.ago,
    "number": formatting.number,
    "size": formatting.size,
    "short": formatting.short,
    "shortened": formatting.shortened,
    "named": formatting.named,
}


def page(
    app: FastAPI, path: str, template: str
) -> Callable[[Callable[P, Awaitable[Data]]], Callable[P, Awaitable[Data]]]:
    """Makes a page, and its data as JSON, of a function with the parameter `visit`; see above."""

    def decorate(view: Callable[P, Awaitable[Data]]) -> Callable[P, Awaitable[Data]]:
        async def html(*args: P.args, **given: P.kwargs) -> Response:
            visit = given["visit"]
            assert isinstance(visit, Visit)
            data = await view(*args, **given)
            return as_json(data) if visit.wants_json else shown(visit, template, data)

        async def plain(*args: P.args, **given: P.kwargs) -> Response:
            return as_json(await view(*args, **given))

        for each, at in ((plain, json_path(path)), (html, path)):  # else `{name:path}` would have both
            functools.update_wrapper(each, view)
            each.__signature__ = _signature(view)  # type: ignore[attr-defined]
            app.get(at, response_class=Response, response_model=None, name=f"{view.__name__} {at}")(each)
        return view

    return decorate


def _signature(view: Callable[..., Any]) -> inspect.Signature:
    """What FastAPI reads the parameters from, with annotations evaluated."""
    return inspect.signature(view, eval_str=True).replace(return_annotation=inspect.Signature.empty)


def as_json(data: msgspec.Struct, status: int = 200) -> Response:
    """The data of a page for a program."""
    return Response(msgspec.json.encode(data), status, media_type="application/json")


def shown(visit: Visit, template: str, data: msgspec.Struct, status: int = 200) -> Response:
    """The page, as HTML. A page that is fetched again to be brought up to date tells no flash messages: it is not the
    one that a person has asked for."""
    live = LIVE in visit.request.headers
    user = visit.known
    content = TEMPLATES.get_template(template).render(
        data=data,
        t=visit.text,
        said=visit.said,
        visit=visit,
        user=user,
        language=visit.language,
        script_texts=of_scripts(visit.language),
        theme=(user.theme if user else "") or "auto",
        csrf=visit.admitted.csrf,
        csrf_field=Markup('<input type="hidden" name="csrf" value="{}">').format(visit.admitted.csrf),
        flashes=[] if live else visit.site.flashes.take(visit.admitted.session),
        navigation=entries(visit) if user else [],
        network=visit.feed,
        now_ms=clock_ms(),
        version=__version__,
        path=visit.request.url.path,
    )
    return HTMLResponse(content, status)
