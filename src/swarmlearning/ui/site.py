"""What the pages work with: one object of the application, and one for each request."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

from fastapi import Depends, Request

from swarmlearning.ui.access import Access
from swarmlearning.ui.diagnostics.archives import Archives
from swarmlearning.ui.diagnostics.examining import Examiner
from swarmlearning.ui.jobs.jobs import Jobs
from swarmlearning.ui.licensing import UiLicense
from swarmlearning.ui.network.feed import Feed
from swarmlearning.ui.pages.flash import Flashes
from swarmlearning.ui.projects.folder import Projects
from swarmlearning.ui.security.admission import Admitted
from swarmlearning.ui.security.firstlink import FirstLink
from swarmlearning.ui.security.passwords import Passwords
from swarmlearning.ui.security.roles import Role, may
from swarmlearning.ui.security.throttle import Throttle
from swarmlearning.ui.security.trying import Trying
from swarmlearning.ui.settings import UiSettings
from swarmlearning.ui.setup.stage import Stage
from swarmlearning.ui.store.database import Database
from swarmlearning.ui.store.hosts import Hosts, PinnedKeys
from swarmlearning.ui.store.jobs import PastJobs
from swarmlearning.ui.store.sessions import Sessions
from swarmlearning.ui.store.settings import Settings
from swarmlearning.ui.store.users import User, Users
from swarmlearning.ui.texts.catalogue import Language, chosen, text
from swarmlearning.ui.texts.phrasebook import said

DOWNLOADS: Final = 2
"""Models that are fetched at a time: each is a file here until it has been sent."""


class Site:
    """The parts of the UI that its pages share."""

    def __init__(self, settings: UiSettings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.users = Users(database)
        self.sessions = Sessions(database, settings.idle_minutes * 60_000, settings.longest_hours * 3_600_000)
        self.kept = Settings(database)
        self.passwords = Passwords()
        self.trying = Trying(self.passwords, Throttle())
        self.flashes = Flashes()
        self.searching = asyncio.Semaphore(1)
        self.projects = Projects(settings.folder / "projects")
        self.feed = Feed(settings.folder, self.kept, settings.address, settings.source, settings.network_id)
        self.hosts = Hosts(database)
        self.host_keys = PinnedKeys(database)
        self.access = Access(self.hosts, self.host_keys, settings.secrets)
        self.stage = Stage(settings.folder, self.kept)
        self.first = FirstLink()
        self.jobs = Jobs(PastJobs(database), lambda: self.feed.news.publish("jobs"))
        self.examiner = Examiner(settings.licenses)
        self.archives = Archives(settings.folder / "diagnostics")
        self.downloads = asyncio.Semaphore(DOWNLOADS)
        self.license = UiLicense(settings.licenses, self.feed.identified, settings.folder)


@dataclass(frozen=True)
class Visit:
    """One request: who sends it, and in which language the answer is to be."""

    site: Site
    request: Request
    admitted: Admitted
    language: Language
    news: int = 0
    """The count of news when the request came."""

    @property
    def feed(self) -> Feed:
        """The network as the UI sees it."""
        return self.site.feed

    @property
    def user(self) -> User:
        """Whoever has logged in; the roles' table lets nobody else see most pages."""
        assert self.admitted.user is not None
        return self.admitted.user

    @property
    def known(self) -> User | None:
        """The same; None for somebody who has not."""
        return self.admitted.user

    def may(self, role: Role) -> bool:
        """Whether this person may do what the role may, and the UI's certificate allows it."""
        return may(self.known.role if self.known else None, role)

    @property
    def may_act(self) -> bool:
        """Whether this person may act in the network, through this UI."""
        return self.may("operator") and self.feed.may_act

    @property
    def address(self) -> str:
        """Where the request comes from."""
        return self.request.client.host if self.request.client else ""

    @property
    def wants_json(self) -> bool:
        """Whether the answer is for a program."""
        accepted = self.request.headers.get("accept", "")
        return "application/json" in accepted and "text/html" not in accepted

    def text(self, key: str, **values: object) -> str:
        """A text in this person's language."""
        return text(self.language, key, **values)

    def said(self, sentence: str) -> str:
        """What a node or the ledger's readers state in English, in this person's language as far as that is known."""
        return said(self.language, sentence)


def visit_of(request: Request) -> Visit:
    """The visit that a request is."""
    admitted: Admitted = request.scope.get("state", {}).get("admitted", Admitted())
    preferred = admitted.user.language if admitted.user else ""
    site: Site = request.app.state.site
    language = chosen(preferred, request.headers.get("accept-language", ""))
    return Visit(site, request, admitted, language, site.feed.news.count)


Here: TypeAlias = Annotated[Visit, Depends(visit_of)]
