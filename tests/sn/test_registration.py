"""An SN registers through others, none of which it believes alone."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import cast

import pytest

from support.mining import Site, full_disk
from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.ledger.contracts import network
from swarmlearning.node.errors import NodeError
from swarmlearning.node.organisations import NOT_DESCRIBED
from swarmlearning.node.renewing import LiveIdentity
from swarmlearning.node.sender import Author
from swarmlearning.sn import registration as module
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.registration import Registration

Answer = Callable[[str], Awaitable[int]]


class Other:
    """Another SN, which gives this answer to each transaction."""

    address = "other:1"

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.received = 0

    async def submit(self, raw: str) -> int:
        self.received += 1
        return await self._answer(raw)


async def name_a_block_that_never_comes(raw: str) -> int:
    return 2**53 - 1


async def refuse(raw: str) -> int:
    raise Refusal("not-allowed", "so it claims", 0)


async def fail(raw: str) -> int:
    raise Unavailable("down")


def registration(site: Site, miner: Miner, *others: Other) -> Registration:
    """That of `sn-7`."""
    actor = site.ledger.actors["sn-7"]
    own = cast(LiveIdentity, SimpleNamespace(current=SimpleNamespace(bundle=actor.pem)))
    clients = [cast(SnClient, other) for other in others]
    return Registration("SN-7", own, NOT_DESCRIBED, Author(actor.signer, "sn-7", 1), miner, lambda: clients)


@pytest.mark.parametrize("lie", [name_a_block_that_never_comes, refuse, fail])
async def test_an_sn_about_which_one_other_lies_registers_through_the_next(
    lie: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REACH_SECONDS", 0.2)
    site = Site()
    site.ledger.actor("sn-7", "SN")
    async with site.miner("sn-1") as voter, site.miner("sn-7") as miner, asyncio.timeout(60):

        async def takes(raw: str) -> int:
            monkeypatch.setattr(module, "REACH_SECONDS", 60.0)  # what it names comes, however slow this machine is
            return await voter.submit(raw)

        liar, honest = Other(lie), Other(takes)
        await registration(site, miner, liar, honest).take_place({})
        assert network.admits(miner.chain.world, "sn-7")
    assert (liar.received, honest.received) == (1, 1)


async def test_an_sn_that_the_only_other_refuses_ends_with_the_reason() -> None:
    site = Site()
    site.ledger.actor("sn-7", "SN")
    async with site.miner("sn-7") as miner:
        with pytest.raises(NodeError, match="the network refuses this SN: so it claims"):
            await registration(site, miner, Other(refuse)).take_place({})


async def test_an_sn_that_the_chain_refuses_ends_although_another_sn_is_down() -> None:
    site = Site()
    site.ledger.actor("sn-7", "SL")  # its certificate is for another role
    async with site.miner("sn-7") as miner:
        with pytest.raises(NodeError, match="the network refuses this SN: so it claims"):
            await registration(site, miner, Other(fail), Other(refuse)).take_place({})


async def test_an_sn_whose_organisation_has_used_up_a_quota_registers_later() -> None:
    site = Site()
    site.ledger.actor("sn-7", "SN")
    attempts = 0

    async with site.miner("sn-1") as voter, site.miner("sn-7") as miner, asyncio.timeout(60):

        async def accept_the_third(raw: str) -> int:
            nonlocal attempts
            attempts += 1
            if attempts < 3:
                raise Refusal("quota", "organisation org-1 has used its quota", 0)
            return await voter.submit(raw)

        await registration(site, miner, Other(accept_the_third)).take_place({})
        assert network.admits(miner.chain.world, "sn-7")
    assert attempts == 3


async def test_a_start_whose_registration_was_sealed_but_not_ordered_at_first_is_registered() -> None:
    """The block with it is offered again later, when this SN has tried to register once more."""
    site = Site()
    actor = site.ledger.actors["sn-1"]
    own = cast(LiveIdentity, SimpleNamespace(current=SimpleNamespace(bundle=actor.pem)))
    async with site.miner("sn-1") as miner, asyncio.timeout(60):
        site.log.script = [full_disk]
        author = Author(actor.signer, "sn-1", 2)
        await Registration("SN-1", own, NOT_DESCRIBED, author, miner, list).take_place({})
        known = network.node(miner.chain.world, "sn-1")
    assert known is not None
    assert known.incarnation == 2
