"""The license of this UI: a token as a session of SWCI has it, where a license server is named; else none is needed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from swarmlearning.errors import first_cause
from swarmlearning.identity.certificates import OPERATORS, role_of
from swarmlearning.identity.source import WatchedSource
from swarmlearning.license.servers import LicenseServers
from swarmlearning.node.clocks import clock_ms
from swarmlearning.node.license import Licensed, NoLicenseError
from swarmlearning.operator.licensing import licensed_session
from swarmlearning.views.names import displayed

logger = logging.getLogger("swarm.ui")

State: TypeAlias = Literal["community", "observer", "held", "troubled", "ended", "missing"]
AGAIN_SECONDS: Final = 60.0
LONGEST: Final = 1000


class LicenseFacts(msgspec.Struct, frozen=True):
    """The license in use. `community`: the built-in one, since no server is named; `observer`: who only looks needs
    none; `troubled`: held, and not renewed now, because of `fault`; `ended`: the same, and over; `missing`: not taken
    yet. `server`: that has lent it last; `until_ms` (Unix time): so long it lasts unless it is renewed.
    """

    state: State
    servers: tuple[str, ...] = ()
    server: str = ""
    feature: str = ""
    until_ms: int | None = None
    fault: str = ""


class UiLicense:
    """`run` until cancelled; it takes the token as soon as the UI has an identity, which `identified` waits for."""

    def __init__(self, servers: LicenseServers, identified: Callable[[], Awaitable[WatchedSource]], home: Path) -> None:
        self._servers = servers
        self._identified = identified
        self._home = home
        self._held: Licensed | None = None
        self._observes = False
        self._fault = ""
        self.settled = asyncio.Event()
        """Set once there is a token, or it is clear that none is needed."""

    async def run(self, *, required: bool) -> None:
        """`required`: without a token the UI does not start, as SWCI; else it tries again. Raises `NoLicenseError`."""
        source = await self._identified()
        self._observes = role_of(source.current.certificate) not in OPERATORS
        if not self._servers.addresses or self._observes:
            self.settled.set()
            return
        while True:
            try:
                await self._hold(source)
            except Exception as error:
                cause = first_cause(error)
                if not isinstance(cause, NoLicenseError) or required:
                    raise
                self._fault = displayed(" ".join(str(cause).splitlines()), LONGEST)
                logger.warning("%s; trying again", self._fault)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _hold(self, source: WatchedSource) -> None:
        async with licensed_session(self._servers, source, self._home, "UI") as held:
            self._held, self._fault = held, ""
            self.settled.set()
            await asyncio.Event().wait()

    @property
    def facts(self) -> LicenseFacts:
        """As it is now."""
        servers, held = self._servers.addresses, self._held
        if not servers:
            return LicenseFacts("community")
        if self._observes:
            return LicenseFacts("observer", servers)
        if held is None or not held.tokens:
            return LicenseFacts("missing", servers, fault=self._fault)
        feature, until_ms = held.tokens[0]
        state: State = "held"
        if held.fault:
            state = "troubled" if until_ms > clock_ms() else "ended"
        fault = displayed(held.fault, LONGEST)
        return LicenseFacts(state, servers, held.server, feature.versioned, until_ms, fault)
