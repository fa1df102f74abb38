"""A running node gets other certificates: what the ledger permits is taken over, what it refuses is named."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509

from support.heard import Heard, hearing
from support.mining import Site
from support.network import FOUNDER, anchor, organisation
from swarmlearning.identity.ca import KeyPair, create_authority, issue
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.source import Latest
from swarmlearning.ledger.block import read_header
from swarmlearning.ledger.bodies import AddAuthority, AdmitOrganisation, Announce, Body, Renew, Revoke
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.node import renewing
from swarmlearning.node.renewing import LiveIdentity, Send
from swarmlearning.node.sender import Author
from swarmlearning.sn.miner import Miner

SECONDS = 120  # only ends a test that would hang
OTHERS = create_authority("CA-9", 3000)
"""The authority of another organisation."""


def identity(pair: KeyPair, authority: x509.Certificate) -> Identity:
    return Identity((pair.certificate,), (authority,), Path("cert.pem"), Path("key.pem"), pair.key)


@dataclass
class Running:
    """A node of a ledger whose only miner is `miner`; `source` is where its identity comes from."""

    site: Site
    uid: str
    miner: Miner
    source: Latest
    own: LiveIdentity
    author: Author

    def renewed(self, authority: KeyPair | None = None, name: str = "") -> Identity:
        """Another certificate for this node, with another key."""
        by = authority or self.site.ledger.authority
        common_name = name or f"{self.site.ledger.actors[self.uid].kind}-{self.uid}"
        return identity(issue(by, common_name, [], [], 300), by.certificate)

    @property
    def registered(self) -> str:
        known = network.node(self.miner.chain.world, self.uid)
        assert known
        assert known.incarnation == self.author.incarnation
        return known.certificate

    async def until(self, reached: Callable[[Chain], bool]) -> None:
        while not reached(self.miner.chain):
            await self.miner.reached(self.miner.chain.height + 1)

    async def until_registered(self, new: Identity) -> None:
        await self.until(lambda chain: self.registered == new.thumbprint)

    async def write(self, body: Body) -> int:
        """The height at which a transaction of the node stands."""
        return await self.miner.submit(self.author.write(self.miner.chain, network.CONTRACT, body).raw)

    async def operate(self, body: Body) -> None:
        """An act of the operators."""
        actor = self.site.ledger.actors["op-1"]
        author = Author(actor.signer, "op-1", 1, network.last_sequence(self.miner.chain.world, "op-1"))
        await self.miner.submit(author.write(self.miner.chain, network.CONTRACT, body).raw)

    async def renew(self, body: Renew) -> str:
        await self.write(body)
        return ""


@asynccontextmanager
async def running(
    uid: str,
    send: Callable[[Running], Send] = lambda node: node.renew,
    before: Callable[[Site], None] = lambda site: None,
) -> AsyncIterator[Running]:
    site = Site()
    site.ledger.join("op-1", "SWCI")
    before(site)
    source = Latest(identity(site.ledger.actors[uid].pair, site.ledger.authority.certificate))
    own = LiveIdentity(source)
    signers = own.signers if uid == "sn-1" else site.ledger.actors["sn-1"].signer
    miner = Miner(site.log, "sn-1", signers, lambda: site.ledger.clock)
    await miner.load()
    author = Author(
        own.signers, uid, site.ledger.actors[uid].incarnation, network.last_sequence(miner.chain.world, uid)
    )
    node = Running(site, uid, miner, source, own, author)
    works = (miner.run(), own.follow(author, miner, send(node)))
    tasks = [asyncio.create_task(work) for work in works]
    try:
        async with asyncio.timeout(SECONDS):
            yield node
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)
    site.committed()  # no block is void


@pytest.fixture(autouse=True)
def judged_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewing, "AGAIN_SECONDS", 0.02)


@pytest.fixture
def heard() -> Iterator[Heard]:
    with hearing("swarm.identity") as found:
        yield found


@pytest.mark.parametrize("uid", ["sl-0", "sn-1", "sn-2"])
async def test_a_node_with_another_key_is_the_same_node_and_signs_with_that_key(uid: str) -> None:
    async with running(uid) as node:
        for _ in range(3):
            new = node.renewed()
            node.source.replace(new)
            await node.until_registered(new)
            assert node.own.current == new
            signed = node.author.write(node.miner.chain, network.CONTRACT, Announce({}))
            assert signed.signer == new.thumbprint
            await node.miner.submit(signed.raw)


async def test_a_block_that_renews_its_sealer_and_all_after_it_are_sealed_with_the_new_key() -> None:
    async with running("sn-1") as node:
        old, new = node.source.current, node.renewed()
        node.source.replace(new)
        await node.until_registered(new)
        height = node.miner.chain.height
        await node.write(Announce({}))
        signers = [signer_of_block(node, at) for at in (height - 1, height, height + 1)]
        assert signers == [old.thumbprint, new.thumbprint, new.thumbprint]


def signer_of_block(node: Running, height: int) -> str:
    chain = Chain()
    for raw in node.site.log.entries[:height]:
        chain = chain.append(raw).chain
    assert read_header(node.site.log.entries[height]).height == height
    return chain.append(node.site.log.entries[height]).block.signer


async def test_other_cas_alone_need_nothing_on_the_ledger(heard: Heard) -> None:
    async with running("sl-0") as node:
        height, more = node.miner.chain.height, create_authority("CA-2", 9).certificate
        new = replace(node.source.current, anchors=(*node.source.current.anchors, more))
        node.source.replace(new)
        await heard.until("New connections use the certificate in cert.pem")
        assert node.own.current == new
        assert await node.write(Announce({})) == height + 1


async def test_an_equal_subject_of_another_organisation_is_refused_and_the_old_certificate_goes_on(
    heard: Heard,
) -> None:
    async with running("sl-0") as node:
        await node.operate(AdmitOrganisation(organisation("others", OTHERS)))
        old = node.source.current
        node.source.replace(node.renewed(OTHERS))
        await heard.until("cert.pem: the ledger refuses the certificate: node sl-0 belongs to CN=SL-sl-0")
        assert node.own.current == old
        await node.write(Announce({}))
        assert node.registered == old.thumbprint
        new = node.renewed()
        node.source.replace(new)
        await node.until_registered(new)
    assert sum("This node goes on with the certificate that it has" in text for text in heard.all) == 1


async def test_a_certificate_that_was_revoked_is_refused_and_the_present_one_goes_on(heard: Heard) -> None:
    """Its file comes back from a backup, when the node has another one already."""
    revoked: list[KeyPair] = []

    def come_back(site: Site) -> None:
        actor = site.ledger.actors["sl-0"]
        revoked.append(actor.pair)
        site.ledger.send("op-1", Revoke(thumbprint(actor.pair.certificate)), network.CONTRACT)
        actor.pair, actor.incarnation = issue(site.ledger.authority, "SL-sl-0", [], [], 300), 2
        site.ledger.register("sl-0")

    async with running("sl-0", before=come_back) as node:
        present = node.source.current
        node.source.replace(identity(revoked[0], node.site.ledger.authority.certificate))
        await heard.until(
            "cert.pem: the ledger refuses the certificate: the certificate of CN=SL-sl-0,OU=Swarm-Learning"
        )
        assert node.own.current == present
        await node.write(Announce({}))


async def test_a_certificate_by_an_authority_that_is_admitted_later_is_taken_over_then(heard: Heard) -> None:
    async with running("sl-0") as node:
        new = node.renewed(OTHERS)
        node.source.replace(new)
        await heard.until("cert.pem: the ledger refuses the certificate: certificate")
        await node.operate(AddAuthority(FOUNDER, anchor(OTHERS)))
        await node.until_registered(new)


async def test_a_certificate_that_is_replaced_while_it_is_refused_is_forgotten(heard: Heard) -> None:
    async with running("sl-0") as node:
        old = node.source.current
        node.source.replace(node.renewed(OTHERS))
        await heard.until("cert.pem: the ledger refuses the certificate")
        node.source.replace(old)
        new = node.renewed()
        node.source.replace(new)
        await node.until_registered(new)


async def test_of_certificates_that_come_while_one_waits_for_the_ledger_the_last_one_is_registered_last() -> None:
    """One `Renew` is on its way at a time, and the signers that it may need are kept."""
    free, waiting = asyncio.Event(), asyncio.Event()

    def slowly(node: Running) -> Send:
        async def send(body: Renew) -> str:
            signed = node.author.write(node.miner.chain, network.CONTRACT, body)
            waiting.set()
            await free.wait()
            await node.miner.submit(signed.raw)
            return ""

        return send

    async with running("sn-1", slowly) as node:
        first, *_, last = made = [node.renewed() for _ in range(4)]
        registered = set[str]()
        for new in made:
            node.source.replace(new)
            await waiting.wait()
        await node.write(Announce({}))  # meanwhile it signs and seals with the old key
        free.set()

        def reached(chain: Chain) -> bool:
            registered.add(node.registered)
            return node.registered == last.thumbprint

        await node.until(reached)
        await node.write(Announce({}))
        assert first.thumbprint in registered


async def test_a_renewal_that_the_ledger_refuses_after_all_is_offered_again(heard: Heard) -> None:
    def refusing_once(node: Running) -> Send:
        refusals = iter(["try another time"])

        async def send(body: Renew) -> str:
            return next(refusals, "") or await node.renew(body)

        return send

    async with running("sl-0", refusing_once) as node:
        new = node.renewed()
        node.source.replace(new)
        await heard.until("cert.pem: the ledger does not take the certificate yet: try another time")
        await node.until_registered(new)


async def test_a_node_that_is_not_registered_yet_uses_another_identity_without_the_ledger(heard: Heard) -> None:
    site = Site()
    site.ledger.actor("op-1", "SWCI")
    pair = site.ledger.actors["op-1"].pair
    source = Latest(identity(pair, site.ledger.authority.certificate))
    own = LiveIdentity(source)

    async def send(body: Renew) -> str:
        raise AssertionError("there is nothing to renew")

    async with site.miner() as miner:
        task = asyncio.create_task(own.follow(Author(own.signers, "op-1", 1), miner, send))
        source.replace(identity(issue(site.ledger.authority, "SWCI-op-1", [], [], 9), source.current.anchors[0]))
        await heard.until("New connections use the certificate in cert.pem")
        assert own.current == source.current
        task.cancel()
        await asyncio.wait((task,))
