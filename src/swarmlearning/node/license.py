"""The license a node runs under: a token of its feature, lent by a license server that is named to it.

The token is taken at the start and renewed while the node works. A server that is lost, and one that renews no more,
never end a node at work: only new starts need a server. Without a server the built-in community license is used, which
blocks nothing.
"""

import asyncio
import logging
import math
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from swarmlearning.backoff import Backoff
from swarmlearning.license.client import LicenseClient, NoAnswerError, NoTokenError
from swarmlearning.license.features import Feature
from swarmlearning.license.servers import LicenseServers
from swarmlearning.node.errors import NodeError

START_SECONDS = 12.0
"""A start tries again for so long; a secondary takes over within 5 seconds."""
RELEASE_SECONDS = 3.0
SHORTEST_PAUSE = 0.5
RETRY_SECONDS = 60.0
"""Between attempts while no server renews a token."""
REFUSED_SECONDS = 2.0
"""A refusal holds for so long: others that want the same meanwhile do not wait for another one."""

Kind: TypeAlias = Literal["SN", "SL", "SWOP", "SWCI", "UI"]

LOGGERS: dict[Kind, str] = {
    "SN": "swarm.blCnt",
    "SL": "swarm.mlApp",
    "SWOP": "swarm.swop",
    "SWCI": "swarm.swci",
    "UI": "swarm.ui",
}
"""Those of the original; that of the UI is our own."""
FEATURES: dict[Kind, Feature] = {
    "SN": Feature.SN,
    "SL": Feature.SL,
    "SWOP": Feature.SWOP,
    "SWCI": Feature.SWCI,
    "UI": Feature.SWCI,
}
"""What a token is taken of at the start."""


class NoLicenseError(NodeError):
    """There is no token for a node that starts, or for what it is to do."""


@dataclass
class _Token:
    """One that has been taken: it lasts `seconds`, until `end` (monotonic) unless it is renewed."""

    seconds: float
    end: float
    renewing: asyncio.Task[None] | None = None

    @property
    def held(self) -> bool:
        """True while no server could have lent it to somebody else."""
        return time.monotonic() < self.end

    def renewed(self, seconds: float) -> None:
        """A server has lent it for so long from now on."""
        self.seconds, self.end = seconds, time.monotonic() + seconds


class Held(NamedTuple):
    """A token as it is now: it lasts until `until_ms` (Unix time) unless it is renewed."""

    feature: Feature
    until_ms: int


class Licensed:
    """The tokens of the node of this UID, from the first of `clients` that answers; without clients none is needed."""

    def __init__(self, kind: Kind, clients: Sequence[LicenseClient], uid: str, tasks: asyncio.TaskGroup) -> None:
        self._clients = clients
        self._uid = uid
        self._tasks = tasks
        self._logger = logging.getLogger(LOGGERS[kind])
        self._tokens: dict[Feature, _Token] = {}
        self._refused: dict[Feature, tuple[float, str]] = {}
        self._turn = asyncio.Lock()
        self.fault = ""
        """Why a token is not renewed now; empty while all are."""
        self.server = ""
        """The address of the server that has lent or renewed a token last."""

    @property
    def tokens(self) -> tuple[Held, ...]:
        """Those that have been taken."""
        now, now_ms = time.monotonic(), time.time_ns() // 1_000_000
        return tuple(Held(feature, now_ms + int(1000 * (each.end - now))) for feature, each in self._tokens.items())

    async def require(self, feature: Feature, seconds: float = 0.0) -> None:
        """Takes a token of this feature, unless one is held, and keeps it from now on.

        Where no server answers it goes on trying for `seconds`. Raises `NoLicenseError`.
        """
        if not self._clients:
            return
        async with self._turn:
            if (known := self._tokens.get(feature)) is not None and known.held:
                return
            until, reason = self._refused.get(feature, (0.0, ""))
            if time.monotonic() < until:
                raise NoLicenseError(reason)
            try:
                self._keep(feature, await self._first(feature, seconds))
            except NoLicenseError as error:
                self._refused[feature] = time.monotonic() + REFUSED_SECONDS, str(error)
                raise

    async def give_back(self) -> None:
        """Stops renewing, and returns all tokens to a server that answers in time."""
        for token in self._tokens.values():
            if token.renewing is not None:
                token.renewing.cancel()
        if not self._tokens:
            return
        self._logger.warning("Releasing license")
        with suppress(TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                for feature in self._tokens:
                    await self._release(feature)

    def _keep(self, feature: Feature, seconds: float) -> None:
        if (known := self._tokens.get(feature)) is not None:
            known.renewed(seconds)
            return
        token = self._tokens[feature] = _Token(seconds, time.monotonic() + seconds)
        token.renewing = self._tasks.create_task(self._renew(feature, token))

    async def _first(self, feature: Feature, seconds: float) -> float:
        self._logger.info("Acquiring floating license %s", feature.versioned)
        deadline = time.monotonic() + seconds
        backoff = Backoff(0.5, 2.0)
        while True:
            try:
                return await self._acquire(feature)
            except NoTokenError as error:
                raise NoLicenseError(_no_token(feature, str(error))) from error
            except NoAnswerError as error:
                if error.final or time.monotonic() >= deadline:
                    raise NoLicenseError(str(error)) from error
            await backoff.pause()

    async def _acquire(self, feature: Feature) -> float:
        """The seconds that the token lasts. Raises `NoTokenError`, or `NoAnswerError` with what each server says."""
        silent: list[tuple[str, NoAnswerError]] = []
        for client in self._clients:
            try:
                seconds = await client.acquire(feature, self._uid)
            except NoAnswerError as error:
                silent.append((client.address, error))
            else:
                self.server = client.address
                return seconds
        raise NoAnswerError(_no_answer(silent), final=all(error.final for _, error in silent))

    async def _renew(self, feature: Feature, token: _Token) -> None:
        """Renews until cancelled, whatever servers say: first when a third of the lease has passed."""
        troubled = expired = False
        while True:
            await asyncio.sleep(max(SHORTEST_PAUSE, min(token.seconds / 3, RETRY_SECONDS if troubled else math.inf)))
            try:
                token.renewed(await self._acquire(feature))
                if troubled:
                    self._logger.info("Floating license %s is renewed again", feature.versioned)
                troubled, expired, self.fault = False, False, ""
            except (NoTokenError, NoAnswerError) as error:
                reason = _no_token(feature, str(error)) if isinstance(error, NoTokenError) else str(error)
                self.fault = one_line(reason)
                if not troubled:
                    text = "Floating license %s is not renewed; this node goes on. %s"
                    self._logger.warning(text, feature.versioned, one_line(reason))
                if not token.held and not expired:
                    text = "MLListener: %s LicenseExpired; this node goes on, and its next start needs a token. %s"
                    self._logger.warning(text, feature.versioned, one_line(reason))
                troubled, expired = True, not token.held

    async def _release(self, feature: Feature) -> None:
        for client in self._clients:
            try:
                return await client.release(feature, self._uid)
            except (NoTokenError, NoAnswerError) as error:
                self._logger.info("%s: %s", client.address, error)
        return None


@asynccontextmanager
async def licensed(kind: Kind, servers: LicenseServers, tls: ssl.SSLContext, uid: str) -> AsyncIterator[Licensed]:
    """Inside the block the node of this UID has its token; yields what it takes further ones by.

    `tls` is the node's context as a client. Raises `NoLicenseError` when there is none for it.
    """
    logger = logging.getLogger(LOGGERS[kind])
    async with AsyncExitStack() as stack:
        clients = list[LicenseClient]()
        if servers.addresses:
            logger.info("Creating Autopass License Provider")
            logger.info("Creating license server")
            logger.info("Setting license servers")
            clients = [await stack.enter_async_context(LicenseClient(each, tls)) for each in servers.addresses]
        else:
            logger.info("The built-in community license is used (no license server named)")
        async with asyncio.TaskGroup() as tasks:
            held = Licensed(kind, clients, uid, tasks)
            try:
                await held.require(FEATURES[kind], START_SECONDS)
            except NoLicenseError as error:
                logger.error("Exiting %s. Reason: %s", kind, one_line(str(error)))
                raise
            try:
                yield held
            finally:
                await held.give_back()


def one_line(reason: str) -> str:
    """The lines of an error, for a log."""
    return " / ".join(reason.splitlines())


def _no_token(feature: Feature, detail: str) -> str:
    return (
        "acquireLicense: 304: The request for tokens with capacity 1 is not available to issue for feature : "
        f"{feature.versioned}\nThe license server says: {detail}. End a node that is not needed, or have a license of "
        "a larger capacity issued"
    )


def _no_answer(silent: Sequence[tuple[str, NoAnswerError]]) -> str:
    return "\n".join(
        (
            "Error code : 6002",
            "Error message : Unable to connect to server. Server might be wrongly configured or down.",
            *(
                f"Custom message : Error in communicating With Server https://{address}: {error}"
                for address, error in silent
            ),
        )
    )
