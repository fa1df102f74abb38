"""Members check a result together that was merged in slices: who checks which part of it, and what was found. Pure.

Nobody sees by a result that its slices were merged rightly; whoever has their range of all contributions can merge
them again and compare. Once the result stands, each member that is there is assigned its part of it: 1/N of the
model, nothing that it has merged itself, and all parts together are the whole. Which part is whose follows from the
result's digest, so no merger knows beforehand who will check it.

Assigning is laying two circles on each other: the slices in the order of who merged them, largest shares first, and
the members' equal parts in the same order, turned until nobody's part touches its own slices. All turns by which that
is so are an interval, and the digest chooses one of them. Where there is none, as with two sites of unequal shares,
and where several have merged a slice, what would touch is nobody's part.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate

import msgspec

from swarmlearning.ledger.canonical import canonical, sha256
from swarmlearning.ledger.contracts.training.slices import UNITS, Recipe, Slice


class Part(msgspec.Struct, frozen=True):
    """A run of the model that a member checks, in units of `slices.UNITS`: from `start` to before `stop`."""

    uid: str
    start: int
    stop: int

    @property
    def units(self) -> int:
        """Its length."""
        return self.stop - self.start


class Checks(msgspec.Struct, frozen=True, omit_defaults=True):
    """The checks of one result. `slices`: who has merged what, its `former` mergers having stated the same.

    `begun`: the members that have stated that they check, and so may read their parts of the contributions. `found`:
    of those that have stated what they found, the slices in which the result has other bytes.
    """

    round: int
    result: str
    recipe: Recipe
    slices: tuple[Slice, ...]
    parts: tuple[Part, ...]
    begun: tuple[str, ...] = ()
    found: dict[str, tuple[int, ...]] = msgspec.field(default_factory=dict)

    @property
    def members(self) -> list[str]:
        """Those that have a part, in order."""
        return sorted({part.uid for part in self.parts})

    def parts_of(self, uid: str) -> tuple[Part, ...]:
        """What this member checks; nothing, where it is given nothing."""
        return tuple(part for part in self.parts if part.uid == uid)

    def units_of(self, uids: Collection[str]) -> int:
        """How much of the model these members check together."""
        return sum(part.units for part in self.parts if part.uid in uids)

    def slices_of(self, uid: str) -> set[int]:
        """The slices of which something is in this member's parts."""
        return {
            index
            for index, each in enumerate(self.slices)
            if any(part.start < each.stop and each.start < part.stop for part in self.parts_of(uid))
        }


def merged_by(found: Slice) -> tuple[str, ...]:
    """Who has stated the digest that counts of a slice, its merger first; the merger, where nobody has."""
    stated = [uid for uid, root in sorted(found.roots.items()) if root == found.root]
    return tuple(sorted(stated, key=lambda uid: uid != found.merger)) or (found.merger,)


def assigned(slices: Sequence[Slice], members: Collection[str], result: str) -> tuple[Part, ...]:
    """The parts of these members, by the slices as they were merged."""
    makers = [merged_by(each) for each in slices]
    merged: dict[str, int] = dict.fromkeys(members, 0)
    for each, (first, *_) in zip(slices, makers, strict=True):
        merged[first] = merged.get(first, 0) + each.units
    order = sorted(merged, key=lambda uid: (uid in members, -merged[uid], _drawn(result, uid)))
    shares = _edges([merged[uid] for uid in order])
    equal = [UNITS * (at + 1) // len(members) - UNITS * at // len(members) for at in range(len(members))]
    quotas = _edges([0] * (len(order) - len(members)) + equal)
    turn = _turn(shares, quotas, int(_drawn(result, ""), 16))
    laid = sorted(range(len(slices)), key=lambda index: (order.index(makers[index][0]), slices[index].start))
    found: list[Part] = []
    for place, uid in enumerate(order):
        wanted = _arc(quotas[place] + turn, quotas[place + 1] + turn)
        found += _joined(uid, _taken([(slices[index], uid in makers[index]) for index in laid], wanted))
    return tuple(found)


def without_readers_of_all(parts: Sequence[Part], slices: Sequence[Slice]) -> tuple[Part, ...]:
    """The parts but those of members that would have read all of every model with them, having merged the rest."""
    read: dict[str, set[int]] = {}
    for each in slices:
        for uid in each.readers:
            read.setdefault(uid, set()).update(range(each.start, each.stop))
    for part in parts:
        read.setdefault(part.uid, set()).update(range(part.start, part.stop))
    return tuple(part for part in parts if len(read[part.uid]) < UNITS)


def _drawn(result: str, uid: str) -> str:
    return sha256(canonical([result, uid]))


def _edges(lengths: Sequence[int]) -> list[int]:
    return [0, *accumulate(lengths)]


def _turn(shares: Sequence[int], quotas: Sequence[int], dice: int) -> int:
    """By how much quotas are turned so that none touches the share at the same place; `dice` chooses."""
    places = [at for at in range(len(shares) - 1) if shares[at] < shares[at + 1] and quotas[at] < quotas[at + 1]]
    least = max((shares[at + 1] - quotas[at] for at in places), default=0)
    most = min((UNITS + shares[at] - quotas[at + 1] for at in places), default=UNITS - 1)
    return least + dice % (most - least + 1) if least <= most else (least + most) // 2


def _arc(start: int, stop: int) -> list[tuple[int, int]]:
    """The same on a circle that begins anew after all units: one run, or two."""
    start, stop = start % UNITS, start % UNITS + stop - start
    return [(start, min(stop, UNITS)), (0, max(0, stop - UNITS))]


def _taken(laid: Sequence[tuple[Slice, bool]], wanted: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The units that lie in these runs of the slices as they are laid, but for slices that are the taker's own."""
    at, runs = 0, list[tuple[int, int]]()
    for each, own in laid:
        for start, stop in wanted:
            first, last = max(start, at) - at, min(stop, at + each.units) - at
            if first < last and not own:
                runs.append((each.start + first, each.start + last))
        at += each.units
    return sorted(runs)


def _joined(uid: str, runs: Sequence[tuple[int, int]]) -> list[Part]:
    found: list[Part] = []
    for start, stop in runs:
        if found and found[-1].stop == start:
            found[-1] = Part(uid, found[-1].start, stop)
        else:
            found.append(Part(uid, start, stop))
    return found


def found_wrong(checks: Checks) -> Mapping[int, list[str]]:
    """By slice, the members that have found other bytes in it."""
    wrong: dict[int, list[str]] = {}
    for uid, indexes in sorted(checks.found.items()):
        for index in indexes:
            wrong.setdefault(index, []).append(uid)
    return dict(sorted(wrong.items()))
