"""The miner: each transaction on the chain at most once, whatever the log and other SNs do."""

import asyncio

import pytest

from support.mining import MemoryLog, Site, Step, full_disk
from support.network import read
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.ledger.block import MAX_BLOCK
from swarmlearning.ledger.bodies import Announce, Leave, Register, Revoke
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import MalformedError, SignedTransaction
from swarmlearning.ordering.protocols import OrderingError, UnavailableError
from swarmlearning.sn import miner as module
from swarmlearning.sn.miner import BehindError, BusyError, Miner


async def test_200_submitted_at_once_are_each_on_the_chain_once_where_the_answer_says() -> None:
    site = Site(sls=10)
    signed = [site.announcement(f"sl-{n % 10}") for n in range(200)]
    async with site.miner() as miner:
        heights = await asyncio.gather(*(miner.submit(one.raw) for one in signed))
        blocks = miner.chain.height
    committed = site.committed()[-200:]
    assert sorted(committed) == sorted(zip(heights, (one.id for one in signed), strict=True))
    assert blocks < 50, "they should share blocks"


async def test_two_sns_that_race_for_every_block_lose_and_double_nothing() -> None:
    site = Site(sls=10)
    signed = [site.announcement(f"sl-{n % 10}") for n in range(100)]
    async with site.miner("sn-1") as one, site.miner("sn-2") as two:
        answers = await asyncio.gather(*(miner.submit(tx.raw) for tx in signed for miner in (one, two)))
        assert answers[0::2] == answers[1::2]
        await asyncio.gather(one.reached(max(answers)), two.reached(max(answers)))
        assert one.chain.world.state_hash() == two.chain.world.state_hash()
    assert sorted(site.committed()[-100:]) == sorted(zip(answers[0::2], (tx.id for tx in signed), strict=True))


async def test_the_same_bytes_have_the_same_answer_at_once_later_and_after_a_restart() -> None:
    site = Site()
    raw = site.announcement().raw
    async with site.miner() as miner:
        height, twin = await asyncio.gather(miner.submit(raw), miner.submit(raw))
        assert twin == height
        await miner.submit(site.announcement().raw)
        assert await miner.submit(raw) == height
    async with site.miner() as restarted:
        assert await restarted.submit(raw) == height
        assert len(site.log.entries) == height + 2


@pytest.mark.parametrize("raw", ["", "x", "a.b.c", "é" * 100, "x" * 300_000, "\ud800"])
async def test_what_is_no_transaction_is_refused(raw: str) -> None:
    site = Site()
    async with site.miner() as miner:
        with pytest.raises(MalformedError):
            await miner.submit(raw)
        await miner.submit(site.announcement().raw)


async def test_a_flipped_byte_is_refused() -> None:
    site = Site()
    head, payload, signature = site.announcement().raw.split(".")
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    async with site.miner() as miner:
        with pytest.raises(Rejection) as refusal:
            await miner.submit(f"{head}.{payload}.{flipped}")
        assert refusal.value.code == "bad-signature"


async def test_a_refused_transaction_harms_none_of_its_batch_and_leaves_no_trace() -> None:
    site = Site()
    good = [site.announcement() for _ in range(3)]
    batch = [good[0], site.refused(), good[1], site.refused(), good[2]]
    async with site.miner() as miner:
        outcomes = await asyncio.gather(*(miner.submit(tx.raw) for tx in batch), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [int, Rejection, int, Rejection, int]
        before = miner.chain.height
        with pytest.raises(Rejection):
            await miner.submit(batch[1].raw)
        assert miner.chain.height == before
    assert [tx for _, tx in site.committed()[-3:]] == [tx.id for tx in good]


async def test_transactions_that_depend_on_each_other_may_share_a_block() -> None:
    site = Site()
    newcomer = site.ledger.actor("new", "SL")
    register = site.ledger.write("new", network.CONTRACT, Register("SL", "new", newcomer.pem, "0"))
    announce = site.announcement("new")
    async with site.miner() as miner:
        first, second = await asyncio.gather(miner.submit(register.raw), miner.submit(announce.raw))
    assert first == second


async def test_large_transactions_are_spread_over_blocks_that_are_not_too_large() -> None:
    site = Site()
    signed = []
    for index in range(20):
        actor = site.ledger.actor(f"new-{index}", "SL")
        body = Register("SL", "new", actor.pem + "#" * 63_000, "0")
        signed.append(site.ledger.write(actor.uid, network.CONTRACT, body))
    async with site.miner() as miner:
        heights = await asyncio.gather(*(miner.submit(tx.raw) for tx in signed))
    assert sum(len(tx.raw) for tx in signed) > MAX_BLOCK
    assert len(set(heights)) == 2
    assert len(site.committed()) == 3 + 20
    assert all(len(raw) <= MAX_BLOCK for raw in site.log.entries)


async def test_a_block_holds_a_bounded_number_of_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BATCH", 4)
    site = Site()
    async with site.miner() as miner:
        heights = await asyncio.gather(*(miner.submit(site.announcement().raw) for _ in range(10)))
    assert [heights.count(height) for height in sorted(set(heights))] == [4, 4, 2]


async def test_too_many_that_wait_are_turned_away_and_may_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PENDING", 5)
    site = Site()
    signed = [site.announcement() for _ in range(8)]
    async with site.miner() as miner:
        outcomes = await asyncio.gather(*(miner.submit(tx.raw) for tx in signed), return_exceptions=True)
        turned_away = [tx for tx, outcome in zip(signed, outcomes, strict=True) if isinstance(outcome, BusyError)]
        assert len(turned_away) == 3
        for tx in turned_away:
            await miner.submit(tx.raw)
    assert len(site.committed()[-8:]) == 8


async def test_a_caller_that_goes_away_takes_nothing_with_it() -> None:
    site = Site()
    raw = site.announcement().raw
    async with site.miner() as miner:
        leaving, staying = asyncio.create_task(miner.submit(raw)), asyncio.create_task(miner.submit(raw))
        await asyncio.sleep(0)
        leaving.cancel()
        height = await staying
        assert await miner.submit(raw) == height


async def test_block_times_grow_when_the_clock_goes_back() -> None:
    site = Site()
    async with site.miner() as miner:
        await miner.submit(site.announcement().raw)
        before = miner.chain.time_ms
        site.ledger.clock -= 3_600_000
        await miner.submit(site.announcement().raw)
        assert miner.chain.time_ms == before + 1


# --- another SN is faster -------------------------------------------------------------------------------------------


def rival(site: Site, *signed: SignedTransaction) -> Step:
    """Before the append, the other SN puts a block with these transactions onto the log."""

    def put(entry: bytes) -> None:
        site.ledger.append(site.ledger.seal(*signed, sealer="sn-2"))

    return put


async def test_the_loser_of_a_race_puts_the_transaction_into_the_next_block() -> None:
    site = Site(sls=4)
    mine = site.announcement("sl-0")
    site.log.script = [rival(site, site.announcement(f"sl-{n}")) for n in (1, 2, 3)]
    head = len(site.log.entries) - 1
    async with site.miner() as miner:
        assert await miner.submit(mine.raw) == head + 4
    assert site.log.script == []
    assert [tx for _, tx in site.committed()].count(mine.id) == 1


async def test_a_transaction_that_the_winner_has_recorded_is_not_recorded_again() -> None:
    site = Site()
    mine, other = site.announcement(), site.announcement()
    site.log.script = [rival(site, mine)]
    head = len(site.log.entries) - 1
    async with site.miner() as miner:
        first, second = await asyncio.gather(miner.submit(mine.raw), miner.submit(other.raw))
        assert (first, second) == (head + 1, head + 2)
    assert [tx for _, tx in site.committed()].count(mine.id) == 1


async def test_a_transaction_that_the_winner_has_made_wrong_is_refused() -> None:
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


async def test_a_sender_that_has_seen_more_than_this_sn_is_not_refused_but_told_to_try_again() -> None:
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
        site.log.entries.append(b"not a block")

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


# --- the log fails --------------------------------------------------------------------------------------------------


def no_majority(entry: bytes) -> None:
    """A step of a script: the log does not answer."""
    raise UnavailableError("no majority")


async def test_while_the_log_fails_every_caller_is_told_and_afterwards_the_same_bytes_succeed() -> None:
    site = Site()
    signed = [site.announcement() for _ in range(3)]
    site.log.script = [full_disk]
    async with site.miner() as miner:
        outcomes = await asyncio.gather(*(miner.submit(tx.raw) for tx in signed), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["the disk is full"] * 3
        await asyncio.gather(*(miner.submit(tx.raw) for tx in signed))
    assert sorted(tx for _, tx in site.committed()[-3:]) == sorted(tx.id for tx in signed)


async def test_a_block_that_was_written_although_the_log_failed_is_found_again() -> None:
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


async def test_a_block_that_others_would_not_accept_is_not_written() -> None:
    """This SN seals with a certificate that is not registered for it."""
    site = Site()
    site.ledger.actors["sn-1"] = site.ledger.actor("sn-1", "SN")
    before = list(site.log.entries)
    async with site.miner() as miner:
        with pytest.raises(OrderingError, match=r"this SN cannot seal block \d+ with this .*another certificate"):
            await miner.submit(site.announcement().raw)
    assert site.log.entries == before


async def test_while_the_log_is_unavailable_transactions_wait(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site()
    site.log.script = [no_majority]
    async with site.miner() as miner:
        failures, read_log = [UnavailableError("no majority")] * 2, site.log.read

        async def hindered(start: int, limit: int) -> list[bytes]:
            if failures:
                raise failures.pop()
            return await read_log(start, limit)

        monkeypatch.setattr(site.log, "read", hindered)
        assert await miner.submit(site.announcement().raw) == len(site.log.entries) - 1
    assert failures == []
    assert caplog.text.count("no majority; transactions wait") == 3


async def test_a_block_that_was_written_while_the_log_became_unavailable_answers_who_waits() -> None:
    site = Site()
    mine = site.announcement()

    def write_and_fail(entry: bytes) -> None:
        site.log.entries.append(entry)
        no_majority(entry)

    site.log.script = [write_and_fail]
    async with site.miner() as miner:
        assert await miner.submit(mine.raw) == len(site.log.entries) - 1
    assert [tx for _, tx in site.committed()].count(mine.id) == 1


async def test_nothing_is_read_for_ones_own_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of etcd's log asks the majority."""
    site = Site()
    async with site.miner() as miner:
        await miner.submit(site.announcement().raw)
        monkeypatch.setattr(site.log, "read", None)
        await miner.submit(site.announcement().raw)
        await miner.submit(site.announcement().raw)


async def test_transactions_that_wait_when_the_miner_stops_and_later_ones_are_unavailable() -> None:
    site, tried = Site(), asyncio.Event()

    def refuse(entry: bytes) -> None:
        tried.set()
        raise UnavailableError("no majority")

    site.log.script = [refuse] * 1000
    async with site.miner() as miner:
        waiting = asyncio.create_task(miner.commit(site.announcement()))
        await tried.wait()
    async with asyncio.timeout(30):
        with pytest.raises(UnavailableError, match="this SN stops"):
            await waiting
        with pytest.raises(UnavailableError, match="this SN stops"):
            await miner.commit(site.announcement(address="there:1"))


async def test_a_log_that_is_damaged_ends_the_work_with_its_error() -> None:
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


# --- turns ----------------------------------------------------------------------------------------------------------


def sealers(site: Site, count: int) -> list[str]:
    """Who has sealed the newest blocks."""
    return [read(raw).header.sealer for raw in site.log.entries[-count:]]


async def test_where_many_wait_at_several_sns_they_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN_SECONDS", 1000.0)
    monkeypatch.setattr(module, "CROWD", 3)
    site = Site(sls=9)
    site.ledger.join("sn-3", "SN")
    site.ledger.join("sn-2b", "SN")  # a witness: it has no API and seals nothing
    for uid in ("sn-1", "sn-2", "sn-3"):
        site.ledger.say(uid, Announce({"api": f"{uid}:1"}), network.CONTRACT)
    signed = [site.announcement(f"sl-{n}") for n in range(9)]
    async with site.miner("sn-1") as one, site.miner("sn-2") as two, site.miner("sn-3") as three:
        await asyncio.gather(
            *(
                miner.submit(signed[number].raw)
                for first, miner in enumerate((one, three, two))
                for number in range(first, 9, 3)
            )
        )
    assert sealers(site, 4) == ["sn-1", "sn-2", "sn-3", "sn-1"]  # first what they have announced


async def test_where_few_wait_no_turn_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN_SECONDS", 1000.0)
    site = Site()
    async with site.miner("sn-1") as miner:
        for _ in range(2):
            await miner.submit(site.announcement().raw)
    assert sealers(site, 2) == ["sn-1", "sn-1"]


async def test_the_turn_of_an_sn_that_is_not_there_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN_SECONDS", 0.01)
    monkeypatch.setattr(module, "CROWD", 3)
    site = Site(sls=9)
    async with site.miner("sn-1") as miner:
        await asyncio.gather(*(miner.submit(site.announcement(f"sl-{n}").raw) for n in range(9)))
    assert sealers(site, 1) == ["sn-1"]


# --- what it serves -------------------------------------------------------------------------------------------------


async def test_blocks_come_from_memory_or_from_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECENT_BLOCKS", 2)
    site = Site()
    async with site.miner() as miner:
        for _ in range(4):
            await miner.submit(site.announcement().raw)
        height = miner.chain.height
        for start in range(height + 1):
            assert await miner.blocks(start, 100) == site.log.entries[start:]
            assert await miner.blocks(start, 1) == [site.log.entries[start]] == [await miner.block(start)]
        assert await miner.blocks(height + 1, 100) == []
        assert await miner.block(height + 1) is None


async def test_reached_waits_for_a_height() -> None:
    site = Site()
    async with site.miner() as miner:
        await miner.reached(0)
        waiting = asyncio.create_task(miner.reached(miner.chain.height + 1))
        await asyncio.sleep(0)
        assert not waiting.done()
        await miner.submit(site.announcement().raw)
        await waiting


async def test_a_network_is_founded_once() -> None:
    site = Site()
    (genesis,) = read(site.log.entries[0]).transactions
    async with site.miner() as miner:
        with pytest.raises(Rejection) as refusal:
            await miner.found(genesis)
        assert refusal.value.code in ("other-network", "founded-already")


async def test_a_transaction_that_the_sn_cannot_seal_does_not_fail_those_beside_it() -> None:
    """The certificate of the sealing SN is revoked: another SN can seal that."""
    site = Site()
    honest = [site.announcement(address=f"here:{number}") for number in range(1, 6)]
    poison = site.ledger.write(
        "sn-2", network.CONTRACT, Revoke(thumbprint(site.ledger.actors["sn-1"].pair.certificate))
    )
    async with site.miner() as miner:
        answers = await asyncio.gather(
            *(miner.commit(signed) for signed in (*honest[:2], poison, *honest[2:])), return_exceptions=True
        )
        assert isinstance(answers.pop(2), UnavailableError)
        assert set(map(type, answers)) == {int}
    async with site.miner("sn-2") as other:
        assert await other.commit(poison) == other.chain.height


async def test_the_only_sn_refuses_what_would_keep_it_from_sealing() -> None:
    site = Site()
    site.ledger.say("sn-2", Leave(), network.CONTRACT)
    poison = site.ledger.write(
        "sn-1", network.CONTRACT, Revoke(thumbprint(site.ledger.actors["sn-1"].pair.certificate))
    )
    async with site.miner() as miner:
        with pytest.raises(Rejection, match="last-sn"):
            await miner.commit(poison)
        assert await miner.commit(site.announcement()) == miner.chain.height
