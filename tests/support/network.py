"""A ledger in memory for tests: nodes that sign, and a chain that grows by what they send."""

import time
from dataclasses import dataclass, field, replace

import msgspec

from swarmlearning.identity.ca import KeyPair, create_authority, issue
from swarmlearning.identity.certificates import to_pem
from swarmlearning.identity.signing import Signer
from swarmlearning.ledger.block import seal
from swarmlearning.ledger.bodies import Anchor, Body, Genesis, NewOrganisation, NodeType, OpenSession, Register
from swarmlearning.ledger.chain import RULES_VERSION, Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.state import Training, state_of
from swarmlearning.ledger.rules import RULES
from swarmlearning.ledger.transaction import SignedTransaction, sign
from swarmlearning.ledger.world import World

parse, read = RULES[RULES_VERSION].parse, RULES[RULES_VERSION].read
"""As the newest rules do."""

CONTRACT = "defaultbb.cqdb.sml.hpe"
STRUCTURE = "5" * 64


FOUNDER = "org-1"
"""The organisation whose authority every ledger here begins with."""


def anchor(authority: KeyPair) -> Anchor:
    return Anchor(to_pem(authority.certificate))


def organisation(name: str, *authorities: KeyPair) -> NewOrganisation:
    """An organisation with these authorities."""
    return NewOrganisation(name, name.title(), tuple(anchor(each) for each in authorities))


@dataclass
class Actor:
    """A node that signs: its UID, certificate and counters."""

    uid: str
    kind: NodeType
    pair: KeyPair
    incarnation: int = 1
    sequence: int = 0

    @property
    def pem(self) -> str:
        return to_pem(self.pair.certificate)

    @property
    def signer(self) -> Signer:
        return Signer(self.pair.certificate, self.pair.key)


@dataclass
class Ledger:
    """A network with one SN, the `founder`; `send` puts one transaction into one block. It is founded under the version
    `rules` of the rules, and its nodes know those up to `newest_rules`."""

    authority: KeyPair = field(default_factory=lambda: create_authority("CA-1", 3650))
    chain: Chain = field(default_factory=Chain)
    blocks: list[bytes] = field(default_factory=list)
    actors: dict[str, Actor] = field(default_factory=dict)
    clock: int = 0
    founder: str = "sn-1"
    rules: int = RULES_VERSION
    newest_rules: int = RULES_VERSION

    def __post_init__(self) -> None:
        begin_s, end_s = (
            at.timestamp()
            for at in (self.authority.certificate.not_valid_before_utc, self.authority.certificate.not_valid_after_utc)
        )
        # Now, so that what tests have issued since is valid; of an authority that has expired in its time.
        self.clock = 1000 * int(begin_s + 60 if end_s < time.time() else max(time.time(), begin_s + 60))
        founder = self.actor(self.founder, "SN")
        genesis = Genesis(
            network_name="test",
            founder_name="SN-1",
            organisations=(organisation(FOUNDER, self.authority),),
            certificate=founder.pem,
            version="0",
            rules_version=self.rules,
            created_ms=self.clock,
        )
        self.commit(self.write(self.founder, network.CONTRACT, genesis))

    def actor(self, uid: str, kind: NodeType, authority: KeyPair | None = None) -> Actor:
        """A new node with a certificate of its own, not registered yet."""
        issuer = authority or self.authority
        pair = issue(issuer, f"{kind}-{uid}", [], [], 3650, issuer.certificate.not_valid_before_utc)
        self.actors[uid] = Actor(uid, kind, pair)
        return self.actors[uid]

    def join(self, uid: str, kind: NodeType = "SL", authority: KeyPair | None = None) -> Actor:
        """A new, registered node."""
        actor = self.actor(uid, kind, authority)
        self.register(uid)
        return actor

    def register(self, uid: str) -> None:
        actor = self.actors[uid]
        self.send(uid, Register(actor.kind, uid, actor.pem, "0", self.newest_rules), network.CONTRACT)

    def upgrade(self, version: int) -> None:
        """Restarts the nodes with a program whose newest rules are of this version, which nodes that join have too."""
        self.newest_rules = version
        for known in network.nodes(self.chain.world):
            actor = self.actors[known.uid]
            actor.incarnation += 1
            self.register(known.uid)

    def write(self, uid: str, contract: str, body: Body, on_behalf_of: str = "") -> SignedTransaction:
        actor = self.actors[uid]
        actor.sequence += 1
        content = self.chain.compose(actor.uid, actor.incarnation, actor.sequence, contract, body, on_behalf_of)
        return sign(content, actor.signer)

    def seal(self, *transactions: SignedTransaction, sealer: str = "") -> bytes:
        """The next block with these transactions, not appended. Raises `Rejection` when one does not hold."""
        sealer = sealer or self.founder
        time_ms = self.chain.next_time(self.clock)
        world = self.chain.world
        for signed in transactions:
            world = self.chain.try_transaction(world, signed, time_ms)
        block = self.chain.seal(transactions, world, time_ms, sealer, self.actors[sealer].signer)
        sealed, read = self.chain.extend(block, world), self.chain.append(block.raw)
        assert (sealed.block, sealed.void) == (read.block, read.void), "the sealer and all others see the same block"
        assert sealed.chain.world.state_hash() == read.chain.world.state_hash()
        assert replace(sealed.chain, world=world) == replace(read.chain, world=world)
        return block.raw

    def append(self, raw: bytes) -> str | None:
        """Appends a block; returns why it is void, None when it is not."""
        step = self.chain.append(raw)
        self.chain = step.chain
        self.blocks.append(raw)
        return step.void

    def void(self, sealer: str = "sn-1") -> bytes:
        """Appends a sealed block that is void, since its state is not the one that it states."""
        time_ms = self.chain.next_time(self.clock)
        raw = self.chain.seal((), World(), time_ms, sealer, self.actors[sealer].signer).raw
        assert self.append(raw) is not None
        return raw

    def commit(self, *transactions: SignedTransaction) -> None:
        assert self.append(self.seal(*transactions)) is None

    def send(self, uid: str, body: Body, contract: str = CONTRACT, on_behalf_of: str = "") -> Training:
        """One transaction in one block; the training contract after it. Raises `Rejection`."""
        self.commit(self.write(uid, contract, body, on_behalf_of))
        return self.training

    @property
    def training(self) -> Training:
        return state_of(self.chain.world, CONTRACT)


def session(min_peers: int = 2, **changes: object) -> OpenSession:
    """An `OpenSession` with ordinary values."""
    values: dict[str, object] = {
        "merge_method": "mean",
        "min_peers": min_peers,
        "structure": STRUCTURE,
        "weightage": 1,
        "sync_frequency": 8,
        "checkin": "snapshot",
        "epochs": 1,
        "adaptive": False,
        "may_lead": True,
    }
    return OpenSession(**(values | changes))  # type: ignore[arg-type]


def resealed(
    ledger: Ledger, *transactions: SignedTransaction, by: str = "sn-1", signer: str = "", **changes: object
) -> bytes:
    """The next block with these transactions, its header changed and then signed by the key of `signer`."""
    raw = ledger.seal(*transactions)
    header = msgspec.structs.replace(read(raw).header, sealer=by, **changes)
    return seal(header, transactions, ledger.actors[signer or by].signer).raw
