"""SLM-UI before a ledger in memory: its pages and acts, without a network. An operator of that ledger acts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import httpx

from support.network import Ledger
from swarmlearning.identity.certificates import Role as CertificateRole
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.node.errors import NodeError
from swarmlearning.operator.acts import Act
from swarmlearning.operator.session import Operator
from swarmlearning.ui.app import make_ui
from swarmlearning.ui.network.feed import Feed
from swarmlearning.ui.security.csrf import token_of
from swarmlearning.ui.security.roles import Role
from swarmlearning.ui.settings import Serving, UiSettings
from swarmlearning.ui.site import Site
from swarmlearning.ui.store.database import Database

T = TypeVar("T")
HOST = "http://ui.test"


class LedgerOperator:
    """Does what pages ask of an operator at work, on the ledger at once."""

    def __init__(self, ledger: Ledger, uid: str, persons: list[str]) -> None:
        self._ledger = ledger
        self._uid = uid
        self._persons = persons
        self.client = SimpleNamespace(address="10.0.0.1:30304")

    @property
    def chain(self) -> Chain:
        return self._ledger.chain

    async def refresh(self) -> Chain:
        return self.chain

    async def register(self) -> None:
        pass

    async def perform(self, act: Act, on_behalf_of: str = "") -> int:
        self._persons.append(on_behalf_of)
        try:
            self._ledger.send(self._uid, act.body, act.contract)
        except Rejection as rejection:
            raise NodeError(rejection.detail) from rejection
        return self.chain.height


class LedgerFeed(Feed):
    """The network as this ledger has it, seen by the operator of this UID; None: there is no network yet."""

    def __init__(self, before: Feed, ledger: Ledger | None, uid: str) -> None:
        self.__dict__.update(before.__dict__)
        self._ledger, self._uid = ledger, uid
        self.certified: CertificateRole = "SWCI"
        self.persons: list[str] = []
        """For whom each act was sent."""

    @property
    def configured(self) -> bool:
        return self._ledger is not None

    @property
    def role(self) -> CertificateRole | None:
        return self.certified if self._ledger else None

    @property
    def name(self) -> str:
        return self._uid

    @property
    def bundle(self) -> str:
        return self._ledger.actors[self._uid].pem if self._ledger else ""

    @property
    def expires_ms(self) -> int | None:
        return None

    @property
    def chain(self) -> Chain:
        return self._ledger.chain if self._ledger else Chain()

    async def run(self) -> None:
        """There is nothing to follow."""
        await asyncio.Event().wait()

    async def use(self, work: Callable[[Operator], Awaitable[T]], seconds: float = 60.0) -> T:
        assert self._ledger is not None
        return await work(cast(Operator, LedgerOperator(self._ledger, self._uid, self.persons)))


class Visitor:
    """A person who is logged in."""

    def __init__(self, client: httpx.AsyncClient, session: str) -> None:
        self._client = client
        self._session = session

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self._client.get(path, headers=headers)

    async def page(self, path: str) -> str:
        """The page, which is there."""
        answer = await self.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:2000]}"
        return answer.text

    async def data(self, path: str) -> Any:
        """The data of a page."""
        answer = await self.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json()

    async def post(self, path: str, /, files: Any = None, **fields: Any) -> httpx.Response:
        """The answer to an act, as a program gets it."""
        headers = {"x-csrf-token": token_of(self._session), "accept": "application/json"}
        return await self._client.post(path, data=fields, files=files, headers=headers)

    async def does(self, path: str, /, files: Any = None, **fields: Any) -> Any:
        """The message of an act, which succeeds."""
        answer = await self.post(path, files, **fields)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json()

    async def fails(self, path: str, /, files: Any = None, **fields: Any) -> str:
        """Why an act fails."""
        answer = await self.post(path, files, **fields)
        assert answer.status_code == 409, f"{path}: {answer.status_code} {answer.text[:2000]}"
        return str(answer.json()["text"])


class LedgerUi:
    """The UI, and people who use it."""

    def __init__(self, site: Site, ledger: Ledger | None, uid: str) -> None:
        self.site = site
        self.site.feed = self.feed = LedgerFeed(site.feed, ledger, uid)
        self.app = make_ui(site)

    @asynccontextmanager
    async def visitor(self, role: Role, language: str = "en") -> AsyncIterator[Visitor]:
        """A new person with this role."""
        name = f"{role}-{language}"
        if name not in [each.name for each in await self.site.users.all()]:
            await self.site.users.add(name, role, "hash")
            await self.site.users.prefer(name, language, "")
        token = await self.site.sessions.open(name, "", "")
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url=HOST, cookies={"swarm": token}) as client:
            yield Visitor(client, token)


@asynccontextmanager
async def ledger_ui(
    folder: Path, ledger: Ledger | None, uid: str = "op-1", serving: Serving | None = None
) -> AsyncIterator[LedgerUi]:
    """The UI with its data in this folder, before this ledger."""
    folder.mkdir(exist_ok=True)
    with Database(folder) as database:
        made = LedgerUi(Site(UiSettings(folder, serving=serving or Serving()), database), ledger, uid)
        try:
            yield made
        finally:
            await made.site.jobs.close()
            await made.site.stage.close()
