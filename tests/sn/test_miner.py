"""The miner: each transaction is on the chain at most once, in bounded blocks, and SNs seal in turn."""

import asyncio

import pytest

from support.mining import Site
from support.network import organisation, read
from swarmlearning.identity.ca import create_authority
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.ledger.block import MAX_BLOCK
from swarmlearning.ledger.bodies import AdmitOrganisation, Announce, Leave, Register, Revoke
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.ordering.protocols import UnavailableError
from swarmlearning.sn import miner as module
from swarmlearning.sn.miner import BusyError


async def test_200_transactions_submitted_at_once_are_each_on_the_chain_once_at_the_answered_height() -> None:
    site = Site(sls=10)
    signed = [site.announcement(f"sl-{n % 10}") for n in range(200)]
    async with site.miner() as miner:
        heights = await asyncio.gather(*(miner.submit(one.raw) for one in signed))
        blocks = miner.chain.height
    committed = site.committed()[-200:]
    assert sorted(committed) == sorted(zip(heights, (one.id for one in signed), strict=True))
    assert blocks < 50, "they should share blocks"


async def test_two_sns_that_race_for_every_block_lose_and_duplicate_nothing() -> None:
    site = Site(sls=10)
    signed = [site.announcement(f"sl-{n % 10}") for n in range(100)]
    async with site.miner("sn-1") as one, site.miner("sn-2") as two:
        answers = await asyncio.gather(*(miner.submit(tx.raw) for tx in signed for miner in (one, two)))
        assert answers[0::2] == answers[1::2]
        await asyncio.gather(one.reached(max(answers)), two.reached(max(answers)))
        assert one.chain.world.state_hash() == two.chain.world.state_hash()
    assert sorted(site.committed()[-100:]) == sorted(zip(answers[0::2], (tx.id for tx in signed), strict=True))


async def test_the_same_transaction_has_the_same_answer_at_once_later_and_after_a_restart() -> None:
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
async def test_text_that_is_no_transaction_is_refused(raw: str) -> None:
    site = Site()
    async with site.miner() as miner:
        with pytest.raises(MalformedError):
            await miner.submit(raw)
        await miner.submit(site.announcement().raw)


async def test_a_transaction_with_a_flipped_byte_is_refused() -> None:
    site = Site()
    head, payload, signature = site.announcement().raw.split(".")
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    async with site.miner() as miner:
        with pytest.raises(Rejection) as refusal:
            await miner.submit(f"{head}.{payload}.{flipped}")
        assert refusal.value.code == "bad-signature"


async def test_a_refused_transaction_affects_no_other_of_its_batch_and_leaves_no_trace() -> None:
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


async def test_large_transactions_are_spread_over_blocks_within_the_size_limit() -> None:
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


async def test_transactions_beyond_the_limit_of_pending_ones_are_refused_as_busy_and_accepted_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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


async def test_a_caller_that_goes_away_does_not_cancel_its_transaction() -> None:
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


# --- turns ------------------------------------------------------------------------------------------------------------


def sealers(site: Site, count: int) -> list[str]:
    """The UIDs of the SNs that sealed the newest blocks."""
    return [read(raw).header.sealer for raw in site.log.entries[-count:]]


async def test_sns_at_which_many_transactions_wait_seal_blocks_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN_SECONDS", 1000.0)
    monkeypatch.setattr(module, "CROWD", 3)
    site = Site(sls=9)
    site.ledger.join("sn-3", "SN")
    site.ledger.join("sn-2b", "SN")  # a witness: it has no API and seals nothing
    for uid in ("sn-1", "sn-2", "sn-3"):
        site.ledger.send(uid, Announce({"api": f"{uid}:1"}), network.CONTRACT)
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


async def test_an_sn_at_which_few_transactions_wait_does_not_wait_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN_SECONDS", 1000.0)
    site = Site()
    async with site.miner("sn-1") as miner:
        for _ in range(2):
            await miner.submit(site.announcement().raw)
    assert sealers(site, 2) == ["sn-1", "sn-1"]


async def test_the_turn_of_an_absent_sn_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN_SECONDS", 0.01)
    monkeypatch.setattr(module, "CROWD", 3)
    site = Site(sls=9)
    async with site.miner("sn-1") as miner:
        await asyncio.gather(*(miner.submit(site.announcement(f"sl-{n}").raw) for n in range(9)))
    assert sealers(site, 1) == ["sn-1"]


# --- what it serves ---------------------------------------------------------------------------------------------------


async def test_blocks_come_from_memory_or_from_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarmlearning.sn.recent.RECENT_BLOCKS", 2)
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


async def test_reached_waits_until_the_chain_has_a_height() -> None:
    site = Site()
    async with site.miner() as miner:
        await miner.reached(0)
        waiting = asyncio.create_task(miner.reached(miner.chain.height + 1))
        await asyncio.sleep(0)
        assert not waiting.done()
        await miner.submit(site.announcement().raw)
        await waiting


async def test_a_network_cannot_be_founded_twice() -> None:
    site = Site()
    (genesis,) = read(site.log.entries[0]).transactions
    async with site.miner() as miner:
        with pytest.raises(Rejection) as refusal:
            await miner.found(genesis)
        assert refusal.value.code in ("other-network", "founded-already")


async def test_a_transaction_that_the_sn_cannot_seal_does_not_fail_those_beside_it() -> None:
    """The certificate of the sealing SN is revoked: another SN can seal that."""
    site = Site()
    site.ledger.join("op", "SWCI")
    honest = [site.announcement(address=f"here:{number}") for number in range(1, 6)]
    poison = site.ledger.write("op", network.CONTRACT, Revoke(thumbprint(site.ledger.actors["sn-1"].pair.certificate)))
    async with site.miner() as miner:
        answers = await asyncio.gather(
            *(miner.commit(signed) for signed in (*honest[:2], poison, *honest[2:])), return_exceptions=True
        )
        assert isinstance(answers.pop(2), UnavailableError)
        assert set(map(type, answers)) == {int}
    async with site.miner("sn-2") as other:
        assert await other.commit(poison) == other.chain.height


async def test_the_only_sn_refuses_a_transaction_that_would_keep_it_from_sealing() -> None:
    site = Site()
    site.ledger.send("sn-2", Leave(), network.CONTRACT)
    site.ledger.join("op", "SWCI")
    poison = site.ledger.write("op", network.CONTRACT, Revoke(thumbprint(site.ledger.actors["sn-1"].pair.certificate)))
    async with site.miner() as miner:
        with pytest.raises(Rejection, match="last-sn"):
            await miner.commit(poison)
        assert await miner.commit(site.announcement()) == miner.chain.height


async def test_a_transaction_does_not_wait_for_the_flood_of_another_organisation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_BATCH", 4)
    site = Site()
    async with site.miner() as miner:
        flood = [miner.commit(site.announcement(), "flood") for _ in range(40)]
        heights = await asyncio.gather(*flood, miner.commit(site.announcement(), "honest"))
    assert heights[-1] == min(heights)
    assert max(heights) >= heights[-1] + 9


async def test_the_waiting_transactions_of_one_organisation_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PENDING_OF_ONE", 5)
    site = Site()
    async with site.miner() as miner:
        flood = [miner.commit(site.announcement(), "flood") for _ in range(8)]
        *outcomes, honest = await asyncio.gather(
            *flood, miner.commit(site.announcement(), "honest"), return_exceptions=True
        )
    busy = [outcome for outcome in outcomes if isinstance(outcome, BusyError)]
    assert len(busy) == 3
    assert str(busy[0]) == "5 transactions of organisation flood wait already; send it again in a moment"
    assert isinstance(honest, int)


async def test_blocks_are_shorter_where_organisations_share_an_sn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BATCH_OF_MANY", 2)
    site = Site()
    site.ledger.join("op", "SWCI")
    new = organisation("org-2", create_authority("CA-2", 30))
    site.ledger.send("op", AdmitOrganisation(new), network.CONTRACT)
    async with site.miner() as miner:
        heights = await asyncio.gather(*(miner.commit(site.announcement(), "flood") for _ in range(6)))
    assert [heights.count(height) for height in sorted(set(heights))] == [2, 2, 2]


async def test_an_sn_does_not_wait_for_its_turn_while_an_organisation_has_but_one_transaction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TURN_SECONDS", 3600.0)
    site = Site()
    for uid in ("sn-2", "sn-1"):  # it is the other one's turn
        site.ledger.send(uid, Announce({"api": f"{uid}:1"}), network.CONTRACT)
    async with site.miner("sn-1") as miner:
        flood = [asyncio.create_task(miner.commit(site.announcement(), "flood")) for _ in range(20)]
        assert not (await asyncio.wait(flood, timeout=0.1))[0]
        async with asyncio.timeout(120):
            await miner.commit(site.announcement(), "honest")
            await asyncio.gather(*flood)
