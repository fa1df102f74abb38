"""A round's model cut into slices: who merges which, who has stated what of it, and who holds it. Pure.

A slice is a run of whole chunks of the model's data, in units of 1/4096 of them: whoever knows the model's layout finds
its chunks (`chunks_of`). What determines the bytes of every slice is the *recipe*: method, base, and the contributors
with their models and integer coefficients. It is fixed before anybody merges, so a merger's statement about a slice
holds for the recipe, whoever leads, and two different ones show that somebody lies.

The coefficients of a geometric median are not known before all of every model has been read. So such a round begins
with a *survey*, which has a recipe of its own: each merger states the statistics of its slices, sums that the leader
gathers; and the coefficients that follow from these are on the ledger before anybody merges (`Weigh`). In recipes and
in the ledger's state, whose hashes are on the ledger, the fields keep their first names, `look` and `seen`.

A model has at least as many chunks as mergers, and each merger four slices, so that early ones travel while late ones
are merged; more where a link is so slow that a model takes long, since what is merged last travels alone. Shares follow
from the links that members state: a site downloads its share of each model, and what others have merged; shares are
such that all end at the same time.
"""

from collections import Counter
from collections.abc import Sequence, Set
from fractions import Fraction
from functools import cached_property
from statistics import median_low
from typing import Final, NamedTuple

import msgspec

from swarmlearning.choices import MergeMethod, Transfer, TransferBack
from swarmlearning.ledger.canonical import canonical, sha256
from swarmlearning.ledger.contracts.training.bodies import Exclusion

UNITS: Final = 4096
"""The most chunks that a model has."""
LEAST_CHUNK: Final = 256 * 1024
"""Bytes; as in the digests of models (`tensors/digest.py`)."""
MOST_MERGERS: Final = 32
SLICES_EACH: Final = 4
SLICE_SECONDS: Final = 2
"""A merger has so many slices more as the slowest link needs so many seconds for a model."""
MOST_SLICES: Final = MOST_MERGERS * SLICES_EACH
NO_WAY: Final = ("unreachable", "too-slow")
"""Reasons for leaving a contributor out that say nothing about its model."""
LARGEST_SHARE: Final = 2
"""Times the mean share: nobody gets more by its own word."""
ALIKE: Final = Fraction(6, 5)
"""Factor within which a link is like the middle one: measurements of equal links differ by as much, and shares by twice
that, while the largest share decides when a round ends."""


class Link(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member's link as it states it: bytes a second in each direction, 0 where it does not know. `merges`: whether
    it merges slices; a site that nobody can connect to does not."""

    uid: str
    up: int = 0
    down: int = 0
    merges: bool = True

    @property
    def capacity(self) -> int:
        """Bytes a second in both directions at a time; 0: unknown."""
        return min(self.up, self.down)


class Contributor(msgspec.Struct, frozen=True):
    """A model of a recipe."""

    uid: str
    digest: str
    coefficient: int


class Recipe(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that the bytes of a result follow from; `contributors` are in the order of their UIDs.

    `survey`: 0, or the number of a survey: the first one is about the median of the first three models, the second
    about the weighted mean of all; the coefficients are the weights then, in the first one those that were submitted.
    `transfer`: how the contributors' changes of the base are coded; `float32`: they give whole models. `back`: how the
    change from the base to what is merged of them is coded, which is the result then; `float32`: the merge itself is.
    """

    network: str
    contract: str
    run: int
    round: int
    method: MergeMethod
    base: str
    contributors: tuple[Contributor, ...]
    survey: int = msgspec.field(default=0, name="look")
    transfer: Transfer = "float32"
    back: TransferBack = "float32"

    @property
    def name(self) -> str:
        """Its digest."""
        return sha256(canonical(self))


class Slice(msgspec.Struct, frozen=True, omit_defaults=True, dict=True):
    """The chunks in these units, from `start` to before `stop`. `merger`: who is to merge it; `former`: who was before.

    `roots`: by merger, the digest that it has stated of the slice's chunks. `copies`: by such a digest, others that
    hold what it names. `ruled`: the digest that counts where mergers contradict each other, and nobody is left to ask.
    `overruled`: those that counted so before, and that a leader could have of nobody.
    `passed`: 1 + the term in which a leader has given the slice to another member last. `statistics`: in a survey, by
    merger, the digest of its statistics of the slice. Sums differ in their last bits between machines, so several may
    be true; a leader goes on from any of them. `changes`: by merger, the digest that it has stated of the coded chunks
    of the change that the slice is of the round's base, where merges travel so.
    """

    start: int
    stop: int
    merger: str
    former: tuple[str, ...] = ()
    roots: dict[str, str] = msgspec.field(default_factory=dict)
    copies: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    ruled: str = ""
    overruled: tuple[str, ...] = ()
    passed: int = 0
    statistics: dict[str, str] = msgspec.field(default_factory=dict, name="seen")
    changes: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def units(self) -> int:
        """Its length."""
        return self.stop - self.start

    @cached_property
    def readers(self) -> Set[str]:
        """Those that may read it of the contributors' models, or have."""
        return frozenset((self.merger, *self.former))

    @cached_property
    def root(self) -> str:
        """The digest that counts, which most mergers have stated; empty while there is none."""
        if self.ruled or not self.roots:
            return self.ruled
        if len(self.roots) == 1:
            return next(iter(self.roots.values()))
        (first, count), *others = Counter(self.roots.values()).most_common(2)
        return "" if others and others[0][1] == count else first

    @cached_property
    def change(self) -> str:
        """The digest of its coded chunks, by one of those whose word counts on the slice; empty while there is none."""
        root = self.root
        stated = (self.changes[uid] for uid in sorted(self.changes) if self.roots.get(uid) == root)
        return next(stated, "") if root else ""

    @cached_property
    def holders(self) -> Set[str]:
        """Who has stated that it holds the slice with that digest; in a survey, who has stated its statistics."""
        root = self.root
        if not root:
            return frozenset(self.statistics)
        return frozenset(uid for uid, stated in self.roots.items() if stated == root).union(self.copies.get(root, ()))

    @cached_property
    def contradicted(self) -> Set[str]:
        """Who has stated another digest than the one that counts; all while none does."""
        root = self.root
        return frozenset(uid for uid, stated in self.roots.items() if stated != root)

    def chunks_of(self, count: int) -> range:
        """The chunks that are in it, of a model with so many; there may be none."""
        return chunks_between(self.start, self.stop, count)


class Fault(msgspec.Struct, frozen=True):
    """A merger (`by`) cannot merge a slice since the model of this contributor (`uid`) cannot be had, or used."""

    slice: int
    by: str
    exclusion: Exclusion

    @property
    def uid(self) -> str:
        return self.exclusion.uid

    @property
    def may_pass(self) -> bool:
        """True if the model could not be had: by now it may be."""
        return self.exclusion.reason in NO_WAY


class Slicing(msgspec.Struct, frozen=True, omit_defaults=True):
    """A round that is merged in slices: `recipe` is the name of its present one, without those `excluded`.

    `survey`: that of the recipe. `weighed`: the contributors with the coefficients that a leader has stated.
    `taken_from`: the members from which a leader has taken a slice of the present recipe, and the first term in which
    one did. `lacked_by`: the leaders that lacked one which nobody was left to merge. `over`: all have had the result,
    and nobody keeps its contributions any more; who comes back later fetches the changes that its slices are.
    """

    round: int
    recipe: str
    slices: tuple[Slice, ...]
    excluded: tuple[Exclusion, ...] = ()
    faults: tuple[Fault, ...] = ()
    survey: int = msgspec.field(default=0, name="look")
    weighed: tuple[Contributor, ...] = ()
    taken_from: dict[str, int] = msgspec.field(default_factory=dict)
    lacked_by: tuple[str, ...] = ()
    over: bool = False

    def with_slice(self, index: int, changed: Slice) -> "Slicing":
        """A copy with this slice in the place of the one that had this index."""
        slices = (*self.slices[:index], changed, *self.slices[index + 1 :])
        return msgspec.structs.replace(self, slices=slices)

    def without_statistics_by(self, uid: str) -> "Slicing":
        """A copy in which this member has stated no statistics."""
        slices = tuple(
            msgspec.structs.replace(
                each, statistics={by: stated for by, stated in each.statistics.items() if by != uid}
            )
            for each in self.slices
        )
        return msgspec.structs.replace(self, slices=slices)


def chunks_between(start: int, stop: int, count: int) -> range:
    """The chunks that lie between these units, of a model with so many; there may be none."""
    return range(-(-start * count // UNITS), -(-stop * count // UNITS))


class Capacity(NamedTuple):
    """A member that merges, and its bytes a second in both directions; 0: unknown."""

    uid: str
    bytes: int


def divide(mergers: Sequence[Capacity], sites: int, size: int, slowest: int = 0) -> tuple[Slice, ...]:
    """Cuts a model of `size` bytes, of which `sites` sites get every slice, into slices of these mergers, in order.
    `slowest`: bytes a second of the slowest site's link; 0: unknown."""
    chunks = min(UNITS, max(1, -(-size // LEAST_CHUNK)))
    able = mergers[: min(MOST_MERGERS, chunks)]
    units = _apportioned(shares([each.bytes for each in able], sites))
    most = MOST_SLICES // len(able)
    each_has = min(max(SLICES_EACH, size // (SLICE_SECONDS * slowest)), most) if slowest else SLICES_EACH
    found: list[Slice] = []
    start = 0
    for each, own in zip(able, units, strict=True):
        pieces = max(1, min(each_has, own * chunks // UNITS)) if own else 0
        cuts = [start + own * piece // pieces for piece in range(1, pieces + 1)]
        for stop in cuts:
            found.append(Slice(start, stop, each.uid))
            start = stop
    return tuple(found)


def shares(capacities: Sequence[int], sites: int) -> list[Fraction]:
    """The parts of a model that sites with these bytes a second are to merge; they sum to 1.

    A merger with the share f downloads f of every other site's model and 1 - f of the result, 1 + f (sites - 2) models
    in all, and uploads as much. All end at the same time T where f = (T c - 1) / (sites - 2), in models and with c in
    models a second; who needs longer for a model alone merges nothing. Two sites divide in proportion.
    """
    known = [each for each in capacities if each]
    typical = median_low(known) if known else 1
    speeds = [Fraction(_counted(each, typical)) for each in capacities]
    if sites <= 2:
        return _limited([speed / sum(speeds) for speed in speeds])
    active = list(speeds)
    while True:
        seconds = Fraction(sites - 2 + len(active)) / sum(active)
        fast = [speed for speed in active if speed * seconds > 1]
        if len(fast) == len(active):
            break
        active = fast
    return _limited([max(Fraction(), (speed * seconds - 1) / (sites - 2)) for speed in speeds])


def _counted(speed: int, typical: int) -> int:
    """The speed that counts for a link: the middle one where it is like that, or not known."""
    return typical if speed == 0 or 1 / ALIKE <= Fraction(speed, typical) <= ALIKE else speed


def _limited(found: list[Fraction]) -> list[Fraction]:
    """The same shares where none is larger than `LARGEST_SHARE` allows; what is above is divided among the others."""
    most = Fraction(LARGEST_SHARE, len(found))
    while any(share > most for share in found):
        above = sum((share - most for share in found if share > most), Fraction())
        below = [share for share in found if share < most]
        spread = sum(below, Fraction())
        found = [
            most if share >= most else share + (above * share / spread if spread else above / len(below))
            for share in found
        ]
    return found


def _apportioned(parts: Sequence[Fraction]) -> list[int]:
    """Whole units, all of them, in these proportions."""
    edges = [int(sum(parts[: at + 1], Fraction()) * UNITS) for at in range(len(parts))]
    return [stop - start for start, stop in zip([0, *edges], edges, strict=False)]


def change_name(recipe: str) -> str:
    """The name under which the chunks of the coded change to a result are kept and served; `recipe`: the result's."""
    return sha256(f"change to {recipe}".encode())


def roots_of(slices: Sequence[Slice], indexes: Sequence[int]) -> str:
    """The digest of the digests that count of these slices; raises IndexError for one that there is not."""
    return sha256(canonical([slices[index].root for index in indexes]))


def units_read(slicing: Slicing, uid: str) -> int:
    """How much of every model a member may read, or has read."""
    return sum(each.units for each in slicing.slices if uid in each.readers)


def live_holders(found: Slice, alive: Set[str]) -> Set[str]:
    """Those of its holders that are alive."""
    return found.holders & alive


def expected_bytes(slicing: Slicing, uid: str, size: int, models: int) -> int:
    """The bytes that this member downloads in a round: its slices of all models, and the others of the result."""
    own = sum(each.units for each in slicing.slices if each.merger == uid)
    return (own * max(0, models - 1) + UNITS - own) * size // UNITS


def stated(links: Sequence[Link], uid: str) -> Link:
    """The link of a member; unknown where it states none."""
    return next((each for each in links if each.uid == uid), Link(uid))
