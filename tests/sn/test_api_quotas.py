"""What an SN grants to organisations that share it: over real connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from support.certs import make_workspace
from support.local_sn import Member, member, running_sn
from support.uids import uid
from swarmlearning.api.client import Refusal, Unavailable
from swarmlearning.ledger.bodies import Announce, NodeType, Quotas, SetQuotas
from swarmlearning.rates import Rate
from swarmlearning.sn.api import blocks as blocks_api
from swarmlearning.sn.api import transactions
from swarmlearning.sn.api.service import Sn

OWNERS: dict[str, tuple[str, NodeType]] = {
    "SWCI-1": ("CA-1", "SWCI"),
    "SL-1": ("CA-1", "SL"),
    "SWCI-2": ("CA-2", "SWCI"),
    "SL-2": ("CA-2", "SL"),
}


class Network:
    """An SN of the organisation `ca-1`, and registered nodes of it and of `ca-2`, by name."""

    def __init__(self, nodes: dict[str, Member]) -> None:
        self.nodes = nodes

    async def limit(self, quotas: Quotas) -> None:
        """Gives `ca-2` these quotas: both organisations sign."""
        for operator in ("SWCI-1", "SWCI-2"):
            await self.nodes[operator].send(SetQuotas("ca-2", quotas))


@pytest_asyncio.fixture
async def shared(tmp_path: Path) -> AsyncIterator[Network]:
    make_workspace(tmp_path / "cert", ["SN-1"])
    for name, (authority, _) in OWNERS.items():
        make_workspace(tmp_path / "cert", [name], ca_name=authority)
    identities = make_workspace(tmp_path / "cert", ["SN-1", "SWCI-1", "SL-1"])
    identities |= make_workspace(tmp_path / "cert", ["SWCI-2", "SL-2"], ca_name="CA-2")
    async with running_sn(tmp_path / "sn", identities["SN-1"]) as sn, AsyncExitStack() as stack:
        nodes: dict[str, Member] = {}
        for name, (_, kind) in OWNERS.items():
            made = member(sn["api"], identities[name], uid(name.lower()), kind)
            nodes[name] = await stack.enter_async_context(made)
            await nodes[name].register()
        yield Network(nodes)


async def test_block_streams_of_one_organisation_are_bounded_by_its_quota_and_others_read_on(shared: Network) -> None:
    await shared.limit(Quotas(streams=1))
    two, one = shared.nodes["SL-2"].client, shared.nodes["SL-1"].client
    async with aclosing(two.blocks(0)) as first:
        await anext(first)
        operator = shared.nodes["SWCI-2"].client
        with pytest.raises(Unavailable, match=r"organisation ca-2 has 1 block streams, its quota of streams"):
            await anext(operator.blocks(0))
        async with aclosing(one.blocks(0)) as other:
            await anext(other)


async def test_an_organisation_waits_for_past_blocks_over_its_quota_but_not_for_new_ones(
    shared: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shared.limit(Quotas(history_bytes=1))
    sl, begun, events = shared.nodes["SL-1"], asyncio.Event(), blocks_api._events
    head = (await sl.catch_up()).height

    async def noted(sn: Sn, start: int, *rest: Any) -> AsyncIterator[bytes]:
        async for event in events(sn, start, *rest):
            if start > head:
                begun.set()
            yield event

    monkeypatch.setattr(blocks_api, "COMMENT_SECONDS", 0.2)
    monkeypatch.setattr(blocks_api, "_events", noted)
    async with aclosing(shared.nodes["SL-2"].client.blocks(0)) as past, aclosing(sl.client.blocks(0)) as other:
        await anext(past)
        waiting = asyncio.ensure_future(anext(past))
        for _ in range(head + 1):
            await anext(other)
        async with aclosing(shared.nodes["SWCI-2"].client.blocks(head + 1)) as new:
            coming = asyncio.ensure_future(anext(new))
            await begun.wait()  # what is on the chain before counts as history
            await sl.send(Announce({}))
            await coming
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_transactions_over_the_quota_of_an_organisation_are_refused_and_those_of_others_are_committed(
    shared: Network,
) -> None:
    await shared.limit(Quotas(transactions=1))
    sl = shared.nodes["SL-2"]
    await sl.catch_up()
    written = [sl.write(Announce({})).raw for _ in range(30)]
    # All at once: one after the other, a slow machine would stay within the quota.
    answers = await asyncio.gather(*map(sl.client.submit, written), return_exceptions=True)
    refused = [answer for answer in answers if not isinstance(answer, int)]
    assert refused
    for each in refused:
        assert isinstance(each, Refusal)
        assert each.code == "quota"
        assert "organisation ca-2 has used its quota of 1 transactions a second" in str(each)
    await shared.nodes["SL-1"].send(Announce({}))
    await shared.nodes["SWCI-2"].send(Announce({}))


async def test_an_organisation_that_sends_very_many_certificates_waits_and_others_register_meanwhile(
    shared: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "CERTIFICATES", Rate(1, 1, seconds=1000))
    two, one = shared.nodes["SL-2"], shared.nodes["SL-1"]

    async def flood() -> None:
        for number in range(5):
            two.author.uid = uid(f"sl-2-{number}")
            await two.register()

    with pytest.raises(Refusal, match="organisation ca-2 sends more certificates than 1 a second") as refused:
        await flood()
    assert refused.value.code == "quota"
    one.author.uid = one.uid = uid("another")
    await one.register()
