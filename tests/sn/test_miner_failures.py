"""The miner when another SN is faster, or when the log fails."""

import asyncio
import gc
from collections.abc import Callable

import pytest

from support.mining import MemoryLog, Site, Step, full_disk
from support.network import read, resealed
from swarmlearning.ledger.block import seal
from swarmlearning.ledger.bodies import Announce, Register
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import SignedTransaction
from swarmlearning.ledger.world import World
from swarmlearning.ordering.protocols import OrderingError, UnavailableError
from swarmlearning.sn.miner import BehindError, Miner

# --- another SN is faster ---------------------------------------------------------------------------------------------


def rival(site: Site, *signed: SignedTransaction) -> Step:
    """Before the append, the other SN puts a block with these transactions onto the log."""

    def put(entry: bytes) -> None:
        site.ledger.append(site.ledger.seal(*signed, sealer="sn-2"))

    return put


async def test_an_sn_that_loses_a_race_puts_its_transaction_into_the_next_block() -> None:
    site = Site(sls=4)
    mine = site.announcement("sl-0")
    site.log.script = [rival(site, site.announcement(f"sl-{n}")) for n in (1, 2, 3)]
    head = len(site.log.entries) - 1
    async with site.miner() as miner:
        assert await miner.submit(mine.raw) == head + 4
    assert site.log.script == []
    assert [tx for _, tx in site.committed()].count(mine.id) == 1


async def test_a_transaction_that_the_winner_of_a_race_has_recorded_is_not_recorded_again() -> None:
    site = Site()
    mine, other = site.announcement(), site.announcement()
    site.log.script = [rival(site, mine)]
    head = len(site.log.entries) - 1
    async with site.miner() as miner:
        first, second = await asyncio.gather(miner.submit(mine.raw), miner.submit(other.raw))
        assert (first, second) == (head + 1, head + 2)
    assert [tx for _, tx in site.committed()].count(mine.id) == 1


async def test_a_transaction_that_the_winner_of_a_race_has_made_invalid_is_refused() -> None:
    site = Site()
    mine = site.announcement("sl-0")
    actor = site.ledger.actors["sl-0"]
    actor.incarnation, actor.sequence = 2, 0
    newer = site.ledger.write("sl-0", network.CONTRACT, Register("SL", "sl-0", actor.pem, "0"))
    site.log.script = [rival(site, newer)]
    async with site.miner() as miner:
        with pytest.raises(Rejection) as refusal:
            await miner.submit(mine.raw)
        assert refusal.value.code == "old-incarnation"
    assert mine.id not in [tx for _, tx in site.committed()]


async def test_a_sender_that_has_seen_a_longer_chain_than_this_sn_is_not_refused_but_asked_to_retry() -> None:
    site = Site()
    site.log = MemoryLog(site.ledger.blocks.copy())
    site.ledger.commit(site.announcement())
    ahead = site.announcement(address="here:2")
    async with site.miner() as miner:
        with pytest.raises(BehindError):
            await miner.submit(ahead.raw)
        await site.log.append(await site.log.head(), site.ledger.blocks[-1])
        await miner.reached(site.ledger.chain.height)
        assert await miner.submit(ahead.raw) == len(site.ledger.blocks)


async def test_a_void_block_of_another_sn_is_skipped() -> None:
    site = Site()

    def put(entry: bytes) -> None:
        chain, signer = site.ledger.chain, site.ledger.actors["sn-2"].signer
        site.log.entries.append(chain.seal([], World(), chain.next_time(site.ledger.clock), "sn-2", signer).raw)

    site.log.script = [put]
    head = len(site.log.entries) - 1
    async with site.miner() as miner:
        world = miner.chain.world.state_hash()
        await miner.reached(head)
        mine = site.announcement()
        assert await miner.submit(mine.raw) == head + 2
        assert miner.chain.world.state_hash() != world
    chain, voids = Chain(), list[str | None]()
    for raw in site.log.entries:
        step = chain.append(raw)
        chain, voids = step.chain, [*voids, step.void]
    assert [height for height, void in enumerate(voids) if void] == [head + 1]


def old_block(site: Site) -> bytes:
    return site.log.entries[3]


def cut_block(site: Site) -> bytes:
    return site.ledger.seal(site.announcement(), sealer="sn-2")[:-40]


def foreign_block(site: Site) -> bytes:
    header = read(site.ledger.seal(site.announcement())).header
    return seal(header, [], site.ledger.actors["sl-0"].signer).raw


def block_of_another_chain(site: Site) -> bytes:
    return resealed(site.ledger, site.announcement(), by="sn-2", previous="0" * 64)


@pytest.mark.parametrize("junk", [lambda site: b"not a block", cut_block, foreign_block, block_of_another_chain])
async def test_junk_in_the_log_is_passed_over_and_wastes_no_height(junk: Callable[[Site], bytes]) -> None:
    site = Site()

    def put(entry: bytes) -> None:
        site.log.entries.append(junk(site))

    site.log.script = [put]
    async with site.miner() as miner:
        head = miner.chain.height
        mine = site.ledger.write("sl-0", network.CONTRACT, Announce({"fs": "there:7"}))
        async with asyncio.timeout(60):
            assert await miner.submit(mine.raw) == head + 1
    assert [height for height, _ in site.committed()][-1] == head + 1


# --- the log fails ----------------------------------------------------------------------------------------------------


def no_majority(entry: bytes) -> None:
    """A step of a script: the log does not answer."""
    raise UnavailableError("no majority")


async def test_every_caller_gets_the_error_of_a_failing_log_and_succeeds_with_the_same_bytes_afterwards() -> None:
    site = Site()
    signed = [site.announcement() for _ in range(3)]
    site.log.script = [full_disk]
    async with site.miner() as miner:
        outcomes = await asyncio.gather(*(miner.submit(tx.raw) for tx in signed), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["the disk is full"] * 3
        await asyncio.gather(*(miner.submit(tx.raw) for tx in signed))
    assert sorted(tx for _, tx in site.committed()[-3:]) == sorted(tx.id for tx in signed)


async def test_a_block_that_was_written_although_the_log_reported_a_failure_is_found_again() -> None:
    """The answer of the log was lost, its work was not."""
    site = Site()
    mine = site.announcement()

    def lose_the_answer(entry: bytes) -> None:
        site.log.entries.append(entry)
        raise OrderingError("no answer")

    site.log.script = [lose_the_answer]
    async with site.miner() as miner:
        with pytest.raises(OrderingError, match="no answer"):
            await miner.submit(mine.raw)
        assert await miner.submit(mine.raw) == len(site.log.entries) - 1
    assert [tx for _, tx in site.committed()].count(mine.id) == 1


async def test_a_block_that_other_sns_would_not_accept_is_not_written() -> None:
    """This SN seals with a certificate that is not registered for it."""
    site = Site()
    site.ledger.actors["sn-1"] = site.ledger.actor("sn-1", "SN")
    before = list(site.log.entries)
    async with site.miner() as miner:
        with pytest.raises(OrderingError, match=r"this SN cannot seal block \d+ with this .*another certificate"):
            await miner.submit(site.announcement().raw)
    assert site.log.entries == before


async def test_transactions_wait_while_the_log_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site()
    site.log.script = [no_majority]
    async with site.miner() as miner:
        failures, read_log = [UnavailableError("no majority")] * 2, site.log.read

        async def failing_read(start: int, limit: int) -> list[bytes]:
            if failures:
                raise failures.pop()
            return await read_log(start, limit)

        monkeypatch.setattr(site.log, "read", failing_read)
        assert await miner.submit(site.announcement().raw) == len(site.log.entries) - 1
    assert failures == []
    assert caplog.text.count("no majority; transactions wait") == 3


async def test_a_block_that_was_written_as_the_log_became_unavailable_answers_the_waiting_callers() -> None:
    site = Site()
    mine = site.announcement()

    def write_and_fail(entry: bytes) -> None:
        site.log.entries.append(entry)
        no_majority(entry)

    site.log.script = [write_and_fail]
    async with site.miner() as miner:
        assert await miner.submit(mine.raw) == len(site.log.entries) - 1
    assert [tx for _, tx in site.committed()].count(mine.id) == 1


async def test_an_sn_does_not_read_the_blocks_that_it_wrote_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of etcd's log asks the majority."""
    site = Site()
    async with site.miner() as miner:
        await miner.submit(site.announcement().raw)
        monkeypatch.setattr(site.log, "read", None)
        await miner.submit(site.announcement().raw)
        await miner.submit(site.announcement().raw)


async def test_transactions_that_wait_when_the_miner_stops_and_later_ones_fail_as_unavailable() -> None:
    site, tried = Site(), asyncio.Event()

    def refuse(entry: bytes) -> None:
        tried.set()
        raise UnavailableError("no majority")

    site.log.script = [refuse] * 1000
    async with site.miner() as miner:
        waiting = asyncio.create_task(miner.commit(site.announcement()))
        await tried.wait()
    async with asyncio.timeout(60):
        with pytest.raises(UnavailableError, match="this SN stops"):
            await waiting
        with pytest.raises(UnavailableError, match="this SN stops"):
            await miner.commit(site.announcement(address="there:1"))


async def test_a_damaged_log_ends_the_miner_with_its_error() -> None:
    site = Site()
    miner = Miner(site.log, "sn-1", site.ledger.actors["sn-1"].signer, lambda: 0)
    await miner.load()

    async def broken(start: int, limit: int) -> list[bytes]:
        raise OrderingError("block 7 is damaged")

    site.log.read = broken  # type: ignore[method-assign]
    site.log.script = [rival(site, site.announcement())]
    work = asyncio.create_task(miner.run())
    waiting = asyncio.create_task(miner.submit(site.announcement().raw))
    with pytest.raises(OrderingError, match="block 7 is damaged"):
        await work
    with pytest.raises(UnavailableError, match="this SN stops"):
        await waiting


# --- whoever has submitted is gone ------------------------------------------------------------------------------------


async def test_a_refusal_or_a_stop_that_nobody_waits_for_any_more_is_not_reported_as_a_lost_error() -> None:
    """A client may be cut off while its transaction waits."""
    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["message"]))
    site = Site()
    async with site.miner() as miner:
        for signed in (site.refused(), site.announcement()):
            submitting = asyncio.ensure_future(miner.submit(signed.raw))
            await asyncio.sleep(0)  # submitted, not judged yet
            submitting.cancel()
            await asyncio.wait([submitting])
        await miner.submit(site.announcement().raw)
        late = asyncio.ensure_future(miner.submit(site.announcement().raw))
        await asyncio.sleep(0)
        late.cancel()
        await asyncio.wait([late])
    del miner, late, submitting
    gc.collect()  # what is reported is reported when the future is freed
    assert reported == []
