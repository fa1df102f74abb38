"""The UI as one ASGI application: its parts, composed."""

from collections.abc import Sequence
from functools import cache
from typing import Final

from fastapi import FastAPI
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from swarmlearning import __version__
from swarmlearning.ui.pages.account import add_account
from swarmlearning.ui.pages.approving import add_approvals
from swarmlearning.ui.pages.contracting import add_contracts
from swarmlearning.ui.pages.deploying import add_deployment
from swarmlearning.ui.pages.diagnosing import add_diagnostics
from swarmlearning.ui.pages.errors import add_errors, denied
from swarmlearning.ui.pages.events import add_events
from swarmlearning.ui.pages.executing import add_tasks
from swarmlearning.ui.pages.experiments import add_experiments
from swarmlearning.ui.pages.first import add_first
from swarmlearning.ui.pages.governing import add_organisations
from swarmlearning.ui.pages.hosting import add_hosting
from swarmlearning.ui.pages.hosts import add_hosts
from swarmlearning.ui.pages.inviting import add_invitations
from swarmlearning.ui.pages.jobs import add_jobs
from swarmlearning.ui.pages.ledger import add_ledger
from swarmlearning.ui.pages.login import add_login
from swarmlearning.ui.pages.logpages import add_logs
from swarmlearning.ui.pages.mlflow import add_mlflow
from swarmlearning.ui.pages.models import add_models
from swarmlearning.ui.pages.overview import add_overview
from swarmlearning.ui.pages.page import FOLDER
from swarmlearning.ui.pages.projectnodes import add_project_nodes
from swarmlearning.ui.pages.projects import add_projects
from swarmlearning.ui.pages.runfiles import add_runfiles
from swarmlearning.ui.pages.settings import add_settings
from swarmlearning.ui.pages.settingup import add_setting_up
from swarmlearning.ui.pages.setup import add_setup
from swarmlearning.ui.pages.training import add_training
from swarmlearning.ui.security.admission import Admission
from swarmlearning.ui.security.headers import SafeHeaders
from swarmlearning.ui.security.localname import LocalName
from swarmlearning.ui.security.proxy import BehindProxy
from swarmlearning.ui.site import Site

PAGES: Final = (
    *(add_login, add_account, add_events, add_overview, add_ledger, add_settings),
    *(add_training, add_runfiles, add_mlflow, add_models, add_experiments),
    *(add_tasks, add_contracts, add_approvals, add_logs),  # before projects, which may have any other name
    *(add_projects, add_project_nodes, add_deployment),
    *(add_organisations, add_invitations),
    *(add_jobs, add_hosts, add_hosting, add_diagnostics),
    *(add_first, add_setting_up, add_setup),
)
"""What adds the routes of a page. Each route has its line in `security/roles.py`."""


def make_app(site: Site) -> FastAPI:
    """The routes, without what stands before them."""
    app = _empty()
    app.state.site = site
    app.router.routes.extend(_routes())
    add_errors(app)
    return app


def _empty() -> FastAPI:
    return FastAPI(title="SLM-UI", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)


@cache
def _routes() -> Sequence[BaseRoute]:
    """Of all pages. They keep nothing: what they share lies in the `Site` of the application that a request came to.
    So they are made once, which takes half a second."""
    app = _empty()
    for add in PAGES:
        add(app)

    @app.get("/healthy", response_class=JSONResponse, response_model=None)
    async def healthy() -> Response:
        """For whoever watches over the process: it answers. Says nothing of the network."""
        return JSONResponse({"healthy": True})

    app.mount("/static", _Static(directory=FOLDER / "static"), name="static")
    return tuple(app.routes)


def make_ui(site: Site) -> ASGIApp:
    """The whole application, with what lets requests in."""
    app = make_app(site)
    app.add_middleware(Admission, sessions=site.sessions, denied=denied)
    whole: ASGIApp = SafeHeaders(app)
    serving = site.settings.serving
    if serving.proxy:
        return BehindProxy(whole, serving.proxy)
    return LocalName(whole) if serving.plain else whole


class _Static(StaticFiles):
    """Files of this release: a browser asks whether they have changed, and gets them once."""

    def file_response(self, *args: object, **given: object) -> Response:
        answer = super().file_response(*args, **given)  # type: ignore[arg-type]
        answer.headers["cache-control"] = "no-cache"
        return answer
