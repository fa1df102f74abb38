"""The network contract: authorities, certificates, nodes and their incarnations.

A node is a UID, bound at its first registration to a certificate subject; several nodes may share one certificate, so
a certificate is never the node. Each start of a process registers with a higher incarnation; from then on the older
process of that UID is a zombie whose transactions are refused.

An SN that has sealed a void block is in *quarantine*: its state or its program is not that of the others. It seals no
more, votes no more and is not believed, until it is started again and registers anew through another SN.

Entries of the world: `network`, `authority/<thumbprint>`, `certificate/<thumbprint>`, `node/<uid>`, `window/<uid>`,
`quarantine/<uid>`, `recovery/<height>`.
"""

from typing import NamedTuple

import msgspec

from swarmlearning.address import AddressError, split
from swarmlearning.identity.certificates import (
    CertificateError,
    is_authority,
    load_bundle,
    role_of,
    subject_of,
    thumbprint,
)
from swarmlearning.ledger.bodies import (
    AddAuthority,
    Announce,
    Back,
    Genesis,
    Leave,
    Lost,
    NodeType,
    Recover,
    Register,
    RetireAuthority,
    Revoke,
    SwitchRules,
)
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.world import World

CONTRACT = "network"
OPERATORS: tuple[NodeType, ...] = ("SN", "SWCI", "UI")
MAX_ADDRESSES = 8
REPLAY_BITS = 64


class Network(msgspec.Struct, frozen=True):
    """What the network is: set by the genesis, `rules_version` by `SwitchRules`."""

    name: str
    founder: str
    created_ms: int
    rules_version: int


class Authority(msgspec.Struct, frozen=True):
    """A certificate authority; `active` until retired."""

    thumbprint: str
    pem: str
    active: bool


class Certificate(msgspec.Struct, frozen=True):
    """A node certificate with its intermediates (PEM, leaf first), stored once."""

    thumbprint: str
    pem: str
    subject: str
    role: NodeType
    revoked: bool


class Node(msgspec.Struct, frozen=True):
    """A registered node. `alive` follows its lease as the SNs report it; `left`: it has left the network for good."""

    uid: str
    type: NodeType
    name: str
    subject: str
    certificate: str
    incarnation: int
    alive: bool
    left: bool
    version: str
    addresses: dict[str, str]


class Window(msgspec.Struct, frozen=True):
    """Replay protection of one incarnation: the highest sequence number, and a bit for each of the 64 up to it."""

    incarnation: int
    highest: int
    seen: int
    last_height: int


class Quarantine(msgspec.Struct, frozen=True):
    """In force while the SN runs as this incarnation; `height` is that of the void block it has sealed."""

    incarnation: int
    height: int


class Recovery(msgspec.Struct, frozen=True):
    """An operator has restarted the network from the SN `by` alone, in the block of this height, without `lost`."""

    height: int
    by: str
    lost: tuple[str, ...]


class TxContext(NamedTuple):
    """Who says something, on which block: what every contract may know besides state and body."""

    sender: str
    incarnation: int
    signer: str
    height: int
    time_ms: int


def network(world: World) -> Network:
    """The network's entry. Raises `Rejection` on an empty ledger."""
    entry = world.get("network", Network)
    if entry is None:
        raise Rejection(Code.NO_NETWORK, "this ledger has no genesis yet")
    return entry


def node(world: World, uid: str) -> Node | None:
    """The registered node of this UID."""
    return world.get(f"node/{uid}", Node)


def nodes(world: World) -> list[Node]:
    """All registered nodes, by UID."""
    return list(world.area("node/", Node))


def admitted(world: World) -> list[Node]:
    """The SNs that may seal, vote and be believed, by UID."""
    return [known for known in nodes(world) if _is_admitted(world, known)]


def sn_addresses(world: World, besides: str = "") -> list[str]:
    """Where the APIs of the admitted SNs are reached, without that of the UID `besides`. A witness has none."""
    return [sn.addresses["api"] for sn in admitted(world) if sn.uid != besides and "api" in sn.addresses]


def admits(world: World, uid: str) -> bool:
    """Whether this is the UID of an admitted SN."""
    known = node(world, uid)
    return known is not None and _is_admitted(world, known)


def _is_admitted(world: World, known: Node) -> bool:
    return known.type == "SN" and not known.left and not quarantine(world, known)


def quarantine(world: World, known: Node) -> Quarantine | None:
    """The quarantine of this node that is in force."""
    entry = world.get(f"quarantine/{known.uid}", Quarantine)
    return entry if entry is not None and entry.incarnation == known.incarnation else None


def recoveries(world: World) -> list[Recovery]:
    """Every time the network was restarted without its majority, oldest first."""
    return sorted(world.area("recovery/", Recovery), key=lambda recovery: recovery.height)


def certificate(world: World, thumb: str) -> Certificate | None:
    """The stored certificate of this thumbprint."""
    return world.get(f"certificate/{thumb}", Certificate)


def authorities(world: World) -> tuple[str, ...]:
    """PEM of the active authorities, by thumbprint."""
    return tuple(entry.pem for entry in world.area("authority/", Authority) if entry.active)


def read_certificate(pem: str) -> Certificate:
    """A certificate bundle as the ledger stores it. Raises `Rejection` naming what is wrong with it."""
    try:
        leaf = load_bundle(pem)[0]
        return Certificate(
            thumbprint=thumbprint(leaf),
            pem=pem,
            subject=subject_of(leaf),
            role=role_of(leaf),
            revoked=False,
        )
    except CertificateError as error:
        raise Rejection(Code.BAD_CERTIFICATE, str(error)) from error


def use_sequence(world: World, tx: TxContext, sequence: int) -> World:
    """Marks the sequence number as used. Raises `Rejection` when it was, or is too old to tell."""
    key = f"window/{tx.sender}"
    window = world.get(key, Window)
    if window is None or window.incarnation != tx.incarnation:
        window = Window(incarnation=tx.incarnation, highest=0, seen=0, last_height=0)
    if sequence > window.highest:
        shift = sequence - window.highest
        seen = ((window.seen << shift) | 1) & ((1 << REPLAY_BITS) - 1) if shift < REPLAY_BITS else 1
        window = msgspec.structs.replace(window, highest=sequence, seen=seen)
    else:
        bit = window.highest - sequence
        if bit >= REPLAY_BITS or window.seen >> bit & 1:
            raise Rejection(
                Code.REPLAYED,
                f"sequence number {sequence} of node {tx.sender} was used already "
                f"(highest {window.highest}); every transaction needs a new one",
            )
        window = msgspec.structs.replace(window, seen=window.seen | 1 << bit)
    return world.with_entries({key: msgspec.structs.replace(window, last_height=tx.height)})


def last_height(world: World, uid: str) -> int:
    """Height of the newest transaction of the node's present incarnation; 0 before the first."""
    window = world.get(f"window/{uid}", Window)
    return window.last_height if window else 0


def last_sequence(world: World, uid: str) -> int:
    """The highest sequence number that the node's present incarnation has used; 0 before the first."""
    known, window = node(world, uid), world.get(f"window/{uid}", Window)
    return window.highest if known and window and window.incarnation == known.incarnation else 0


def genesis(body: Genesis, tx: TxContext) -> World:
    """The world after block 0: the network, its authorities and its founding SN."""
    founder = read_certificate(body.certificate)
    if founder.role != "SN":
        raise Rejection(Code.BAD_ROLE, f"a network is founded by an SN; {founder.subject} is a {founder.role}")
    roots = [_authority(pem) for pem in body.authorities]
    if not roots:
        raise Rejection(Code.NO_AUTHORITY, "a network needs at least one certificate authority")
    return World().with_entries(
        {
            "network": Network(
                name=body.network_name,
                founder=tx.sender,
                created_ms=body.created_ms,
                rules_version=body.rules_version,
            ),
            **{f"authority/{root.thumbprint}": root for root in roots},
            f"certificate/{founder.thumbprint}": founder,
            f"node/{tx.sender}": Node(
                uid=tx.sender,
                type="SN",
                name=body.founder_name,
                subject=founder.subject,
                certificate=founder.thumbprint,
                incarnation=tx.incarnation,
                alive=True,
                left=False,
                version=body.version,
                addresses={},
            ),
        }
    )


def register(world: World, body: Register, tx: TxContext) -> World:
    """Binds a UID to its certificate subject, or raises its incarnation."""
    stored = certificate(world, tx.signer) or read_certificate(body.certificate)
    if stored.role != body.node_type:
        raise Rejection(
            Code.BAD_ROLE,
            f"certificate {stored.subject} is for the role {stored.role}, but a {body.node_type} registers with it; "
            f"use a certificate whose name begins with {body.node_type}-",
        )
    known = node(world, tx.sender)
    if known is not None:
        if known.subject != stored.subject:
            raise Rejection(
                Code.OTHER_SUBJECT,
                f"UID {tx.sender} belongs to {known.subject}, not to {stored.subject}; "
                "each node needs a data directory of its own",
            )
        if tx.incarnation <= known.incarnation:
            raise Rejection(
                Code.OLD_INCARNATION,
                f"node {tx.sender} is registered with incarnation {known.incarnation}; {tx.incarnation} is not newer",
            )
    entry = Node(
        uid=tx.sender,
        type=body.node_type,
        name=body.name,
        subject=stored.subject,
        certificate=tx.signer,
        incarnation=tx.incarnation,
        alive=True,
        left=False,
        version=body.version,
        addresses=known.addresses if known else {},
    )
    return world.with_entries({f"certificate/{tx.signer}": stored, f"node/{tx.sender}": entry})


def announce(world: World, body: Announce, tx: TxContext) -> World:
    """Stores where the sender can be reached."""
    if len(body.addresses) > MAX_ADDRESSES:
        raise Rejection(Code.TOO_MANY_ADDRESSES, f"{len(body.addresses)} addresses; at most {MAX_ADDRESSES} are kept")
    for address in body.addresses.values():
        try:
            split(address)  # whoever connects there takes it for one
        except AddressError as error:
            raise Rejection(Code.BAD_ADDRESS, str(error)) from error
    known = node(world, tx.sender)
    assert known is not None
    return world.with_entries({f"node/{tx.sender}": msgspec.structs.replace(known, addresses=dict(body.addresses))})


def leave(world: World, body: Leave, tx: TxContext) -> World:
    """The sender is no member of the network any more; an SN is neither admitted nor believed. Never the last SN."""
    known = node(world, tx.sender)
    assert known is not None
    if known.type == "SN" and all(other.uid == tx.sender for other in admitted(world)):
        raise Rejection(Code.LAST_SN, "this is the network's only SN; without it there is no network")
    return world.with_entries({f"node/{tx.sender}": msgspec.structs.replace(known, left=True, alive=False)})


def recover(world: World, body: Recover, tx: TxContext) -> World:
    """The named SNs are taken as having left: an operator has restarted the network without them."""
    require_type(world, tx, "SN")
    changes = {}
    for uid in body.lost:
        known = node(world, uid)
        if known is None or known.type != "SN" or uid == tx.sender:
            raise Rejection(Code.UNKNOWN_NODE, f"{uid} is no other SN of this network")
        changes[f"node/{uid}"] = msgspec.structs.replace(known, left=True, alive=False)
    entry = Recovery(height=tx.height, by=tx.sender, lost=body.lost)
    return world.with_entries({**changes, f"recovery/{tx.height}": entry})


def quarantine_sealer(world: World, uid: str, height: int) -> World:
    """The sealer of the void block of this height in quarantine; never the last SN that may seal."""
    known = node(world, uid)
    if known is None or [other.uid for other in admitted(world)] == [uid]:
        return world
    return world.with_entries({f"quarantine/{uid}": Quarantine(incarnation=known.incarnation, height=height)})


def presence(world: World, body: Lost | Back, tx: TxContext) -> World:
    """Marks a node lost or back. TxContext by an SN of any node, or by a node of itself."""
    known = node(world, body.uid)
    if known is None:
        raise Rejection(Code.UNKNOWN_NODE, f"no node {body.uid} is registered")
    if body.uid != tx.sender:
        require_type(world, tx, "SN")
    if known.incarnation != body.incarnation:
        raise Rejection(
            Code.OLD_INCARNATION,
            f"node {body.uid} now runs as incarnation {known.incarnation}, not {body.incarnation}",
        )
    alive = isinstance(body, Back)
    if body.uid == tx.sender:
        return world  # a node that speaks is alive; what it says concerns its trainings only
    if known.left:  # an SN that has not seen that yet may believe it back
        raise Rejection(Code.HAS_LEFT, f"node {body.uid} has left the network")
    if known.alive == alive:
        raise Rejection(Code.NO_CHANGE, f"node {body.uid} is already {'alive' if alive else 'lost'}")
    return world.with_entries({f"node/{body.uid}": msgspec.structs.replace(known, alive=alive)})


def add_authority(world: World, body: AddAuthority, tx: TxContext) -> World:
    """Trusts one more authority; a retired one is trusted again."""
    require_type(world, tx, *OPERATORS)
    root = _authority(body.certificate)
    return world.with_entries({f"authority/{root.thumbprint}": root})


def retire_authority(world: World, body: RetireAuthority, tx: TxContext) -> World:
    """Stops trusting an authority; never the last one."""
    require_type(world, tx, *OPERATORS)
    root = world.get(f"authority/{body.thumbprint}", Authority)
    if root is None or not root.active:
        raise Rejection(Code.UNKNOWN_AUTHORITY, f"no active authority {body.thumbprint}")
    if len(authorities(world)) == 1:
        raise Rejection(Code.LAST_AUTHORITY, "this is the network's only authority; add its successor first")
    return world.with_entries({f"authority/{body.thumbprint}": msgspec.structs.replace(root, active=False)})


def revoke(world: World, body: Revoke, tx: TxContext) -> World:
    """Stops trusting a node certificate."""
    require_type(world, tx, *OPERATORS)
    stored = certificate(world, body.thumbprint)
    if stored is None or stored.revoked:
        raise Rejection(Code.UNKNOWN_CERTIFICATE, f"no certificate {body.thumbprint} that could be revoked")
    return world.with_entries({f"certificate/{body.thumbprint}": msgspec.structs.replace(stored, revoked=True)})


def switch_rules(world: World, body: SwitchRules, tx: TxContext) -> World:
    """Sets the rules of the blocks after this one."""
    require_type(world, tx, *OPERATORS)
    present = network(world)
    if body.rules_version <= present.rules_version:
        raise Rejection(Code.OLD_RULES, f"rules version {present.rules_version} is in force already")
    return world.with_entries({"network": msgspec.structs.replace(present, rules_version=body.rules_version)})


def require_type(world: World, tx: TxContext, *allowed: NodeType) -> None:
    """Raises `Rejection` unless the sender is a node of one of these types."""
    sender = node(world, tx.sender)
    if sender is None or sender.type not in allowed:
        kind = sender.type if sender else "stranger"
        raise Rejection(Code.NOT_ALLOWED, f"only {', '.join(allowed)} may do this; {tx.sender} is a {kind}")


def _authority(pem: str) -> Authority:
    try:
        found = load_bundle(pem)
    except CertificateError as error:
        raise Rejection(Code.BAD_CERTIFICATE, str(error)) from error
    if len(found) != 1:
        raise Rejection(Code.BAD_CERTIFICATE, f"one authority at a time; this file holds {len(found)} certificates")
    if not is_authority(found[0]):
        raise Rejection(Code.BAD_CERTIFICATE, f"{subject_of(found[0])} is no certificate authority (CA:TRUE)")
    return Authority(thumbprint=thumbprint(found[0]), pem=pem, active=True)
