"""SLM-UI before a ledger in memory, served to real browsers: in a thread with an event loop of its own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

from support.ledgerui import LedgerUi, ledger_ui
from support.network import Ledger
from support.uirecords import recording
from swarmlearning.ui.network.news import Topic
from swarmlearning.ui.security.roles import Role
from swarmlearning.ui.serving import serve_site
from swarmlearning.ui.settings import Serving
from swarmlearning.views.report import Recorder


class ServedUi:
    """A UI at this `address`."""

    def __init__(self, ui: LedgerUi, address: str, portal: BlockingPortal) -> None:
        self.address = address
        self._ui = ui
        self._portal = portal

    def cookies(self, role: Role = "admin") -> Any:
        """The cookies of somebody of this role who has logged in, as Playwright's `add_cookies` takes them."""
        return [{"name": "swarm", "value": self._portal.call(self._session, role), "url": self.address}]

    def tell(self, *topics: Topic) -> None:
        """News for all open pages."""
        self._portal.call(self._ui.feed.news.publish, *topics)

    async def _session(self, role: Role) -> str:
        users = self._ui.site.users
        if role not in [each.name for each in await users.all()]:
            await users.add(role, role, "hash")
        return await self._ui.site.sessions.open(role, "127.0.0.1", "")


@contextmanager
def served_ui(folder: Path, ledger: Ledger, recorder: Recorder | None = None) -> Iterator[ServedUi]:
    """A UI with its data in this folder, on a free port of the loopback address; `recorder`: of the ledger's runs."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_serving(folder, ledger, recorder, portal)) as served,
    ):
        yield served


@asynccontextmanager
async def _serving(
    folder: Path, ledger: Ledger, recorder: Recorder | None, portal: BlockingPortal
) -> AsyncIterator[ServedUi]:
    ready: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
    async with ledger_ui(folder, ledger, serving=Serving(port=0, plain=True)) as ui:
        if recorder is not None:
            recording(ui, recorder)
        task = asyncio.create_task(serve_site(ui.site, ready.set_result))
        try:
            await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            yield ServedUi(ui, ready.result()["ui"].rstrip("/"), portal)
        finally:
            task.cancel()
            await asyncio.wait((task,))
