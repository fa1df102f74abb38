"""An SN that starts from its checkpoint is the SN it was; one whose checkpoint is of no use only starts more slowly."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from support.local_sn import member, running_sn
from support.mining import Site
from support.network import Ledger, read
from swarmlearning.identity.identity import Identity
from swarmlearning.ledger.block import seal
from swarmlearning.ledger.bodies import Announce
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.checkpoint import decode, encode
from swarmlearning.ledger.contracts import network
from swarmlearning.node.checkpoints import FILE
from swarmlearning.node.errors import NodeError
from swarmlearning.sn import rechecking
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.node import CHAIN_FILE
from swarmlearning.sn.rechecking import recheck

Identities = dict[str, Identity]


@pytest.fixture
def site() -> Site:
    """A chain whose transactions are announcements, but for one void slot."""
    made = Site()
    for number in range(1, 5):
        made.ledger.send("sl-0", Announce({"fs": f"here:{number}"}), network.CONTRACT)
    made.ledger.void("sn-2")
    made.ledger.send("sl-0", Announce({"fs": "here:9"}), network.CONTRACT)
    return made


def checkpoint_of(site: Site) -> Chain:
    return decode(encode(site.ledger.chain))


def new_miner(site: Site) -> Miner:
    return Miner(site.log, "sn-1", site.ledger.actors["sn-1"].signer, lambda: site.ledger.clock)


async def resumed(site: Site, chain: Chain) -> Miner:
    miner = new_miner(site)
    await miner.resume(chain)
    return miner


async def test_a_miner_starts_from_the_checkpoint_and_replays_only_what_came_after(site: Site) -> None:
    chain = checkpoint_of(site)
    site.ledger.send("sl-0", Announce({"fs": "there:1"}), network.CONTRACT)
    miner = await resumed(site, chain)
    assert miner.chain is chain
    await miner.load()
    assert encode(miner.chain) == encode(site.ledger.chain)
    assert await miner.blocks(0, 100) == site.log.entries
    assert await miner.blocks(chain.height, 2) == site.log.entries[-2:]
    state = miner.state(chain.height)
    assert state is not None
    assert state.state_hash == chain.world.state_hash()


async def test_a_miner_starts_from_the_checkpoint_of_a_log_that_returns_a_few_blocks_at_a_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = site.log.read
    monkeypatch.setattr(site.log, "read", lambda start, limit: read(start, min(limit, 2)))
    chain = checkpoint_of(site)
    miner = await resumed(site, chain)
    assert miner.chain is chain
    assert await miner.blocks(0, 100) == site.log.entries


async def test_a_transaction_that_was_accepted_before_a_restart_has_the_same_answer_after_it(site: Site) -> None:
    signed = site.announcement()
    async with site.miner() as miner:
        height = await miner.commit(signed)
        chain = decode(encode(miner.chain))
    assert await (await resumed(site, chain)).commit(signed) == height


async def test_transactions_of_a_void_block_do_not_count_as_accepted(site: Site) -> None:
    signed = site.announcement()
    header = read(site.ledger.seal(signed)).header
    signer = site.ledger.actors["sn-1"].signer
    assert site.ledger.append(seal(msgspec.structs.replace(header, state_hash="0" * 64), [signed], signer).raw)
    site.ledger.send("sl-0", Announce({"fs": "there:1"}), network.CONTRACT)
    miner = await resumed(site, checkpoint_of(site))
    assert miner._recent.height_of(signed.id) is None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda site, chain: replace(chain, world=Ledger().chain.world),
        lambda site, chain: replace(chain, hash="0" * 64, hashes={**chain.hashes, chain.height: "0" * 64}),
        lambda site, chain: Ledger().chain,
        lambda site, chain: site.log.entries.pop() and chain,
    ],
    ids=["another state", "another head", "another network", "a chain that is longer than the log"],
)
async def test_a_checkpoint_that_does_not_fit_the_log_costs_a_replay_and_nothing_else(
    site: Site, wrong: Callable[[Site, Chain], Chain], caplog: pytest.LogCaptureFixture
) -> None:
    miner = await resumed(site, wrong(site, checkpoint_of(site)))
    assert miner.chain.height == -1
    assert "the chain is replayed" in caplog.text
    await miner.load()
    assert miner.chain.height == len(site.log.entries) - 1
    assert await miner.blocks(0, 100) == site.log.entries


# --- what was not replayed at the start -----------------------------------------------------------------------------


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rechecking, "REST", 0.0)


@pytest.mark.usefixtures("hasty")
async def test_blocks_before_the_checkpoint_that_lead_to_its_state_pass_verification(site: Site) -> None:
    await recheck(site.log.read, checkpoint_of(site))


@pytest.mark.usefixtures("hasty")
async def test_an_old_block_that_was_altered_is_found_while_the_sn_works(site: Site) -> None:
    chain = checkpoint_of(site)
    site.log.entries[2] = site.log.entries[2].replace(b"e", b"f", 1)
    with pytest.raises(NodeError, match="swarm sn repair"):
        await recheck(site.log.read, chain)


@pytest.mark.usefixtures("hasty")
async def test_blocks_that_are_missing_before_the_checkpoint_are_found_while_the_sn_works(site: Site) -> None:
    chain = checkpoint_of(site)
    del site.log.entries[3:]
    with pytest.raises(NodeError, match="block 3 is missing"):
        await recheck(site.log.read, chain)


@pytest.mark.usefixtures("hasty")
async def test_a_state_to_which_the_blocks_do_not_lead_is_found_while_the_sn_works(site: Site) -> None:
    with pytest.raises(NodeError, match="do not lead to the state of the checkpoint"):
        await recheck(site.log.read, replace(checkpoint_of(site), world=Ledger().chain.world))


# --- whole SNs ------------------------------------------------------------------------------------------------------


async def grown(tmp_path: Path, identities: Identities) -> Chain:
    """An SN has worked in `tmp_path`, and stopped; the chain as it left it."""
    async with running_sn(tmp_path, identities["SN-1"]) as sn, member(sn["api"], identities["SL-1"]) as sl:
        await sl.register()
        for number in range(1, 4):
            await sl.send(Announce({"fs": f"here:{number}"}))
        return await sl.catch_up()


async def chain_after_restart(tmp_path: Path, identities: Identities) -> Chain:
    async with running_sn(tmp_path, identities["SN-1"]) as sn, member(sn["api"], identities["SL-1"]) as sl:
        return await sl.catch_up()


async def test_an_sn_writes_a_checkpoint_when_it_stops_and_starts_from_it(
    tmp_path: Path, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await grown(tmp_path, identities)
    found: list[Chain] = []
    resume = Miner.resume

    async def observed(miner: Miner, chain: Chain) -> None:
        await resume(miner, chain)
        found.append(miner.chain)

    monkeypatch.setattr(Miner, "resume", observed)
    after = await chain_after_restart(tmp_path, identities)
    assert [chain.height for chain in found] == [before.height]
    assert after.hashes[before.height] == before.hash


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(path.read_bytes().replace(b"SL", b"SN")),
        lambda path: path.write_bytes(encode(Ledger().chain)),
        lambda path: path.write_bytes(encode(replace(decode(path.read_bytes()), world=Ledger().chain.world))),
    ],
    ids=["missing", "empty", "truncated", "altered", "another network's", "another state with the right digest"],
)
async def test_a_useless_checkpoint_costs_only_time_at_the_start(
    tmp_path: Path, identities: Identities, spoil: Callable[[Path], None]
) -> None:
    before = await grown(tmp_path, identities)
    spoil(tmp_path / FILE)
    after = await chain_after_restart(tmp_path, identities)
    assert after.hashes[before.height] == before.hash
    assert network.node(after.world, "sl-1") is not None


async def test_an_sn_whose_old_blocks_turn_out_to_be_wrong_ends_and_starts_without_a_checkpoint_next_time(
    tmp_path: Path, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    await grown(tmp_path, identities)

    async def wrong(read: object, resumed: Chain, base: Chain | None) -> None:
        raise NodeError("the chain file does not hold")

    monkeypatch.setattr("swarmlearning.sn.node.recheck", wrong)
    with suppress(asyncio.CancelledError), pytest.RaisesGroup(NodeError, flatten_subgroups=True):
        async with running_sn(tmp_path, identities["SN-1"]):
            await asyncio.sleep(60)
    assert not (tmp_path / FILE).exists()
    assert (tmp_path / CHAIN_FILE).exists()
