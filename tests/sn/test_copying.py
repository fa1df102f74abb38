"""An SN that copies the chain of its network takes no block that the other SNs are about to refuse."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from support.certs import authority_in
from support.network import Ledger
from support.scripted_sn import scripted_sn
from swarmlearning.api.client import SnClient
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.node.clocks import clock_ms
from swarmlearning.ordering.local import LocalLog
from swarmlearning.sn.copying import copy_until
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.remote import RemoteLog

HOUR_MS = 3_600_000


@pytest.mark.parametrize("shared", [False, True])
async def test_a_block_that_is_ahead_is_taken_only_if_most_sns_have_it(
    shared: bool, workspace: Path, tmp_path: Path, identities: dict[str, Identity]
) -> None:
    ledger = Ledger(authority_in(workspace))
    ledger.join("sn-2", "SN")
    chain, signer, height = ledger.chain, ledger.actors["sn-2"].signer, ledger.chain.height + 1
    ahead = [*ledger.blocks, chain.seal((), chain.world, clock_ms() + HOUR_MS, "sn-2", signer).raw]
    ledger.join("sl-1")
    tls, file = client_context(identities["SN-1"]), LocalLog(tmp_path / "chain.sqlite")
    async with (
        scripted_sn(identities["SN-1"], ahead) as one,
        scripted_sn(identities["SN-1"], ahead if shared else ledger.blocks) as other,
        SnClient(one.address, tls) as first,
        SnClient(other.address, tls) as second,
    ):
        log = RemoteLog(file, lambda: [first, second])
        miner = Miner(log, "sn-9", identities["SN-1"].signer(), clock_ms)
        work = asyncio.create_task(log.run())
        await copy_until(height, miner, log, lambda: [first, second])
        assert await file.read(0, height + 2) == (ahead if shared else ledger.blocks)
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
    file.close()
