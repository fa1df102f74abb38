"""The leases of a license server, as a state machine over a clock: every method takes the time. Pure.

A token is lent for a while, and each request of its holder renews it: taking and renewing are one act, so an answer
that was lost is simply requested again. A holder is an identity with a UID, so a node that is started again after a
crash finds its own token.

Two servers that share their leases each keep the newest state of every lease (`merge`): the same leases follow from
the same states in any order, however often they are exchanged. So a lease that was given back is kept until it would
have ended, or the other server's older state of it would bring it back.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated, NamedTuple, TypeAlias

import msgspec

from swarmlearning.license.features import Feature
from swarmlearning.license.rights import Right

LONGEST_MS = 24 * 3600 * 1000
"""No lease lasts longer from now on: one that seems to was made before the clock was set back, and has ended."""
MOST = 50_000
MOST_OF_ONE_AUTHORITY = 10_000
"""Leases in memory and on disk, with those that have been given back lately."""

Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=1000)]
Time: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]


class Holder(NamedTuple):
    """Who holds a token: a subject under this authority (a thumbprint, or a trust domain), and the UID."""

    authority: str
    subject: str
    uid: str


class Lease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One lease in its state since `changed_ms`; all times are Unix time in milliseconds."""

    feature: Feature
    authority: Text
    subject: Text
    uid: Text
    granted_ms: Time
    changed_ms: Time
    until_ms: Time
    released: bool = False

    @property
    def key(self) -> "Key":
        """What distinguishes it from all others."""
        return (self.feature, self.authority, self.subject, self.uid)

    def holds(self, now_ms: int) -> bool:
        """True while its token is lent."""
        return not self.released and 0 < self.until_ms - now_ms <= LONGEST_MS

    def matters(self, now_ms: int) -> bool:
        """False once it may be forgotten."""
        return 0 < self.until_ms - now_ms <= LONGEST_MS

    def _order(self) -> tuple[int, bool, int, int]:
        """The greatest of a lease's states is the newest one."""
        return (self.changed_ms, self.released, self.until_ms, self.granted_ms)

    def newer_than(self, other: "Lease") -> bool:
        """Whether this state of a lease replaces that other one."""
        return self._order() > other._order()


Key: TypeAlias = tuple[Feature, str, str, str]


class FullError(Exception):
    """There is no room for another lease."""


class LeaseTable:
    """All leases that matter. Each change gets the next number, `changes`."""

    def __init__(self, leases: Iterable[Lease] = ()) -> None:
        self._leases: dict[Key, Lease] = {}
        self._changed: dict[Key, int] = {}
        self.changes = 0
        for lease in leases:
            self._put(lease)

    def __len__(self) -> int:
        return len(self._leases)

    def __iter__(self) -> Iterator[Lease]:
        return iter(list(self._leases.values()))

    def in_use(self, feature: Feature, now_ms: int) -> int:
        """The tokens of a feature that are lent."""
        return len(self._held(feature, now_ms))

    def acquire(self, feature: Feature, holder: Holder, right: Right, lasts_ms: int, now_ms: int) -> Lease | None:
        """Lends a token for `lasts_ms`, or renews the lease of who has one; None where there is none to have.

        Where more are lent than there is a right to, those that were lent last are not renewed. Raises `FullError`.
        """
        held = self._held(feature, now_ms)
        known = self._leases.get((feature, *holder))
        until = min(now_ms + lasts_ms, right.until_ms)
        if known is not None and known.holds(now_ms):
            if known not in held[: right.capacity]:
                return None
            granted = known.granted_ms
        elif len(held) >= right.capacity:
            return None
        else:
            granted = now_ms
        if until <= now_ms:
            return None
        if known is None:
            self._require_room(holder.authority)
        changed = max(now_ms, known.changed_ms + 1) if known else now_ms
        return self._put(Lease(feature, *holder, granted, changed, until))

    def release(self, feature: Feature, holder: Holder, now_ms: int) -> Lease | None:
        """Takes a token back; None where the holder has none."""
        known = self._leases.get((feature, *holder))
        if known is None or not known.holds(now_ms):
            return None
        changed = max(now_ms, known.changed_ms + 1)
        return self._put(msgspec.structs.replace(known, changed_ms=changed, released=True))

    def extend(self, silent_since_ms: int, lasts_ms: int, now_ms: int) -> list[Lease]:
        """Lets what was lent when the last server fell silent last for `lasts_ms` from now on, since nobody could renew
        it meanwhile; returns what this changes."""
        late = [lease for lease in self if not lease.released and silent_since_ms < lease.until_ms < now_ms + lasts_ms]
        return [
            self._put(
                msgspec.structs.replace(lease, changed_ms=max(now_ms, lease.changed_ms + 1), until_ms=now_ms + lasts_ms)
            )
            for lease in late
        ]

    @property
    def last_changed_ms(self) -> int:
        """The time of the last change that is known."""
        return max((lease.changed_ms for lease in self), default=0)

    def merge(self, lease: Lease, now_ms: int) -> bool:
        """Takes over another server's state of a lease where it is newer; whether it is. Raises `FullError`."""
        known = self._leases.get(lease.key)
        if not lease.matters(now_ms) or (known is not None and not lease.newer_than(known)):
            return False
        if known is None:
            self._require_room(lease.authority)
        self._put(lease)
        return True

    def since(self, change: int, most: int) -> tuple[list[Lease], int]:
        """The leases that have changed after the change of this number, the first `most`, and the number of the last
        change among them."""
        found = list(islice((item for item in self._changed.items() if item[1] > change), most))
        return [self._leases[key] for key, _ in found], found[-1][1] if found else self.changes

    def forget(self, now_ms: int) -> list[Key]:
        """Forgets the leases that do not matter any more, and returns which."""
        gone = [lease.key for lease in self if not lease.matters(now_ms)]
        for key in gone:
            del self._leases[key], self._changed[key]
        return gone

    def _held(self, feature: Feature, now_ms: int) -> list[Lease]:
        """The leases of a feature, the oldest first."""
        held = [lease for lease in self._leases.values() if lease.feature == feature and lease.holds(now_ms)]
        return sorted(held, key=lambda lease: (lease.granted_ms, lease.key))

    def _require_room(self, authority: str) -> None:
        if len(self._leases) >= MOST:
            raise FullError(f"this server keeps {MOST} leases, which is the most")
        if sum(each.authority == authority for each in self._leases.values()) >= MOST_OF_ONE_AUTHORITY:
            raise FullError(f"this server keeps {MOST_OF_ONE_AUTHORITY} leases of this authority, which is the most")

    def _put(self, lease: Lease) -> Lease:
        self.changes += 1
        self._leases[lease.key] = lease
        self._changed.pop(lease.key, None)  # so that they stay in the order of their changes
        self._changed[lease.key] = self.changes
        return lease
