"""Follows the leases of the other one of two license servers."""

import asyncio
import logging

from swarmlearning.backoff import Backoff
from swarmlearning.license.client import LicenseClient, NoAnswerError, NoTokenError
from swarmlearning.license.features import LicenseError
from swarmlearning.license.office import Office

logger = logging.getLogger("swarm.license")

FIRST_SECONDS = 3.0


class Following:
    """The other server, through `client`."""

    def __init__(self, office: Office, client: LicenseClient) -> None:
        self._office = office
        self._client = client
        self._start, self._number = "", 0
        self._silent = False

    async def catch_up(self) -> None:
        """Takes over what the other server knows, if it answers in time: a server that was away must not lend before.

        Raises `LicenseError`.
        """
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                while await self._step():
                    pass
        except (NoAnswerError, NoTokenError, TimeoutError) as error:
            logger.info("The other license server at %s is not asked first: %s", self._client.address, error)

    async def run(self) -> None:
        """Follows until cancelled."""
        backoff = Backoff(0.2, 1.0)
        async for _ in backoff:
            try:
                while True:
                    await self._step()
                    backoff.reset()
            except (NoAnswerError, NoTokenError) as error:
                self._fell_silent(error)
            except LicenseError as error:
                logger.error("%s. What the other license server lends is known here in memory alone", error)

    async def _step(self) -> bool:
        """One request; whether more is to come at once."""
        found = await self._client.changes(self._start, self._number)
        if self._silent:
            logger.info("The other license server at %s answers again", self._client.address)
        self._silent = False
        self._office.hear()
        await self._office.merge(found.leases)
        self._start, self._number = found.start, found.number
        return found.more

    def _fell_silent(self, error: Exception) -> None:
        if not self._silent:
            logger.warning("The other license server at %s does not answer: %s", self._client.address, error)
        self._silent = True
