"""What every kind of contract is, and what its handlers may know.

A kind is one package: its bodies, what each of them changes and who may send it, what it makes of nodes that come and
go, and what an SN may propose to it. `registry.py` lists the kinds. Adding one touches its own package and that list.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from swarmlearning.ledger.contracts.network.state import Certificate
from swarmlearning.ledger.fields import Body, NodeType
from swarmlearning.ledger.world import World

Attendance: TypeAlias = Literal["present", "lost", "restarted", "ml-lost", "left"]


class TxContext(NamedTuple):
    """Who sends something, in which block: all that a handler may know besides world, contract and body."""

    sender: str
    incarnation: int
    signer: Certificate
    height: int
    time_ms: int
    network: str = ""


class Presence(NamedTuple):
    """A node, running as this incarnation, has come or gone, or `moved` to another address."""

    uid: str
    attendance: Attendance | Literal["moved"]
    incarnation: int


class Proposal(NamedTuple):
    """What should be on the chain, and how people are told.

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


class Rule(NamedTuple):
    """What a body changes, and who may send it."""

    change: Change
    permission: Permission


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
        """What each of its bodies changes, and who may send it."""

    def presence(self, before: World, after: World, body: Body, tx: TxContext) -> Iterable[Presence]:
        """The nodes that came or went by this transaction of its own."""

    def attend(self, world: World, change: Presence, time_ms: int) -> World:
        """The world after a node came or went."""

    def proposals(self, world: World, live: Mapping[str, int]) -> Iterable[Proposal]:
        """What an SN may propose, where `live` are the nodes with a lease, by UID, and their incarnations."""


ANY: frozenset[NodeType] = frozenset({"SN", "SL", "SWOP", "SWCI", "UI"})
SN: frozenset[NodeType] = frozenset({"SN"})
SL: frozenset[NodeType] = frozenset({"SL"})
OPERATORS: frozenset[NodeType] = frozenset({"SN", "SWCI", "UI"})
