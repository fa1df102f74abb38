"""The vote that two SNs lack: where the profile says `witness: true`, a SWOP runs `swarm sn --witness` beside it.

Two voters survive no failure, three survive one; beside one or three SNs a witness would make the number even, which
survives no more than one voter less. So it runs while exactly two others vote, and for as long as its own vote counts:
if it ended then, one of the majority would be missing. Who votes the engine of the SNs knows, not the ledger; so an SN
is asked, at a pace.

It ends with the SWOP. Where it has run before it starts with the SWOP at once: without its vote there may be no
majority, which the SWOP's own registration needs.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.backoff import Backoff
from swarmlearning.identity.identity import Identity
from swarmlearning.node.datadir import uid_of
from swarmlearning.node.variables import OF_ONE_NODE
from swarmlearning.supervise.kept import run_kept
from swarmlearning.supervise.processes import describe
from swarmlearning.supervise.readiness import node_command
from swarmlearning.swop.composing import Contact

logger = logging.getLogger("swarm.swop")

PACE_SECONDS: Final = 3.0
STOP_SECONDS: Final = 10.0
LONGEST_PAUSE: Final = 30.0


@dataclass(frozen=True)
class WitnessSettings:
    """An operator's settings of the witness. `identity`: from files, or from an agent that is asked for it again;
    `authorities`: options that name the CAs, where they were given; `p2p_port`: the port at which the SNs reach it."""

    identity: Identity
    authorities: Mapping[str, Path]
    p2p_port: int


def is_wanted(sns: Collection[Mapping[str, Any]], own: str) -> bool | None:
    """Whether the witness with this UID (empty: it has never run) has to run, by the SNs as a status shows them.

    None where the status does not show who votes: then nothing is to be changed.
    """
    voters = {each["uid"] for each in sns if each["part"] == "voter"}
    if not voters:
        return None
    return own in voters or len(voters) == 2


def command(settings: WitnessSettings, contact: Contact, data_dir: Path) -> list[str]:
    """The command line of the witness, which joins through the SN of the SWOP."""
    identity = settings.identity
    own: dict[str, str | Path] = (
        {"socket-path": identity.cert_path}
        if identity.bundles
        else {"cert": identity.cert_path, "key": identity.key_path}
    )
    options: dict[str, str | Path] = {
        "host-ip": contact.host_ip,
        "sn-p2p-port": str(settings.p2p_port),
        "data-dir": data_dir,
        **own,
        **settings.authorities,
        **({"network-id": contact.network_id} if contact.network_id else {}),
    }
    if contact.sn_api_service:
        options["sentinel-api-service"] = contact.sn_api_service
    else:
        options |= {"sentinel-ip": contact.sn_ip, "sentinel-api-port": str(contact.sn_api_port)}
    return node_command("sn", options, "--witness")


@asynccontextmanager
async def witnessing(
    settings: WitnessSettings | None, contact: Callable[[], Contact], data_dir: Path, client: Callable[[], SnClient]
) -> AsyncIterator[None]:
    """Inside the block a witness runs whenever it has to, in this data directory; without settings there is none.

    `contact`, `client`: the SN in use.
    """
    async with asyncio.TaskGroup() as tasks:
        running = None
        if settings is not None:
            running = tasks.create_task(
                _Witness(lambda: command(settings, contact(), data_dir), data_dir, client).run()
            )
        try:
            yield
        finally:
            if running is not None:
                running.cancel()


class _Witness:
    def __init__(self, words: Callable[[], list[str]], data_dir: Path, client: Callable[[], SnClient]) -> None:
        self._words = words
        self._data_dir = data_dir
        self._client = client

    async def run(self) -> None:
        """Runs the witness whenever it has to, until this is cancelled; then it has ended. Raises `NodeError`."""
        if not uid_of(self._data_dir):
            await self._until(wanted=True)
        while True:
            async with asyncio.TaskGroup() as tasks:
                voting = tasks.create_task(self._vote())
                await self._until(wanted=False)
                voting.cancel()
            logger.info("The witness is not needed any more: its vote does not count, and there are enough others")
            await self._until(wanted=True)

    async def _until(self, *, wanted: bool) -> None:
        """Waits until it has to run, or need not any more. Raises `NodeError`."""
        while True:
            await asyncio.sleep(PACE_SECONDS)
            try:
                status = await self._client().status()
            except (Unavailable, Refusal) as error:
                logger.debug("%s", error)
                continue
            if is_wanted(status["sns"], uid_of(self._data_dir)) is wanted:
                return

    async def _vote(self) -> None:
        """Runs it, again and again, until this is cancelled."""
        environment = {name: value for name, value in os.environ.items() if not _is_of_this_node(name)}
        async for _ in Backoff(first=1.0, longest=LONGEST_PAUSE):
            logger.info("A witness runs beside this SWOP: the third vote for two SNs, in %s", self._data_dir)
            try:
                status = await run_kept("The witness", self._words(), environment, STOP_SECONDS)
                logger.warning("The witness %s: it is started again", describe(status))
            except OSError as error:
                logger.warning("The witness cannot be started: %s", error.strerror)


def _is_of_this_node(variable: str) -> bool:
    return variable in OF_ONE_NODE or variable.endswith("_LISTEN_PORT")
