"""An SN seals one block for each height: what it has sealed and nobody has ordered it offers again."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from support.mining import Site
from swarmlearning.ledger.block import Header, read_header
from swarmlearning.ordering.protocols import OrderingError, UnavailableError
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.sealing import Sealer


def miner_of(site: Site, kept: Path) -> Miner:
    signer = site.ledger.actors["sn-1"].signer
    return Miner(site.log, "sn-1", signer, lambda: site.ledger.clock, None, kept)


class Refusing:
    """A step of a script of the log: it keeps what was offered, and refuses it."""

    def __init__(self, error: OrderingError) -> None:
        self.offered: list[Header] = []
        self.done = asyncio.Event()
        self._error = error

    def __call__(self, entry: bytes) -> None:
        self.offered.append(read_header(entry))
        self.done.set()
        raise self._error


@pytest.mark.parametrize("error", [UnavailableError("no majority"), OrderingError("the disk is full")])
async def test_a_block_that_could_not_be_ordered_is_offered_again_unchanged(error: OrderingError) -> None:
    site, refusing = Site(), Refusing(error)
    site.log.script = [refusing, refusing]
    async with site.miner() as miner:
        sent = [site.announcement(address=f"here:{port}") for port in (1, 2, 3)]
        for signed in sent:
            site.ledger.clock += 1_000
            with suppress(OrderingError):
                await miner.commit(signed)
        first, second = refusing.offered
        assert first == second == read_header(site.log.entries[first.height])
        assert miner.chain.height > first.height


async def test_a_block_that_was_sealed_before_a_restart_is_offered_again_after_it(tmp_path: Path) -> None:
    site, refusing = Site(), Refusing(UnavailableError("no majority"))
    site.log.script = [refusing]
    before = miner_of(site, tmp_path / "sealed")
    await before.load()
    work = asyncio.create_task(before.run())
    first = asyncio.create_task(before.commit(site.announcement()))
    await refusing.done.wait()
    work.cancel()
    await asyncio.wait((work, first))
    site.ledger.clock += 60_000
    after = miner_of(site, tmp_path / "sealed")
    await after.load()
    work = asyncio.create_task(after.run())
    await after.commit(site.announcement(address="there:1"))
    work.cancel()
    await asyncio.wait((work,))
    assert read_header(site.log.entries[-2]) == refusing.offered[0]
    assert isinstance(first.exception(), UnavailableError)


async def test_an_sn_seals_no_height_that_it_has_sealed_on_another_chain(tmp_path: Path) -> None:
    site, other = Site(), Site()
    signer = site.ledger.actors["sn-1"].signer
    Sealer("sn-1", signer, tmp_path / "sealed").seal(
        site.ledger.chain, (), site.ledger.chain.world, site.ledger.clock + 1
    )
    height = site.ledger.chain.height + 1
    again = Sealer("sn-1", signer, tmp_path / "sealed")
    with pytest.raises(UnavailableError, match=f"this SN has sealed block {height} of another chain before"):
        again.unordered(other.ledger.chain)
    other.ledger.send("sl-0", site.announcement().content.body, "network")
    assert again.unordered(other.ledger.chain) is None


async def test_a_damaged_file_of_the_newest_sealed_block_does_not_stop_an_sn(tmp_path: Path) -> None:
    (tmp_path / "sealed").write_bytes(b"{\x00")
    site = Site()
    miner = miner_of(site, tmp_path / "sealed")
    await miner.load()
    work = asyncio.create_task(miner.run())
    assert await miner.commit(site.announcement()) == site.ledger.chain.height + 1
    work.cancel()
    await asyncio.wait((work,))


async def test_a_shorter_block_replaces_a_longer_one_in_the_file_whole(tmp_path: Path) -> None:
    site, kept = Site(), tmp_path / "sealed"
    chain, sealer = site.ledger.chain, Sealer("sn-1", site.ledger.actors["sn-1"].signer, tmp_path / "sealed")
    for signed in ((site.announcement(),), ()):
        world = chain.world
        for one in signed:
            world = chain.try_transaction(world, one, chain.next_time(site.ledger.clock))
        step = sealer.seal(chain, signed, world, chain.next_time(site.ledger.clock))
        chain = step.chain
        assert kept.read_bytes() == step.block.raw


async def test_an_sn_that_cannot_keep_its_sealed_block_offers_it_to_nobody(tmp_path: Path) -> None:
    site = Site()
    miner = miner_of(site, tmp_path / "gone" / "sealed")
    await miner.load()
    work = asyncio.create_task(miner.run())
    height = len(site.log.entries)
    with pytest.raises(OrderingError, match="cannot keep the sealed block"):
        await miner.commit(site.announcement())
    assert len(site.log.entries) == height
    work.cancel()
    await asyncio.wait((work,))
