"""A node compares the chain that it follows with those of all SNs, and proves which SN has sealed two."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from support.certs import authority_in
from support.fixtures import SECONDS
from support.network import Ledger
from support.scripted_sn import Answer, ScriptedSn, scripted_sn
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.bodies import Announce, Equivocation
from swarmlearning.ledger.contracts import network
from swarmlearning.node.comparing import Comparison
from swarmlearning.node.errors import NodeError
from swarmlearning.node.follower import Follower
from swarmlearning.node.sender import Author

Identities = dict[str, Identity]


@pytest.fixture
def ledger(workspace: Path) -> Ledger:
    """Two SNs and an SL."""
    made = Ledger(authority_in(workspace))
    made.join("sn-2", "SN")
    made.join("sl-1")
    return made


def parted(ledger: Ledger) -> tuple[list[bytes], list[bytes]]:
    """Two chains of one network that part at the newest block: sn-2 has sealed both; the second goes on by sn-1."""
    block = ledger.seal(ledger.write("sl-1", network.CONTRACT, Announce({"fs": "here:1"})), sealer="sn-2")
    first = [*ledger.blocks, block]
    ledger.append(ledger.seal(ledger.write("sl-1", network.CONTRACT, Announce({"fs": "there:1"})), sealer="sn-2"))
    return first, ledger.blocks


@asynccontextmanager
async def comparing(ledger: Ledger, identity: Identity, *sns: ScriptedSn) -> AsyncIterator[tuple[Follower, Comparison]]:
    """The comparison of a follower of the first SN that has all its blocks."""
    follower = Follower([sn.address for sn in sns], client_context(identity), lambda network, name: None)
    work = asyncio.create_task(follower.run())
    try:
        async with asyncio.timeout(SECONDS):
            await follower.reached(len(sns[0].blocks) - 1)
            author = Author(ledger.actors["sl-1"].signer, "sl-1", 1, 100)
            yield follower, Comparison(follower, author)
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        await follower.close()


async def test_a_node_that_was_shown_a_chain_of_its_own_ends_and_proves_that_to_the_others(
    ledger: Ledger, identities: Identities
) -> None:
    shown, real = parted(ledger)
    received: list[str] = []

    def accept(raw: str) -> Answer:
        received.append(raw)
        return 200, {"height": 9}

    sn = identities["SN-1"]
    async with scripted_sn(sn, shown) as false, scripted_sn(sn, real) as two, scripted_sn(sn, real) as three:
        two.answers, three.answers = [accept], [accept]
        async with comparing(ledger, identities["SL-1"], false, two, three) as (_, comparison):
            with pytest.raises(NodeError, match="differs from that of 2 of 3 SNs: it has followed an SN with a chain"):
                await comparison.compare()
    signed = ledger.chain.rules.parse(received[0])
    assert isinstance(signed.content.body, Equivocation)
    ledger.commit(signed)  # it follows from a block that this chain has
    assert [known.uid for known in network.admitted(ledger.chain.world)] == ["sn-1"]


async def test_a_node_with_the_chain_of_most_sns_goes_on_and_proves_what_another_one_shows(
    ledger: Ledger, identities: Identities
) -> None:
    shown, real = parted(ledger)
    received: list[str] = []

    def accept(raw: str) -> Answer:
        received.append(raw)
        return 200, {"height": 9}

    sn = identities["SN-1"]
    async with scripted_sn(sn, real) as one, scripted_sn(sn, real) as two, scripted_sn(sn, shown) as false:
        false.answers = [lambda raw: (503, {"code": "unavailable", "detail": "no", "height": 0})]
        one.answers, two.answers = [accept], [accept]
        async with comparing(ledger, identities["SL-1"], one, two, false) as (follower, comparison):
            await comparison.compare()
            assert follower.chain.hash == ledger.chain.hash
    ledger.commit(ledger.chain.rules.parse(received[0]))
    assert not network.admits(ledger.chain.world, "sn-2")


async def test_sns_that_are_behind_or_gone_do_not_count_against_a_chain(ledger: Ledger, identities: Identities) -> None:
    sn = identities["SN-1"]
    async with (
        scripted_sn(sn, ledger.blocks) as one,
        scripted_sn(sn, ledger.blocks[:2]) as behind,
        scripted_sn(sn, ledger.blocks[:1]) as further,
        comparing(ledger, identities["SL-1"], one, behind, further) as (follower, comparison),
    ):
        await comparison.compare()
        assert follower.chain.hash == ledger.chain.hash


@pytest.mark.parametrize(("ahead_ms", "how"), [(3_600_000, "behind"), (-3_600_000, "ahead of")])
async def test_a_node_whose_clock_is_off_from_the_sns_is_warned_once(
    ledger: Ledger, identities: Identities, caplog: pytest.LogCaptureFixture, ahead_ms: int, how: str
) -> None:
    sn = identities["SN-1"]
    async with (
        scripted_sn(sn, ledger.blocks) as one,
        scripted_sn(sn, ledger.blocks) as two,
        comparing(ledger, identities["SL-1"], one, two) as (_, comparison),
    ):
        await comparison.compare_clocks()
        assert "clock" not in caplog.text
        one.ahead_ms = two.ahead_ms = ahead_ms
        for _ in range(2):
            await comparison.compare_clocks()
    assert caplog.text.count(f"this node's clock is 3600 s {how} the SNs': set it right (NTP)") == 1


async def test_a_node_ends_where_its_only_sn_was_restored_and_goes_on_with_another_block_below_its_head(
    ledger: Ledger, identities: Identities
) -> None:
    """It waited for ever for the block after its head, and said nothing."""
    restored = list(ledger.blocks)
    for number in range(3):
        ledger.send("sl-1", Announce({"fs": f"lost:{number + 1}"}), network.CONTRACT)
    seen = list(ledger.blocks)
    other = Ledger(ledger.authority)
    restored = [*restored, other.blocks[0]]  # whatever it is, it is another one than the node has verified
    async with (
        scripted_sn(identities["SN-1"], seen) as sn,
        comparing(ledger, identities["SL-1"], sn) as (_, comparison),
    ):
        await comparison.compare()
        sn.blocks = restored[:-1]
        await comparison.compare()  # as an SN that is behind: it may catch up
        sn.blocks = restored
        with pytest.raises(NodeError, match=r"an SN was restored from a backup\. Start it again"):
            await comparison.compare()
