"""An operator's command verifies the whole chain once, and from then on what is new."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from support.certs import authority_in, make_workspace
from support.network import Ledger
from support.scripted_sn import ScriptedSn, scripted_sn
from support.virtual_time import run_in_virtual_time
from swarmlearning.identity.identity import Identity
from swarmlearning.ledger.bodies import Announce
from swarmlearning.ledger.chain import Chain
from swarmlearning.node.commanding import SECONDS, catch_up
from swarmlearning.node.follower import Follower
from swarmlearning.operator.session import reading

SN = "SN-sn-1"
"""The name of the founder's certificate in a `Ledger`."""


@pytest.fixture
def identities(tmp_path: Path) -> dict[str, Identity]:
    return make_workspace(tmp_path / "cert", [SN, "UI-1"])


@pytest.fixture
def ledger(identities: dict[str, Identity], tmp_path: Path) -> Ledger:
    made = Ledger(authority_in(tmp_path / "cert"))
    made.join("sl-1")
    return made


async def read(sn: ScriptedSn, ledger: Ledger, identity: Identity, cache: Path | None) -> None:
    """Reads what the SN shows, and checks that it is all of the ledger."""
    sn.blocks = list(ledger.blocks)
    head = {"network": "test", "network_id": ledger.chain.network_id, "ordering": "local"}
    sn.answers.append(lambda _: (200, {**head, "height": len(ledger.blocks) - 1}))
    async with reading(sn.address, identity, cache) as follower:
        assert follower.chain.hash == ledger.chain.hash


async def test_a_second_command_verifies_only_what_is_new(
    ledger: Ledger, identities: dict[str, Identity], tmp_path: Path
) -> None:
    async with scripted_sn(identities[SN], []) as sn:
        await read(sn, ledger, identities["UI-1"], tmp_path / "cache")
        known = len(ledger.blocks)
        ledger.send("sl-1", Announce({"fs": "here:2"}), "network")
        await read(sn, ledger, identities["UI-1"], tmp_path / "cache")
        assert sn.asked_from == [0, known]


async def test_a_damaged_cache_costs_a_command_only_time(
    ledger: Ledger, identities: dict[str, Identity], tmp_path: Path
) -> None:
    async with scripted_sn(identities[SN], []) as sn:
        await read(sn, ledger, identities["UI-1"], tmp_path / "cache")
        (file,) = (tmp_path / "cache").rglob("checkpoint")
        file.write_bytes(file.read_bytes()[:-1])
        await read(sn, ledger, identities["UI-1"], tmp_path / "cache")
        assert sn.asked_from == [0, 0]


async def test_networks_have_caches_of_their_own(identities: dict[str, Identity], tmp_path: Path) -> None:
    authority = authority_in(tmp_path / "cert")
    first, second = Ledger(authority), Ledger(authority)
    second.join("sl-1")
    assert first.chain.network_id != second.chain.network_id
    async with scripted_sn(identities[SN], []) as sn:
        for ledger in (first, second, first, second):
            await read(sn, ledger, identities["UI-1"], tmp_path / "cache")
        assert sn.asked_from == [0, 0, len(first.blocks), len(second.blocks)]


async def test_a_command_needs_no_cache(ledger: Ledger, identities: dict[str, Identity], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with scripted_sn(identities[SN], []) as sn:
        await read(sn, ledger, identities["UI-1"], None)
        await read(sn, ledger, identities["UI-1"], tmp_path / "file" / "below")


class SlowSn:
    """A follower, and its SN, which has five blocks and sends one of them in 50 s."""

    def __init__(self) -> None:
        self.chain, self.client = Chain(), self

    async def status(self) -> dict[str, int]:
        return {"height": 4}

    async def reached(self, height: int) -> Chain:
        await asyncio.sleep(50.0)
        self.chain = Chain(height=height)
        return self.chain


def test_a_chain_that_takes_long_to_verify_is_waited_for_as_long_as_blocks_come() -> None:
    async def scenario() -> int:
        follower = SlowSn()
        async with asyncio.timeout(SECONDS) as limit:
            await catch_up(cast(Follower, follower), limit)
        return follower.chain.height

    assert run_in_virtual_time(scenario()) == 4
