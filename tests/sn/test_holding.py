"""A block whose time is ahead of an SN's clock is held until the SNs have decided about it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

import pytest

from support.mining import Site
from swarmlearning.api.answers import Stance
from swarmlearning.api.client import Refusal, SnClient
from swarmlearning.ledger.bodies import Announce
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.objecting import Disputed, statement
from swarmlearning.node.sender import Author
from swarmlearning.sn.holding import Holding
from swarmlearning.sn.miner import Miner

HOUR_MS = 3_600_000
SECONDS = 120.0


class Other:
    """The API of `sn-3`: it objects to the block `objects_to`, or has the block `has`. `asked` is set by a request."""

    address = "three:1"

    def __init__(self, site: Site, *, objects_to: bytes = b"", has: bytes = b"") -> None:
        self._site, self._objects_to, self._has = site, objects_to, has
        self.asked = asyncio.Event()

    async def stance(self, height: int) -> Stance:
        self.asked.set()
        if self._has:
            return Stance(sha256(self._has), "")
        if not self._objects_to:
            raise Refusal("no-block", "not here", 0)
        ledger, block = self._site.ledger, sha256(self._objects_to)
        text = statement(Disputed(ledger.chain.network_id, height, block, "sn-2"))
        return Stance(block, ledger.actors["sn-3"].signer.sign(text))


@pytest.fixture
def site() -> Site:
    made = Site()
    made.ledger.join("sn-3", "SN")
    made.ledger.send("sn-3", Announce({"api": "three:1"}), network.CONTRACT)
    return made


def ahead(site: Site, by_ms: int = HOUR_MS) -> bytes:
    """A block by `sn-2` that is so far ahead."""
    chain, signer = site.ledger.chain, site.ledger.actors["sn-2"].signer
    return chain.seal((), chain.world, site.ledger.clock + by_ms, "sn-2", signer).raw


@asynccontextmanager
async def mining(site: Site, *others: Other, kept: Path | None = None) -> AsyncIterator[tuple[Miner, Holding]]:
    """The miner of `sn-1`, and what it holds; the file `kept` has what it has objected to."""
    signer, clock = site.ledger.actors["sn-1"].signer, lambda: site.ledger.clock
    clients = cast(list[SnClient], list(others))
    holding = Holding(Author(signer, "sn-1", 1, 100), signer, lambda: clients, clock, kept)
    miner = Miner(site.log, "sn-1", signer, clock, holding)
    await miner.load()
    work = asyncio.create_task(miner.run())
    try:
        async with asyncio.timeout(SECONDS):
            yield miner, holding
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


async def put(site: Site, raw: bytes) -> None:
    await site.log.append(await site.log.head(), raw)


async def test_a_block_that_most_sns_object_to_is_replaced_and_its_sealer_is_in_quarantine(site: Site) -> None:
    raw = ahead(site)
    async with mining(site, Other(site, objects_to=raw)) as (miner, holding):
        before = miner.chain
        await put(site, raw)
        await miner.reached(before.height + 1)
        assert miner.chain.time_ms < before.time_ms + 60_000
        assert [sn.uid for sn in network.admitted(miner.chain.world)] == ["sn-1", "sn-3"]
        assert holding.alarm == ""
    assert raw not in site.log.entries
    assert site.committed()[-1][0] == before.height + 1, "the objections are on the chain"


async def test_a_block_that_one_clock_alone_finds_ahead_is_accepted_once_most_sns_have_it(site: Site) -> None:
    raw = ahead(site)
    async with mining(site, Other(site, has=raw)) as (miner, _):
        height = miner.chain.height
        await put(site, raw)
        await miner.reached(height + 1)
        assert miner.chain.hash == sha256(raw)
        assert len(network.admitted(miner.chain.world)) == 3


async def test_a_block_about_which_most_sns_are_silent_is_held_and_its_sealer_named(site: Site) -> None:
    other = Other(site)
    async with mining(site, other) as (miner, holding):
        height = miner.chain.height
        await put(site, raw := ahead(site))
        await other.asked.wait()
        named = f"block {height + 1}, sealed by SN sn-2, is 3600 s ahead of this SN's clock: it is held until"
        assert holding.alarm.startswith(named)
        assert miner.chain.height == height
        held = await miner.stance(height + 1)
        assert held is not None
        assert (held.block, bool(held.objection)) == (sha256(raw), True)
        site.ledger.clock += HOUR_MS
        await miner.reached(height + 1)
        assert await miner.stance(height + 1) == Stance(sha256(raw), "")


async def test_an_sn_objects_to_the_same_block_after_a_restart_though_it_is_less_far_ahead_then(
    site: Site, tmp_path: Path
) -> None:
    kept, raw = tmp_path / "objection", ahead(site)
    for passed_ms in (0, HOUR_MS - network.AHEAD_MS):
        site.ledger.clock += passed_ms
        other = Other(site)
        async with mining(site, other, kept=kept) as (miner, _):
            await put(site, raw)
            await other.asked.wait()
            stance = await miner.stance(miner.chain.height + 1)
            assert stance is not None
            assert (stance.block, bool(stance.objection)) == (sha256(raw), True)


async def test_a_block_that_another_sn_has_replaced_is_held_no_longer(site: Site) -> None:
    other = Other(site)
    async with mining(site, other) as (miner, holding):
        height = miner.chain.height
        await put(site, ahead(site))
        await other.asked.wait()
        await put(site, site.ledger.seal(site.announcement(), sealer="sn-3"))
        await miner.reached(height + 1)
        assert holding.held is None
        assert miner.chain.time_ms < site.ledger.clock + network.DOUBT_MS


async def test_a_block_a_little_ahead_is_accepted_at_once_where_no_majority_can_refuse_it_any_more(site: Site) -> None:
    raw = ahead(site, network.AHEAD_MS)
    async with mining(site, Other(site)) as (miner, _):
        height = miner.chain.height
        await put(site, raw)
        await miner.reached(height + 1)
        assert miner.chain.hash == sha256(raw)


async def test_a_transaction_is_not_sealed_while_a_block_is_held_and_is_committed_afterwards(site: Site) -> None:
    raw = ahead(site)
    other = Other(site)
    async with mining(site, other) as (miner, _):
        height = miner.chain.height
        await put(site, raw)
        await other.asked.wait()
        committing = asyncio.create_task(miner.commit(site.announcement()))
        other._objects_to = raw
        assert await committing in (height + 1, height + 2)
        assert raw not in site.log.entries


def test_a_block_is_ahead_by_what_its_sealer_could_have_avoided(site: Site) -> None:
    chain = site.ledger.chain
    assert chain.ahead_ms(site.ledger.clock + HOUR_MS, site.ledger.clock) == HOUR_MS
    assert chain.ahead_ms(site.ledger.clock, site.ledger.clock + HOUR_MS) == 0
    assert chain.ahead_ms(chain.time_ms + 1, chain.time_ms - HOUR_MS) == 0, "whoever dates it cannot do otherwise"
