"""The ledger of an SN, read over the network and verified here: the whole chain once, and from then on what is new."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from swarmlearning.api.client import Refusal, SnClient
from swarmlearning.files import make_private, replace_file
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.chain import Chain, Step
from swarmlearning.ledger.checkpoint import is_head
from swarmlearning.ledger.history import BrokenChainError, Replay
from swarmlearning.node.checkpoints import Checkpoints
from swarmlearning.node.errors import NodeError
from swarmlearning.views.report import Recorder

logger = logging.getLogger("swarm.chain")

SECONDS = 60.0
"""Longest wait for one more block."""
RECORDS = "records.json"


async def require_network(client: SnClient, network_id: str) -> str:
    """The ID of an SN's network, by its first block. Raises `NodeError` when it is another than `network_id`."""
    found = sha256(await client.block(0))
    if network_id and found != network_id:
        raise NodeError(
            f"--network-id names network {network_id}, but the SN at {client.address} is of network {found}: name an "
            "SN of the one named, or correct the option"
        )
    return found


async def read_remote(
    address: str, identity: Identity, kept: Path | None, network_id: str = ""
) -> tuple[Recorder, str]:
    """Returns what the ledger of the SN at `address` records, and why it does not go on from there, empty if it does.

    What is verified is kept in the folder `kept`, by network. With `network_id` no other network is read. Raises
    `Unavailable`, `Refusal` or `NodeError`.
    """
    async with SnClient(address, client_context(identity)) as client:
        height = int((await client.status())["height"])
        if height < 0:
            return Recorder(), f"the SN at {address} has no block"
        found = await require_network(client, network_id)
        folder = kept / found if kept is not None else None
        recorder = await _resumed(client, folder) if folder is not None else Recorder()
        before, problem = recorder.chain.height, ""
        try:
            await _read(client, height, recorder.chain, recorder.add)
        except BrokenChainError as error:
            problem = str(error)
        finally:  # of a reading that breaks off, too: the next one goes on from there
            if folder is not None and not problem and recorder.chain.height > before:
                await asyncio.to_thread(_keep, folder, recorder)
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


async def read_steps(address: str, identity: Identity, network_id: str, add: Callable[[Step], None]) -> None:
    """Gives each block of an SN's ledger to `add`, from block 0 and once it is verified; nothing is kept.

    With `network_id` no other network is read. Raises `BrokenChainError`, `Unavailable`, `Refusal` or `NodeError`.
    """
    async with SnClient(address, client_context(identity)) as client:
        height = int((await client.status())["height"])
        if height >= 0:
            await require_network(client, network_id)
        await _read(client, height, Chain(), add)


async def _read(client: SnClient, height: int, after: Chain, add: Callable[[Step], None]) -> None:
    """Adds the blocks up to this height. Raises `BrokenChainError`, `Unavailable`, `Refusal` or `NodeError`."""
    replay, loop = Replay(after), asyncio.get_running_loop()
    if replay.chain.height >= height:
        return
    try:
        async with asyncio.timeout(SECONDS) as limit, aclosing(client.blocks(replay.chain.height + 1)) as blocks:
            async for raw in blocks:
                add(replay.append(raw))
                if replay.chain.height == height:
                    return
                limit.reschedule(loop.time() + SECONDS)
    except TimeoutError:
        raise NodeError(
            f"the SN at {client.address} has sent no further block for {SECONDS:.0f} s after block "
            f"{replay.chain.height} of {height}; name another one"
        ) from None


def _keep(folder: Path, recorder: Recorder) -> None:
    """Saves time only: a folder that cannot be written to is reported, and one half written is not used."""
    if recorder.chain.height in recorder.chain.voids:
        return  # no checkpoint ends with a void slot
    try:
        make_private(folder)
        replace_file(folder / RECORDS, recorder.saved())
    except OSError as error:
        logger.warning("%s cannot be written (%s): the next command may take longer", folder, error.strerror)
    else:
        Checkpoints(folder).write(recorder.chain)
