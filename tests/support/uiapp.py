"""The web interface's application in a test's own event loop, without any network, and people who use it."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from swarmlearning.ui.app import make_ui
from swarmlearning.ui.hosts.secretbox import SecretBox
from swarmlearning.ui.security.csrf import token_of
from swarmlearning.ui.security.passwords import hashed
from swarmlearning.ui.security.roles import Role
from swarmlearning.ui.settings import Serving, UiSettings
from swarmlearning.ui.site import Site
from swarmlearning.ui.store.database import Database

PASSWORD = "correct horse battery"
HASH = hashed(PASSWORD)
HOST = "https://ui.example"


class Somebody(httpx.AsyncClient):
    """A browser without JavaScript: keeps cookies, sends the token of the page that it has loaded last."""

    csrf = ""

    async def page(self, path: str, **request: Any) -> httpx.Response:
        """A page as HTML."""
        answer = await self.get(path, headers={"accept": "text/html", **request.pop("headers", {})}, **request)
        if found := re.search(r'name="csrf" value="([0-9a-f]+)"', answer.text):
            self.csrf = found[1]
        return answer

    async def act(self, path: str, headers: dict[str, str] | None = None, **form: Any) -> httpx.Response:
        """Sends a form."""
        return await self.post(path, data={"csrf": self.csrf, **form}, headers=headers)

    async def log_in(self, name: str, password: str = PASSWORD) -> Self:
        """Logs in, and loads a page for its token."""
        answer = await self.post("/login", data={"name": name, "password": password})
        assert answer.status_code == 303, answer.text
        await self.page("/account")
        return self


class App:
    """An application; `site` has its parts."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.asgi = make_ui(site)

    def somebody(self, address: str = "192.0.2.1", host: str = HOST) -> Somebody:
        """Somebody who has not logged in."""
        return Somebody(transport=httpx.ASGITransport(self.asgi, client=(address, 1)), base_url=host)

    async def someone(self, role: Role) -> Somebody:
        """Somebody of this role with a session; the user's name is that of the role."""
        if await self.site.users.password_of(role) is None:
            await self.site.users.add(role, role, HASH)
        person, token = self.somebody(), await self.site.sessions.open(role, "192.0.2.1", "")
        person.cookies.set("__Host-swarm", token)
        person.csrf = token_of(token)
        return person


@asynccontextmanager
async def ui_app(folder: Path, serving: Serving | None = None, secrets: SecretBox | None = None) -> AsyncIterator[App]:
    """An application with one admin, `ada`, whose data lie in this folder."""
    with Database(folder) as database:
        app = App(Site(UiSettings(folder, serving=serving or Serving(), secrets=secrets), database))
        await app.site.users.add("ada", "admin", HASH)
        try:
            yield app
        finally:
            await app.site.jobs.close()
            await app.site.stage.close()
