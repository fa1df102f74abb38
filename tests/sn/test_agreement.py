"""An SN and the others: who is right, and when it must end."""

import asyncio
import re
from typing import Any, cast

import msgspec
import pytest

from support.governed import three
from support.mining import Site
from support.network import read
from swarmlearning.api.answers import BlockState
from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.ledger import block
from swarmlearning.ledger.bodies import Body, Consent, Equivocation, Recover
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.recovery import Start, named_in, statement
from swarmlearning.node.errors import NodeError
from swarmlearning.sn.agreement import Agreement, Propose, judge, recovery_excluding
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.recent import State

MINE = State(7, "a" * 64, "1" * 64)
DAMAGED = MINE._replace(state_hash="2" * 64)
FORKED = MINE._replace(hash="b" * 64, state_hash="3" * 64)


@pytest.mark.parametrize(
    ("others", "text", "final"),
    [
        ([], "", False),
        ([MINE], "", False),
        ([MINE, MINE], "", False),
        ([DAMAGED], "no majority", False),
        ([MINE, DAMAGED], "no majority", False),
        ([MINE, MINE, DAMAGED, DAMAGED], "no majority", False),
        ([DAMAGED, DAMAGED], "this SN is at fault: the state after block 7 differs from that of 2 of 2", True),
        ([MINE, DAMAGED, DAMAGED, DAMAGED], "this SN is at fault.* 3 of 4", True),
        ([FORKED, FORKED], "this SN is at fault: block 7 differs", True),
    ],
)
def test_an_sn_is_at_fault_when_the_majority_has_another_state(others: list[State], text: str, final: bool) -> None:
    fault = judge(MINE, others)
    assert fault.final is final
    assert (fault.text == "") is (text == "")
    assert re.search(text, fault.text)


class Sn:
    """Another SN as far as it is asked: what it says of a height, of recoveries, and of blocks."""

    address = "other:1"

    def __init__(self, state: State | None, recoveries: list[dict[str, Any]], blocks: list[bytes]) -> None:
        self._state = state
        self._recoveries = recoveries
        self._blocks = blocks
        self.requested = 0

    async def state(self, height: int) -> BlockState:
        if self._state is None:
            raise Unavailable("down")
        return BlockState(height, self._state.hash, self._state.state_hash)

    async def status(self) -> dict[str, Any]:
        return {"recoveries": self._recoveries}

    async def block(self, height: int) -> bytes:
        self.requested += 1
        if height >= len(self._blocks):
            raise Refusal("no-block", "not here", 0)
        return self._blocks[height]


def as_clients(*sns: Sn) -> list[SnClient]:
    return cast(list[SnClient], list(sns))


def miner_proposes(site: Site, miner: Miner, proposed: list[Body]) -> Propose:
    """Returns what proposes for `sn-2` through its own miner, and notes it in `proposed`."""

    async def propose(contract: str, body: Body) -> int:
        proposed.append(body)
        return await miner.commit(site.ledger.write("sn-2", contract, body))

    return propose


def sealed_wrongly(site: Site) -> bytes:
    """A block of sn-1 with a state that is not that of its transactions."""
    good = read(site.ledger.seal())
    header = msgspec.structs.replace(good.header, state_hash="0" * 64)
    return block.seal(header, [], site.ledger.actors["sn-1"].signer).raw


async def test_an_sn_that_all_others_contradict_ends_at_the_next_void_block() -> None:
    site = Site()
    async with site.miner("sn-2") as miner:
        others = as_clients(Sn(FORKED, [], []), Sn(FORKED, [], []), Sn(None, [], []))
        agreement = asyncio.create_task(Agreement("sn-2", miner, lambda: others, miner_proposes(site, miner, [])).run())
        head = await site.log.head()
        await site.log.append(head, sealed_wrongly(site))
        with pytest.raises(NodeError, match="this SN is at fault"):
            await agreement


async def test_sns_that_agree_on_a_void_block_are_not_at_fault() -> None:
    site = Site()
    async with site.miner("sn-2") as miner:
        head = await site.log.head()
        await site.log.append(head, sealed_wrongly(site))
        await miner.reached(head.height + 1)
        mine = miner.state(head.height + 1)
        assert mine is not None
        assert judge(mine, [mine]).text == ""


async def test_a_reported_recovery_counts_only_with_its_sealed_block() -> None:
    site = Site()
    claim = {"height": 2, "by": "sn-1", "lost": ["sn-2"]}
    liar = Sn(None, [claim], site.log.entries)
    assert await recovery_excluding("sn-2", site.ledger.chain, as_clients(liar)) is None


async def test_a_long_list_of_false_recoveries_costs_one_request() -> None:
    site = Site()
    claims = [{"height": 2, "by": "sn-1", "lost": ["sn-2"]} for _ in range(1000)]
    liar = Sn(None, claims, site.log.entries)
    assert await recovery_excluding("sn-2", site.ledger.chain, as_clients(liar)) is None
    assert liar.requested == 1


async def test_an_sn_believes_a_recovery_that_excludes_it_only_with_the_signatures_of_enough_organisations() -> None:
    ledger = three()
    sn, chain = ledger.actors["sn-1"], ledger.chain
    start = Start(chain.network_id, "sn-1", chain.height, chain.hash)
    operator = ledger.actors["op-2"]
    consent = Consent(operator.pem, operator.signer.sign(statement(start, named_in(chain.world, "sn-1", ["sn-2"]), ())))
    claim = {"height": chain.height + 1, "by": "sn-1", "lost": ["sn-2"]}
    for body, believed in ((Recover(("sn-2",)), False), (Recover(("sn-2",), consents=(consent,)), True)):
        signed = ledger.write("sn-1", network.CONTRACT, body)
        raw = chain.seal([signed], chain.world, chain.next_time(ledger.clock), "sn-1", sn.signer).raw
        others = as_clients(Sn(None, [claim], [*ledger.blocks, raw]))
        assert (await recovery_excluding("sn-2", chain, others) is not None) is believed


async def test_an_sn_that_finds_two_sealed_blocks_of_one_height_proves_that_on_the_ledger() -> None:
    site = Site()
    site.ledger.join("sn-3", "SN")
    signed = site.announcement()
    shown = [*site.log.entries, site.ledger.seal(signed, sealer="sn-3")]
    site.ledger.clock += 1_000
    await site.log.append(await site.log.head(), site.ledger.seal(signed, sealer="sn-3"))
    proposed: list[Body] = []
    async with site.miner("sn-2") as miner:
        height = miner.chain.height
        state = State(height, sha256(shown[-1]), "1" * 64)
        others = as_clients(Sn(state, [], shown), Sn(miner.state(height), [], site.log.entries))
        comparing = asyncio.create_task(
            Agreement("sn-2", miner, lambda: others, miner_proposes(site, miner, proposed)).run()
        )
        miner._doubt.set()
        await miner.reached(height + 1)
        comparing.cancel()
        assert [type(body) for body in proposed] == [Equivocation]
        assert [sn.uid for sn in network.admitted(miner.chain.world)] == ["sn-1", "sn-2"]
