"""The entries of the network contract, and how they are looked up."""

from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.network.bodies import Quorum, Quotas
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.fields import NodeType
from swarmlearning.ledger.world import World

CONTRACT = "network"


class Network(msgspec.Struct, frozen=True):
    """The network as a whole: set by the genesis, `rules_version` by `SwitchRules`."""

    name: str
    founder: str
    created_ms: int
    rules_version: int


class Organisation(msgspec.Struct, frozen=True):
    """An organisation; `active` until retired."""

    id: str
    name: str
    active: bool
    quotas: Quotas = Quotas()


class Authority(msgspec.Struct, frozen=True, omit_defaults=True):
    """A certificate of an organisation's authority; `active` until retired. `identity` is that of the authority,
    however renewed. It issues for these roles, and where `trust_domain` is set for SPIFFE IDs of that domain only.
    `bundle`: it is a root of that domain, whose bundle is followed."""

    thumbprint: str
    pem: str
    active: bool
    identity: str
    organisation: str
    roles: tuple[NodeType, ...]
    trust_domain: str
    bundle: bool = False


class Certificate(msgspec.Struct, frozen=True):
    """A node certificate with its intermediates (PEM, leaf first), stored once; `organisation` has issued it."""

    thumbprint: str
    pem: str
    subject: str
    role: NodeType
    revoked: bool
    organisation: str


class Node(msgspec.Struct, frozen=True):
    """A registered node. `alive` follows its lease as the SNs report it; `left`: it has left the network for good.

    `newest_rules`: the newest version of the rules that its program knows. It belongs to whoever has a certificate of
    `subject` by `organisation`, never to another one's of that subject.
    """

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
    organisation: str
    newest_rules: int = 1


class Window(msgspec.Struct, frozen=True):
    """Replay protection of one incarnation: the highest sequence number, and a bit for each of the 64 up to it."""

    incarnation: int
    highest: int
    seen: int
    last_height: int


Offence: TypeAlias = Literal["void", "ahead", "twice"]
"""The block that an SN has sealed is void, its time was ahead of most clocks, or it has sealed two of that height."""


class Quarantine(msgspec.Struct, frozen=True):
    """In force until operators lift it; `height` is that of the block that the SN has sealed."""

    height: int
    lifted: bool = False
    offence: Offence = "void"


class Absence(msgspec.Struct, frozen=True):
    """Statement that an SN, running as this incarnation, does not watch who is present: by itself, or `by` another SN
    which finds its lease gone; `by` is empty once it is taken back or contradicted. `since_ms`: block time."""

    incarnation: int
    by: str
    since_ms: int


class RefusedBlock(msgspec.Struct, frozen=True):
    """The newest block of an SN that the SNs `by` (UIDs) have refused: its height and hash."""

    height: int
    block: str
    by: tuple[str, ...]


class TwoSeals(msgspec.Struct, frozen=True):
    """The newest proof that an SN has sealed two blocks for one height: both signed headers, sent by the node `by`."""

    height: int
    first: str
    second: str
    by: str


class Reports(msgspec.Struct, frozen=True):
    """The SNs (UIDs) that report of a node the contrary of what is recorded: lost, or back. Not enough of them yet."""

    incarnation: int
    by: tuple[str, ...]


class Recovery(msgspec.Struct, frozen=True):
    """An operator has restarted the network from the SN `by` alone, in the block of this height, without `lost`."""

    height: int
    by: str
    lost: tuple[str, ...]


class Policy(msgspec.Struct, frozen=True):
    """The quorum of an act, where it is not the default."""

    act: str
    quorum: Quorum


class Proposal(msgspec.Struct, frozen=True):
    """An act that needs more than one organisation: `body` (canonical JSON) for `contract`, proposed by `by`.

    `signed`, `rejected`: organisations. It can be signed while it is open, until `expires_ms`, and while what it is
    `about` stands as it did, such as the run of a training. `persons`: by organisation for whom its operator has
    answered last, where it has stated that; unset without any, so that it has no bytes under rules version 1.
    """

    number: int
    act: str
    contract: str
    body: str
    by: str
    expires_ms: int
    signed: tuple[str, ...]
    about: str = ""
    rejected: tuple[str, ...] = ()
    state: Literal["open", "done", "rejected"] = "open"
    persons: dict[str, str] | UnsetType = UNSET


class Invitation(msgspec.Struct, frozen=True):
    """What the holder of a one-time key (its public half) may request once, until `expires_ms`: see `Invite`.

    `by`: the organisation that has sent it. Once it is `used`, it has the CSR in `request` and later the `certificate`
    (both PEM), or the number of the `proposal` to admit the organisation.
    """

    key: str
    organisation: str
    by: str
    role: NodeType | None
    name: str
    expires_ms: int
    state: Literal["open", "used", "withdrawn"] = "open"
    request: str = ""
    certificate: str = ""
    proposal: int = 0


def network(world: World) -> Network:
    """The network's entry. Raises `Rejection` on an empty ledger."""
    entry = world.get("network", Network)
    if entry is None:
        raise Rejection(Code.NO_NETWORK, "this ledger has no genesis yet")
    return entry


def node(world: World, uid: str) -> Node | None:
    """The registered node of this UID."""
    return world.get(f"node/{uid}", Node)


def nodes(world: World) -> tuple[Node, ...]:
    """All registered nodes, by UID."""
    return world.area("node/", Node)


def watched(world: World) -> tuple[Node, ...]:
    """The nodes whose leases count, by UID: the SLs and SWOPs that have not left."""
    return world.derived("node/", Node, _watched)


def departed(world: World) -> tuple[Node, ...]:
    """The SLs and SWOPs that have left, by UID."""
    return world.derived("node/", Node, _departed)


def admitted(world: World) -> list[Node]:
    """The SNs that may seal, vote and report, by UID."""
    return [sn for sn in world.derived("node/", Node, _sns) if not quarantine(world, sn)]


def admits(world: World, uid: str) -> bool:
    """True if this is the UID of an admitted SN."""
    known = node(world, uid)
    return known is not None and known.type == "SN" and not known.left and not quarantine(world, known)


def sn_addresses(world: World, besides: str = "") -> list[str]:
    """Addresses of the APIs of the admitted SNs, without that of the UID `besides`. A witness has none."""
    return [sn.addresses["api"] for sn in admitted(world) if sn.uid != besides and "api" in sn.addresses]


def quarantine(world: World, known: Node) -> Quarantine | None:
    """The quarantine of this node that is in force."""
    entry = world.get(f"quarantine/{known.uid}", Quarantine)
    return entry if entry is not None and not entry.lifted else None


def quarantined(known: Node) -> str:
    """The reason for which whatever an SN in quarantine sends is refused, and what ends that."""
    return (
        f"SN {known.uid} ({known.name}) is in quarantine for a block that it has sealed (swarm status); find out why, "
        f"then operators lift the quarantine: swarm node lift-quarantine {known.uid}"
    )


def recoveries(world: World) -> list[Recovery]:
    """Every time the network was restarted without its majority, oldest first."""
    return sorted(world.area("recovery/", Recovery), key=lambda recovery: recovery.height)


def certificate(world: World, thumb: str) -> Certificate | None:
    """The stored certificate of this thumbprint."""
    return world.get(f"certificate/{thumb}", Certificate)


def identity_of(holder: Node | Certificate) -> tuple[str, str]:
    """Organisation and subject: whose node or certificate it is."""
    return holder.organisation, holder.subject


def authorities(world: World) -> tuple[Authority, ...]:
    """The active authorities, by thumbprint."""
    return world.derived("authority/", Authority, _active)


def organisation(world: World, named: str) -> Organisation | None:
    """The organisation of this ID, retired ones too."""
    return world.get(f"organisation/{named}", Organisation)


def proposal(world: World, number: int) -> Proposal | None:
    """The proposal of this number."""
    return world.get(f"proposal/{number}", Proposal)


def proposals(world: World) -> list[Proposal]:
    """All proposals, oldest first."""
    return sorted(world.area("proposal/", Proposal), key=lambda each: each.number)


def invitation(world: World, key: str) -> Invitation | None:
    """The invitation whose one-time key has this public half."""
    return world.get(f"invitation/{key}", Invitation)


def open_invitations(world: World, time_ms: int) -> list[Invitation]:
    """Those that can still be used at this block time, by key."""
    known = world.area("invitation/", Invitation)
    return [each for each in known if each.state == "open" and time_ms <= each.expires_ms]


def organisations(world: World) -> tuple[Organisation, ...]:
    """The active organisations, by ID."""
    return world.derived("organisation/", Organisation, _taking_part)


def last_height(world: World, uid: str) -> int:
    """Height of the newest transaction of the node's present incarnation; 0 before the first."""
    window = world.get(f"window/{uid}", Window)
    return window.last_height if window else 0


def last_sequence(world: World, uid: str) -> int:
    """The highest sequence number that the node's present incarnation has used; 0 before the first."""
    known, window = node(world, uid), world.get(f"window/{uid}", Window)
    return window.highest if known and window and window.incarnation == known.incarnation else 0


def _watched(known: tuple[Node, ...]) -> tuple[Node, ...]:
    return tuple(each for each in known if each.type in ("SL", "SWOP") and not each.left)


def _sns(known: tuple[Node, ...]) -> tuple[Node, ...]:
    return tuple(each for each in known if each.type == "SN" and not each.left)


def _departed(known: tuple[Node, ...]) -> tuple[Node, ...]:
    return tuple(each for each in known if each.type in ("SL", "SWOP") and each.left)


def _active(known: tuple[Authority, ...]) -> tuple[Authority, ...]:
    return tuple(each for each in known if each.active)


def _taking_part(known: tuple[Organisation, ...]) -> tuple[Organisation, ...]:
    return tuple(each for each in known if each.active)
