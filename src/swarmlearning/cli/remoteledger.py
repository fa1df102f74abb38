"""The ledger of an SN, read over the network and verified here: the whole chain once, and from then on what is new."""

import asyncio
import logging
from contextlib import aclosing
from pathlib import Path

from swarmlearning.api.client import Refusal, SnClient
from swarmlearning.cli.report import record
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.checkpoint import is_head
from swarmlearning.node.checkpoints import Checkpoints
from swarmlearning.node.datadir import make_private, replace_file
from swarmlearning.supervise.processes import RunError
from swarmlearning.views.report import Recorder

logger = logging.getLogger("swarm.chain")

FETCH_SECONDS = 600.0
RECORDS = "records.json"


async def read_remote(address: str, identity: Identity, kept: Path | None) -> tuple[Recorder, str]:
    """What the chain of the SN at `address` records until now; and why it does not verify, empty if it does.

    What is verified is kept in the folder `kept`, by network. Raises `Unavailable`, `Refusal` or `RunError`.
    """
    async with SnClient(address, client_context(identity)) as client:
        height = int((await client.status())["height"])
        if height < 0:
            return Recorder(), f"the SN at {address} has no block"
        folder = kept / sha256(await client.block(0)) if kept is not None else None
        recorder = await _resumed(client, folder) if folder is not None else Recorder()
        before = recorder.chain.height
        blocks = await _fetched(client, before + 1, height + 1)
    problem = await asyncio.to_thread(record, recorder, blocks)
    if folder is not None and not problem and recorder.chain.height > before:
        _keep(folder, recorder)
    return recorder, problem


async def _resumed(client: SnClient, folder: Path) -> Recorder:
    """The recorder that was kept, if the SN has the block at which it ended; else a new one."""
    if (chain := Checkpoints(folder).read(folder.name)) is None:
        return Recorder()
    try:
        if is_head(chain, await client.block(chain.height)):
            return Recorder.resumed(chain, (folder / RECORDS).read_bytes())
        reason = "the SN has another block at its end"
    except (Refusal, OSError, ValueError) as error:
        reason = str(error)
    logger.warning("%s is not used (%s): the chain is replayed from block 0", folder, reason)
    return Recorder()


def _keep(folder: Path, recorder: Recorder) -> None:
    """Saves time only: a folder that cannot be written to is reported, and one half written is not used."""
    try:
        make_private(folder)
        replace_file(folder / RECORDS, recorder.saved())
    except OSError as error:
        logger.warning("%s cannot be written (%s): the next report may take longer", folder, error.strerror)
    else:
        Checkpoints(folder).write(recorder.chain)


async def _fetched(client: SnClient, start: int, end: int) -> list[bytes]:
    """The blocks from height `start` to before `end`, not verified yet. Raises `Unavailable`, `Refusal`, `RunError`."""
    found: list[bytes] = []
    if start >= end:
        return found
    try:
        async with asyncio.timeout(FETCH_SECONDS), aclosing(client.blocks(start)) as blocks:
            async for raw in blocks:
                found.append(raw)
                if len(found) >= end - start:
                    break
    except TimeoutError:
        raise RunError(
            f"the SN at {client.address} sent {len(found)} of {end - start} blocks in {FETCH_SECONDS:.0f} s"
        ) from None
    return found
