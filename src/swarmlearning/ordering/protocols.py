"""The protocols that an ordering engine fulfils for an SN."""

from collections.abc import AsyncIterator
from typing import Literal, NamedTuple, Protocol, TypeAlias

from swarmlearning.errors import UserError
from swarmlearning.views.training import TrainingProgress
from swarmlearning.views.vitals import Vitals

EngineChoice: TypeAlias = Literal["auto", "local", "etcd"]
"""`--ordering`: auto is etcd when its program is found, else local."""


class OrderingError(UserError):
    """The engine cannot do its work; the message says what, where and what to do."""


class UnavailableError(OrderingError):
    """The engine cannot answer now (no majority, a member that is starting); it may later."""


class ArchivedError(OrderingError):
    """The entry is one of the old ones, which are in a file elsewhere; `first` is the height of the oldest here."""

    def __init__(self, first: int) -> None:
        super().__init__(
            f"blocks before {first} are archived and not here any more: another SN may have them, or start this node "
            "from a signed checkpoint (swarm ledger restore)"
        )
        self.first = first


class Head(NamedTuple):
    """Height and hash of the newest entry; (-1, "") when there is none."""

    height: int
    hash: str


EMPTY = Head(-1, "")


class ConflictError(OrderingError):
    """Somebody else's entry has taken this height; read it, check one's own again, retry."""


class Log(Protocol):
    """A sequence of entries, one a height, each durable before it is acknowledged."""

    async def head(self) -> Head:
        """The newest entry."""
        ...

    async def append(self, expected: Head, entry: bytes) -> Head:
        """Adds `entry` after `expected`: one compare-and-swap. Raises `ConflictError` when the head has moved."""
        ...

    async def read(self, start: int, limit: int) -> list[bytes]:
        """Some entries from height `start` on, at most `limit`; none only where there are none."""
        ...

    async def pass_over(self, height: int) -> None:
        """The newest entry read, at `height`, counts for nothing, nor what was read after it: that height is free."""
        ...

    async def hold(self, height: int) -> None:
        """The newest entry read, at `height`, is not read again until released; one that replaces it is."""
        ...

    async def release(self, height: int) -> None:
        """What is held at this height is read again."""
        ...

    async def wait_for_append(self, height: int) -> None:
        """Returns when there may be an entry above `height`. Only a hint; reading is the truth."""
        ...


class Lease(NamedTuple):
    """The lease of a node that is present: the number of its start, and its last report.

    `progress`: batches that an SL has trained, the height of an SN's chain. `moved`: bytes of models that an SL has
    fetched and merged, so that one that merges for long is seen to work. `ahead_ms`: of its clock, beside that of the
    SN that has received its last report. `same_user`: a SWOP that runs ML processes as its own user. `vitals`: what it
    says of its machine, None where it does not.
    """

    uid: str
    incarnation: int
    progress: int
    moved: int
    training: TrainingProgress | None = None
    ahead_ms: int = 0
    same_user: bool = False
    vitals: Vitals | None = None


class Presence(Protocol):
    """The leases of the nodes that are present. One that is not renewed in time is gone; all else is a hint."""

    async def announce(self, lease: Lease) -> None:
        """Grants or renews the lease of this node incarnation."""
        ...

    async def leave(self, uid: str, incarnation: int) -> None:
        """Ends a lease at once: the node has reported that it stops."""
        ...

    def observe(self) -> AsyncIterator[dict[str, Lease]]:
        """All leases by UID now, and again after every change."""
        ...
