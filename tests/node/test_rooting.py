"""A node puts the roots of its own trust domain on the ledger as its agent comes to know them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from support.agent import TrustDomain
from support.heard import hearing
from support.network import Actor, Ledger
from swarmlearning.identity.certificates import load_certificate, thumbprint, to_pem
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.source import Latest
from swarmlearning.ledger.bodies import AddRoot, AdmitOrganisation, Anchor, NewOrganisation
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.node.organisations import of_bundle
from swarmlearning.node.rooting import add_roots, unknown_roots


def identity(*domains: TrustDomain) -> Identity:
    """An SN's of the first domain, whose agent knows the others too."""
    return domains[0].identity(domains[0].issue("sn"), *domains[1:])


@dataclass
class Node:
    """An SN of an organisation whose trust domain may be followed."""

    ledger: Ledger
    source: Latest
    sent: list[AddRoot] = field(default_factory=list)
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def chain(self) -> Chain:
        return self.ledger.chain

    async def reached(self, height: int) -> None:
        raise AssertionError("nobody waits for blocks")

    async def send(self, body: AddRoot) -> str:
        self.sent.append(body)
        self.answered.set()
        try:
            self.ledger.send("sn-2", body, network.CONTRACT)
        except Rejection as rejection:
            return rejection.detail
        return ""

    async def until_sent(self) -> str:
        """The thumbprint of the next root that is sent."""
        async with asyncio.timeout(120):
            await self.answered.wait()
        self.answered.clear()
        return thumbprint(load_certificate(self.sent[-1].certificate))


@asynccontextmanager
async def running(*domains: TrustDomain) -> AsyncIterator[Node]:
    """The node, whose organisation's domain is followed, while it adds roots."""
    ledger, own = Ledger(), identity(*domains)
    ledger.join("op", "SWCI")
    ledger.send("op", AdmitOrganisation(NewOrganisation("two", "Two", of_bundle(own.bundles[0]))), network.CONTRACT)
    ledger.actors["sn-2"] = Actor("sn-2", "SN", domains[0].issue("sn"))
    ledger.register("sn-2")
    node = Node(ledger, Latest(own))
    task = asyncio.create_task(add_roots(node.source, "sn-2", node, node.send))
    try:
        yield node
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_new_root_of_the_own_domain_is_added_and_no_other() -> None:
    own, other = TrustDomain("two.example"), TrustDomain("three.example")
    async with running(own, other) as node:
        own.prepare_root()
        node.source.replace(identity(own, other))
        assert await node.until_sent() == thumbprint(own.roots[1].certificate)
        roots = {each.thumbprint for each in network.authorities(node.chain.world) if each.organisation == "two"}
        assert roots == {thumbprint(root.certificate) for root in own.roots}
        own.prepare_root()
        node.source.replace(identity(own, other))
        assert await node.until_sent() == thumbprint(own.roots[2].certificate)
        assert len(node.sent) == 2


async def test_what_the_ledger_refuses_is_named_once_and_what_comes_later_is_added(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("swarmlearning.node.rooting.LOOK_SECONDS", 0.01)
    own, stranger = TrustDomain("two.example"), TrustDomain("three.example")
    own_root = own.roots[0]
    async with running(own) as node:
        with hearing("swarm.identity") as heard:
            own.roots = [own_root, stranger.roots[0]]
            node.source.replace(identity(own))
            await heard.until("The ledger refuses a new root of this node's trust domain: root")
            own.prepare_root()
            node.source.replace(identity(own))
            await heard.until("A new root of this node's trust domain is on the ledger")
            assert [each.partition(":")[0] for each in heard.all] == [
                "The ledger refuses a new root of this node's trust domain",
                "A new root of this node's trust domain is on the ledger",
            ]


def test_a_domain_that_is_not_followed_is_left_alone() -> None:
    own = TrustDomain("two.example")
    pushed = identity(own)
    ledger = Ledger()
    ledger.join("op", "SWCI")
    anchors = (Anchor(to_pem(own.roots[0].certificate), trust_domain="two.example"),)
    ledger.send("op", AdmitOrganisation(NewOrganisation("two", "Two", anchors)), network.CONTRACT)
    ledger.actors["sn-2"] = Actor("sn-2", "SN", own.issue("sn"))
    ledger.register("sn-2")
    own.prepare_root()
    assert unknown_roots(ledger.chain.world, "sn-2", identity(own)) == []
    assert unknown_roots(ledger.chain.world, "sn-9", pushed) == []
