"""The protocol that every kind of contract fulfils, and the context that its handlers get.

A kind is one package: its bodies, their handlers and permissions, its reaction to nodes that come and go, and the
transactions that an SN may propose to it. `registry.py` lists the kinds. Adding one touches its own package and that
list.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, get_args

import msgspec

from swarmlearning.identity import certificates
from swarmlearning.ledger.contracts.network.state import Certificate
from swarmlearning.ledger.fields import Body, NodeType
from swarmlearning.ledger.world import World

Attendance: TypeAlias = Literal["present", "lost", "restarted", "ml-lost", "left"]


class TxContext(NamedTuple):
    """The sender of a transaction and its block: all that a handler may know besides world, contract and body.

    `anchor`: the height of the newest block that the sender knew when it wrote the transaction; `previous`: that
    block's hash, if it is the one just before this block. `proposer`: the organisation whose act it is, where the
    sender is of another one and only the last to sign it; else empty. `on_behalf_of`: the person for whom that
    organisation's operator acts, empty where none is stated.
    """

    sender: str
    incarnation: int
    signer: Certificate
    height: int
    time_ms: int
    network: str = ""
    anchor: int = 0
    previous: str = ""
    proposer: str = ""
    on_behalf_of: str = ""


class Presence(NamedTuple):
    """A node, running as this incarnation, has come or gone, or `moved` to another address; one that is not `trusted`
    any more has left."""

    uid: str
    attendance: Attendance | Literal["moved"]
    incarnation: int
    trusted: bool = True


class Proposal(NamedTuple):
    """A transaction that should be on the chain, and the sentence for the log.

    It is due once an SN has seen it stand, the same, for `after_seconds`; `noted` is one that is not wanted yet: its
    time runs, but it is not made. `good_news` is nothing to warn of.
    """

    contract: str
    body: Body
    what: str
    after_seconds: float = 0.0
    noted: bool = False
    good_news: bool = False


Change: TypeAlias = Callable[[World, str, Any, TxContext], World]
"""(world, name of the contract, body, sender and block) to the world after it. Raises `Rejection`."""


class Permission(NamedTuple):
    """The node types that may send a body. `of_others`: those that may when its `uid` is another node's."""

    roles: frozenset[NodeType]
    of_others: frozenset[NodeType] | None = None


ANYBODY = "*"
"""Returned in place of an organisation: an act that any organisation may do alone."""


def nobody(world: World, contract: str, body: Any) -> str:
    """The organisation that an act concerns, where there is none that could do it alone."""
    return ""


def nothing(world: World, contract: str) -> str:
    """The state that an act refers to, where it means the same at any time."""
    return ""


class Act(NamedTuple):
    """What operators do for their organisations: the policy of this name states whose signatures it needs. The
    organisation that it `concerns` (its ID, from world, contract and body) may always do it alone. A proposal of it
    lapses once what it is `about` (from world and contract) has changed."""

    name: str
    concerns: Callable[[World, str, Any], str] = nobody
    about: Callable[[World, str], str] = nothing


class Rule(NamedTuple):
    """The handler of a body, its permission and, where more than one organisation may have to agree, its act."""

    change: Change
    permission: Permission
    act: Act | None = None


class Contract(Protocol):
    """One kind of contract. All of it is pure."""

    @property
    def kind(self) -> str:
        """Its name."""

    @property
    def single(self) -> bool:
        """True if there is one contract only, named like the kind; else any other name is one of its contracts."""

    @property
    def entries(self) -> Mapping[str, type[msgspec.Struct]]:
        """The structure that each of its areas of the world holds."""

    @property
    def rules(self) -> Mapping[type[Body], Rule]:
        """Handler and permission of each of its bodies."""

    def presence(self, before: World, after: World, body: Body, tx: TxContext) -> Iterable[Presence]:
        """The nodes that came or went by this transaction of its own."""

    def apply_presence(self, world: World, change: Presence, time_ms: int) -> World:
        """The world after a node came or went."""

    def proposals(self, world: World, live: Mapping[str, int], by: str) -> Iterable[Proposal]:
        """The transactions that the SN `by` may propose; `live`: UID and incarnation of each node with a lease."""


class OperatorsContract:
    """The part of a kind of contract in which only operators write: what they wrote stays when they go, and no SN
    proposes anything."""

    def presence(self, before: World, after: World, body: Body, tx: TxContext) -> Iterable[Presence]:
        """None: what is written is no node."""
        return ()

    def apply_presence(self, world: World, change: Presence, time_ms: int) -> World:
        """The world itself."""
        return world

    def proposals(self, world: World, live: Mapping[str, int], by: str) -> Iterable[Proposal]:
        """None."""
        return ()


ANY: frozenset[NodeType] = frozenset(get_args(NodeType))
SN: frozenset[NodeType] = frozenset({"SN"})
SL: frozenset[NodeType] = frozenset({"SL"})
SWOP: frozenset[NodeType] = frozenset({"SWOP"})
OPERATORS: frozenset[NodeType] = certificates.OPERATORS
