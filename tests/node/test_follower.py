"""Following the chain: verified here, resumed where it stopped, refused where it is another one."""

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from support.certs import authority_in, make_workspace
from support.following import following
from support.local_sn import member, running_sn
from support.network import Ledger, read, session
from support.ports import fixed_port
from support.scripted_sn import STATUS, scripted_sn
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.block import seal
from swarmlearning.ledger.bodies import Announce, Revoke
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.checkpoint import decode, encode
from swarmlearning.node.clocks import clock_ms
from swarmlearning.node.errors import NodeError, RefusedError
from swarmlearning.node.follower import Follower

Identities = dict[str, Identity]


@pytest.fixture
def ledger(workspace: Path) -> Ledger:
    """Six blocks: the genesis, two SLs, their sessions, an announcement."""
    made = Ledger(authority_in(workspace))
    for uid in ("sl-1", "sl-2"):
        made.join(uid)
    for uid in ("sl-1", "sl-2"):
        made.send(uid, session())
    made.send("sl-1", Announce({"fs": "here:1"}), "network")
    return made


async def refusal(blocks: list[bytes], identities: Identities) -> str:
    """The error with which a follower ends that receives these blocks."""
    async with scripted_sn(identities["SN-1"], blocks) as sn:
        follower = Follower([sn.address], client_context(identities["SL-1"]), lambda network, name: None)
        try:
            with pytest.raises(NodeError) as refused:
                await follower.run()
        finally:
            await follower.close()
    return str(refused.value)


async def test_a_follower_replays_the_blocks_that_an_sn_sends(ledger: Ledger, identities: Identities) -> None:
    pins: list[tuple[str, str]] = []
    async with (
        scripted_sn(identities["SN-1"], ledger.blocks) as sn,
        following([sn.address], identities["SL-1"], pins) as follower,
    ):
        chain = await follower.reached(5)
    assert chain.hash == ledger.chain.hash
    assert chain.world.state_hash() == ledger.chain.world.state_hash()
    assert pins == [(ledger.chain.network_id, "test")]


async def test_a_follower_resumes_where_the_stream_ended(ledger: Ledger, identities: Identities) -> None:
    async with scripted_sn(identities["SN-1"], ledger.blocks[:3], ends=True) as sn:
        async with following([sn.address], identities["SL-1"]) as follower:
            await follower.reached(2)
            sn.blocks = ledger.blocks
            await follower.reached(5)
        assert sn.asked_from[0] == 0
        assert set(sn.asked_from[1:]) <= {3, 6}
        assert 3 in sn.asked_from


async def test_a_follower_goes_on_after_a_restart_of_the_sn(tmp_path: Path, identities: Identities) -> None:
    port, sn_identity, sl_identity = fixed_port(), identities["SN-1"], identities["SL-1"]
    async with following([f"127.0.0.1:{port}"], sl_identity) as follower:  # before the SN is there
        async with running_sn(tmp_path, sn_identity, port=port) as sn, member(sn["api"], sl_identity) as sl:
            await follower.reached(await sl.register())
        before = follower.chain
        async with running_sn(tmp_path, sn_identity, port=port) as sn, member(sn["api"], sl_identity, "sl-2") as sl:
            chain = await follower.reached(await sl.register())
    assert chain.network_id == before.network_id
    assert chain.height > before.height


async def test_a_follower_switches_to_another_sn_when_one_does_not_answer(
    ledger: Ledger, identities: Identities
) -> None:
    dead = f"127.0.0.1:{fixed_port()}"
    async with (
        scripted_sn(identities["SN-1"], ledger.blocks) as sn,
        following([dead, sn.address], identities["SL-1"]) as follower,
    ):
        await follower.reached(5)
        assert follower.client.address == sn.address
        assert follower.turn_to_next().address == dead


async def test_a_chain_of_another_network_ends_a_follower(ledger: Ledger, identities: Identities) -> None:
    def pin(network: str, name: str) -> None:
        raise NodeError(f"not {name}")

    async with scripted_sn(identities["SN-1"], ledger.blocks) as sn:
        follower = Follower([sn.address], client_context(identities["SL-1"]), pin)
        try:
            with pytest.raises(NodeError, match="not test"):
                await follower.run()
            assert follower.chain.height == -1
        finally:
            await follower.close()


async def test_a_chain_that_forks_ends_a_follower(ledger: Ledger, identities: Identities) -> None:
    """Block 5 of the same network, sealed by its SN, but on another block 4."""
    ledger.chain = Chain()
    blocks, ledger.blocks = ledger.blocks, []
    for raw in blocks[:4]:
        ledger.append(raw)
    for address in ("there:1", "there:2"):
        ledger.send("sl-2", Announce({"fs": address}), "network")
    fork = [*blocks[:5], ledger.blocks[5]]
    assert "sent an invalid block: block 5 follows" in await refusal(fork, identities)


async def test_a_repeated_or_skipped_block_ends_a_follower(ledger: Ledger, identities: Identities) -> None:
    blocks = ledger.blocks
    for shown in ([*blocks[:3], blocks[2]], [*blocks[:3], blocks[4]]):
        assert "sent an invalid block: what stands at height 3 is no block" in await refusal(shown, identities)


async def test_a_chain_without_a_genesis_ends_a_follower(ledger: Ledger, identities: Identities) -> None:
    for first in (b"nonsense", b'{"header":"","transactions":[]}'):
        assert "block 0 is not the genesis of a network" in await refusal([first], identities)
    assert "sent an invalid block" in await refusal(ledger.blocks[1:2], identities)


async def test_a_void_block_changes_nothing(
    ledger: Ledger, identities: Identities, caplog: pytest.LogCaptureFixture
) -> None:
    before = ledger.chain.world.state_hash()
    ledger.void()
    with caplog.at_level(logging.ERROR):
        async with (
            scripted_sn(identities["SN-1"], ledger.blocks) as sn,
            following([sn.address], identities["SL-1"]) as follower,
        ):
            chain = await follower.reached(6)
    assert chain.world.state_hash() == before
    assert "block 6 is void: " in caplog.text


async def test_a_follower_does_not_believe_an_sn_that_sends_what_no_sn_has_sealed(
    ledger: Ledger, identities: Identities
) -> None:
    forged = seal(read(ledger.seal()).header, [], ledger.actors["sl-2"].signer).raw
    assert "height 6 is no block" in await refusal([*ledger.blocks, forged], identities)


async def test_a_slow_reader_of_a_follower_skips_states_and_gets_the_newest(
    ledger: Ledger, identities: Identities
) -> None:
    async with (
        scripted_sn(identities["SN-1"], ledger.blocks) as sn,
        following([sn.address], identities["SL-1"]) as follower,
    ):
        chains = follower.chains()
        assert (await anext(chains)).height == -1
        await follower.reached(5)
        assert (await anext(chains)).height == 5
        coming = asyncio.ensure_future(anext(chains))
        await asyncio.sleep(0)
        assert not coming.done()
        coming.cancel()


async def test_a_follower_switches_to_another_sn_when_one_sends_an_invalid_block(
    ledger: Ledger, identities: Identities, caplog: pytest.LogCaptureFixture
) -> None:
    """A repeated block follows no head; the other SN's blocks do."""
    async with (
        scripted_sn(identities["SN-1"], [*ledger.blocks[:3], ledger.blocks[1]]) as false,
        scripted_sn(identities["SN-1"], ledger.blocks) as honest,
        following([false.address, honest.address], identities["SL-1"]) as follower,
    ):
        chain = await follower.reached(5)
        assert follower.turn_to_next().address == honest.address
    assert chain.hash == ledger.chain.hash
    assert f"SN {false.address} sent an invalid block" in caplog.text


async def test_a_follower_that_every_sn_refuses_ends_with_the_reason(ledger: Ledger, identities: Identities) -> None:
    async with (
        scripted_sn(identities["SN-1"], ledger.blocks, refuses="the certificate of CN=SL-1 has been revoked") as one,
        scripted_sn(identities["SN-1"], ledger.blocks, refuses="the certificate of CN=SL-1 has been revoked") as two,
    ):
        follower = Follower([one.address, two.address], client_context(identities["SL-1"]), lambda *_: None)
        with pytest.raises(RefusedError, match="refuses this node: the certificate of CN=SL-1 has been revoked"):
            await follower.run()
        await follower.close()


async def test_a_follower_that_one_of_two_sns_refuses_follows_the_other(ledger: Ledger, identities: Identities) -> None:
    async with (
        scripted_sn(identities["SN-1"], ledger.blocks, refuses="you are revoked") as false,
        scripted_sn(
            identities["SN-1"], ledger.blocks[:2], ends=True, answers=[lambda raw: (200, STATUS)] * 100
        ) as honest,
        following([false.address, honest.address], identities["SL-1"]) as follower,
    ):
        await follower.reached(1)
        for _ in range(4):  # both again, with nothing new to send
            await follower.turned()
        honest.blocks = ledger.blocks
        assert (await follower.reached(5)).hash == ledger.chain.hash


async def test_a_follower_forgets_the_address_of_a_revoked_sn(ledger: Ledger, identities: Identities) -> None:
    sn = ledger.join("sn-2", "SN")
    ledger.send("sn-2", Announce({"api": "127.0.0.1:1"}), "network")
    ledger.join("op", "SWCI")
    ledger.send("op", Revoke(thumbprint(sn.pair.certificate)), "network")
    async with (
        scripted_sn(identities["SN-1"], ledger.blocks[:-1]) as honest,
        following([honest.address], identities["SL-1"]) as follower,
    ):
        await follower.reached(len(ledger.blocks) - 2)
        assert "127.0.0.1:1" in follower.addresses
    async with (
        scripted_sn(identities["SN-1"], ledger.blocks) as honest,
        following([honest.address], identities["SL-1"]) as follower,
    ):
        await follower.reached(len(ledger.blocks) - 1)
        assert follower.addresses == (honest.address,)


async def test_an_sn_that_the_ledger_does_not_admit_is_not_followed(
    ledger: Ledger, identities: Identities, workspace: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A certificate for the role SN is not enough once the network is known."""
    false = make_workspace(tmp_path, ["SN-9"], authority_in(workspace))["SN-9"]
    async with (
        scripted_sn(identities["SN-1"], ledger.blocks[:2], ends=True) as honest,
        scripted_sn(false, ledger.blocks) as relay,
        following([honest.address, relay.address], identities["SL-1"]) as follower,
    ):
        await follower.reached(1)
        await follower.turned()
        await follower.turned()
        assert relay.asked_from == []
        honest.blocks = ledger.blocks
        assert (await follower.reached(5)).hash == ledger.chain.hash
    assert "'CN=SN-9,OU=Swarm-Learning' is that of no SN which the ledger admits" in caplog.text


# --- from a checkpoint ----------------------------------------------------------------------------------------------


async def test_a_follower_with_a_checkpoint_fetches_only_what_came_after_it(
    ledger: Ledger, identities: Identities
) -> None:
    verified = decode(encode(ledger.chain))
    ledger.send("sl-1", Announce({"fs": "here:2"}), "network")
    async with scripted_sn(identities["SN-1"], ledger.blocks) as sn:
        async with following([sn.address], identities["SL-1"], verified=verified) as follower:
            chain = await follower.reached(6)
        assert sn.asked_from == [6]
    assert encode(chain) == encode(ledger.chain)


@pytest.mark.parametrize("other", ["state", "network", "height"])
async def test_a_checkpoint_that_is_not_of_the_sn_s_chain_costs_a_follower_only_a_replay(
    ledger: Ledger, identities: Identities, other: str, caplog: pytest.LogCaptureFixture
) -> None:
    verified = decode(encode(ledger.chain))
    match other:
        case "state":
            verified = replace(verified, world=Ledger().chain.world)
        case "network":
            verified = decode(encode(Ledger().chain))
        case "height":
            ledger.blocks.pop()
    async with scripted_sn(identities["SN-1"], ledger.blocks) as sn:
        async with following([sn.address], identities["SL-1"], verified=verified) as follower:
            chain = await follower.reached(len(ledger.blocks) - 1)
        assert sn.asked_from[0] == 0
    assert "replayed" in caplog.text
    assert chain.height == len(ledger.blocks) - 1


# --- blocks that are ahead of the clock ------------------------------------------------------------------------------


def ahead(ledger: Ledger) -> bytes:
    """A next block an hour ahead of this machine's clock, not appended."""
    time_ms = clock_ms() + 3_600_000
    return ledger.chain.seal((), ledger.chain.world, time_ms, "sn-1", ledger.actors["sn-1"].signer).raw


async def test_a_block_that_is_far_ahead_is_not_acted_on_while_only_one_sn_has_it(
    ledger: Ledger, identities: Identities, caplog: pytest.LogCaptureFixture
) -> None:
    false = ahead(ledger)
    async with (
        scripted_sn(identities["SN-1"], [*ledger.blocks, false]) as one,
        scripted_sn(identities["SN-1"], ledger.blocks[:3]) as two,
        following([one.address, two.address], identities["SL-1"]) as follower,
    ):
        while not two.asked_from:  # it has turned from the first one
            await follower.turned()
            await asyncio.sleep(0)
        assert follower.chain.height == 5
        ledger.send("sl-1", Announce({"fs": "there:1"}), "network")
        two.show(ledger.blocks)
        assert (await follower.reached(6)).hash == ledger.chain.hash
    assert "block 6, sealed by SN SN-1, is 3600 s ahead of this node's clock: it is not acted on until" in caplog.text


async def test_a_block_that_is_far_ahead_is_acted_on_once_most_sns_have_it(
    ledger: Ledger, identities: Identities, caplog: pytest.LogCaptureFixture
) -> None:
    accepted = ahead(ledger)
    async with (
        scripted_sn(identities["SN-1"], [*ledger.blocks, accepted]) as one,
        scripted_sn(identities["SN-1"], [*ledger.blocks, accepted]) as two,
        following([one.address, two.address], identities["SL-1"]) as follower,
    ):
        chain = await follower.reached(6)
    assert chain.hash == sha256(accepted)
    assert "and most SNs have it: set the clock right (NTP)" in caplog.text


async def test_the_only_sn_of_a_network_is_followed_though_its_clock_is_far_ahead(
    ledger: Ledger, identities: Identities
) -> None:
    async with (
        scripted_sn(identities["SN-1"], [*ledger.blocks, ahead(ledger)]) as sn,
        following([sn.address], identities["SL-1"]) as follower,
    ):
        await follower.reached(6)
