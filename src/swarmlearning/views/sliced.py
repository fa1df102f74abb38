"""How a round is merged, by one leader or in slices, why so, and by whom: facts, and their rendering as text."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from swarmlearning.ledger.bodies import ExclusionReason
from swarmlearning.ledger.contracts.training.mergemode import FIRST_BYTES, UNMEASURED, MergeMode
from swarmlearning.ledger.contracts.training.slices import UNITS, Slice, Slicing, live_holders, stated
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Round, Training, alive
from swarmlearning.views.sizes import size_text

Why: TypeAlias = Literal["first", "small", "faster", "tried", "cannot"]
"""Why a round is merged in this way. `first`, `small`: nothing is measured yet, and a leader alone would have to fetch
much, or little; `faster`: so it has been; `tried`: the other way, to see whether it is faster by now; `cannot`: one
leader merges it, since its method, or who is there, allows nothing else, or it is collected again."""


class Merger(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member's part in a round that is merged in slices: its `share` of the model, 0 to 1, in so many `slices`, of
    which so many are `merged`; its link as it states it (`up`, `down`), bytes a second, 0: unknown. `received`: the
    bytes that it has fetched in this round, at `rate` bytes a second while it did, as its node states them."""

    uid: str
    share: float
    slices: int
    merged: int
    up: int = 0
    down: int = 0
    received: int = 0
    rate: float | None = None


class Moved(msgspec.Struct, frozen=True):
    """Slices that were given to another member: who was to merge them before, and who is now."""

    slices: tuple[int, ...]
    former: tuple[str, ...]
    merger: str


class Reported(msgspec.Struct, frozen=True):
    """A merger cannot get, or use, the model of a contributor in these slices."""

    slices: tuple[int, ...]
    by: str
    uid: str
    reason: ExclusionReason


class LeftOut(msgspec.Struct, frozen=True):
    """A contributor whose model members have agreed to leave out of all slices."""

    uid: str
    reason: ExclusionReason


class RoundWay(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a round is merged: in slices, or by its leader. `leader_ms` and `sliced_ms` are what rounds have taken with
    one leader and in slices, by block times, from the contributors' being fixed until all had the result; 0: unknown.

    `survey`: its number, while models are only surveyed in slices, for the coefficients of a geometric median; `merged`
    are those surveyed then. `waits`: by member, the slices that are still to come from it. `contradicted`: slices of
    which members state different bytes.
    """

    sliced: bool
    why: Why
    leader_ms: int = 0
    sliced_ms: int = 0
    mergers: tuple[Merger, ...] = ()
    waits: dict[str, int] = {}
    moved: tuple[Moved, ...] = ()
    faults: tuple[Reported, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    contradicted: tuple[int, ...] = ()
    survey: int = 0


def round_way(state: Training) -> RoundWay | None:
    """How the round in progress is merged; None while that is not decided, and under rules that know no slices."""
    current, mode = state.round, state.merge_mode
    if current is None or mode is None or mode.round != current.number:
        return None
    return _way(state, mode, current, slicing_of(state, current.number))


def closed_way(before: Training, after: Training) -> RoundWay | None:
    """How the round was merged that was in progress `before`, and is closed `after`."""
    current, mode = before.round, before.merge_mode
    if current is None or mode is None:
        return None
    now = after.merge_mode if after.merge_mode and after.merge_mode.round == current.number else mode
    if now.round != current.number:
        return None
    return _way(before, now, current, slicing_of(after, current.number) or slicing_of(before, current.number))


def _way(state: Training, mode: MergeMode, current: Round, slicing: Slicing | None) -> RoundWay:
    why = _why(mode, current, cut=slicing is not None)
    if slicing is None:
        return RoundWay(mode.sliced, why, mode.leader_ms, mode.sliced_ms)
    there, slices = alive(state), list(enumerate(slicing.slices))
    waits: dict[str, int] = {}
    for _, each in slices:
        if not live_holders(each, there):
            waits[each.merger] = waits.get(each.merger, 0) + 1
    return RoundWay(
        True,
        why,
        mode.leader_ms,
        mode.sliced_ms,
        mergers=tuple(
            _merger(state, uid, [each for _, each in slices if each.merger == uid])
            for uid in dict.fromkeys(each.merger for _, each in slices)
        ),
        waits=waits,
        moved=_moved(slicing),
        faults=_faults(slicing),
        left_out=tuple(LeftOut(each.uid, each.reason) for each in slicing.excluded),
        contradicted=tuple(index for index, each in slices if len(set(each.roots.values())) > 1),
        survey=slicing.survey,
    )


def _merger(state: Training, uid: str, own: list[Slice]) -> Merger:
    link = stated(state.links, uid)
    share = sum(each.units for each in own) / UNITS
    done = sum(uid in each.roots or uid in each.statistics for each in own)
    return Merger(uid, round(share, 4), len(own), done, link.up, link.down)


def _moved(slicing: Slicing) -> tuple[Moved, ...]:
    found: dict[tuple[tuple[str, ...], str], list[int]] = {}
    for index, each in enumerate(slicing.slices):
        if each.former:
            found.setdefault((each.former, each.merger), []).append(index)
    return tuple(Moved(tuple(indexes), former, merger) for (former, merger), indexes in found.items())


def _faults(slicing: Slicing) -> tuple[Reported, ...]:
    found: dict[tuple[str, str, ExclusionReason], list[int]] = {}
    for fault in slicing.faults:
        found.setdefault((fault.by, fault.uid, fault.exclusion.reason), []).append(fault.slice)
    return tuple(Reported(tuple(indexes), by, uid, reason) for (by, uid, reason), indexes in found.items())


def _why(mode: MergeMode, current: Round, *, cut: bool) -> Why:
    slices_win = 0 < mode.sliced_ms < mode.leader_ms or not mode.leader_ms
    if not mode.sliced and not cut and (mode.frozen_ms == UNMEASURED or (current.term and slices_win)):
        return "cannot"
    if not mode.leader_ms and not mode.sliced_ms:
        return "first" if mode.sliced else "small"
    return "faster" if mode.sliced == slices_win else "tried"


def with_names(way: RoundWay, name: Callable[[str], str]) -> RoundWay:
    """The same with names in the place of UIDs, for people."""
    replace = msgspec.structs.replace
    return replace(
        way,
        mergers=tuple(replace(each, uid=name(each.uid)) for each in way.mergers),
        waits={name(uid): count for uid, count in way.waits.items()},
        moved=tuple(
            replace(each, former=tuple(name(uid) for uid in each.former), merger=name(each.merger))
            for each in way.moved
        ),
        faults=tuple(replace(each, by=name(each.by), uid=name(each.uid)) for each in way.faults),
        left_out=tuple(replace(each, uid=name(each.uid)) for each in way.left_out),
    )


# --- as text, with names ----------------------------------------------------------------------------------------------


def way_text(way: RoundWay, number: int, *, closed: bool = False) -> str:
    """How the round is merged, and why, in one line."""
    if not way.sliced:
        return f"Round {number} {'was' if closed else 'is'} merged by its leader alone: {_reason(way)}"
    if not way.mergers:
        return f"Round {number} will be merged in slices: {_reason(way)}"
    count, verb = sum(each.slices for each in way.mergers), "was" if closed else "is"
    if way.survey:
        return (
            f"Round {number} {verb} merged in {count} slices by {len(way.mergers)} sites: {_reason(way)}. They survey "
            f"the models first (survey {way.survey}), which gives the coefficients of the geometric median"
        )
    return f"Round {number} {verb} merged in {count} slices by {len(way.mergers)} sites: {_reason(way)}"


def merger_text(each: Merger, survey: int = 0) -> str:
    """A merger's part: `merges 25 % in 4 slices, 3 merged; link 12 MB/s up, 40 MB/s down; got 50 MB at 31 MB/s`. In a
    `survey` it is `surveys 25 % in 4 slices, 3 surveyed`."""
    link = [f"{size_text(speed)}/s {way}" for speed, way in ((each.up, "up"), (each.down, "down")) if speed]
    does, done = ("surveys", "surveyed") if survey else ("merges", "merged")
    text = f"{does} {100 * each.share:.0f} % in {each.slices} slice{'s' * (each.slices != 1)}, {each.merged} {done}"
    if link:
        text += f"; link {', '.join(link)}"
    if each.received:
        text += f"; got {size_text(each.received)}" + (f" at {size_text(round(each.rate))}/s" if each.rate else "")
    return text


def trouble_texts(way: RoundWay) -> list[str]:
    """What went wrong, in a line each: slices that others merge, models that mergers cannot use, who is left out."""
    return [
        *(f"From {', '.join(each.former)} to {each.merger}: {_slices(each.slices)}" for each in way.moved),
        *(
            f"{each.by} could not use the model of {each.uid}, {each.reason}: {_slices(each.slices)}"
            for each in way.faults
        ),
        *(f"{each.uid} is left out of all slices: {each.reason}" for each in way.left_out),
        *(f"Members state different bytes of slice {index + 1}: one of them lies" for index in way.contradicted),
    ]


def _reason(way: RoundWay) -> str:
    own, other = (way.sliced_ms, way.leader_ms) if way.sliced else (way.leader_ms, way.sliced_ms)
    otherwise = "with one leader" if way.sliced else "in slices"
    least = size_text(FIRST_BYTES)
    match way.why:
        case "first":
            return f"nothing is measured yet, and a leader alone would have to fetch {least} or more"
        case "small":
            return f"nothing is measured yet, and there is less than {least} to fetch"
        case "faster":
            return f"rounds have taken {_seconds(own)} so" + (f", {_seconds(other)} {otherwise}" if other else "")
        case "tried":
            return f"to see how long that takes; {otherwise} rounds have taken {_seconds(other)}"
        case "cannot":
            return "its method or the sites that are there allow no slices, or it is collected again"


def _slices(indexes: tuple[int, ...]) -> str:
    """`slice 9`, `slices 1, 2`; counted from 1."""
    return f"slice{'s' * (len(indexes) != 1)} {', '.join(str(index + 1) for index in indexes)}"


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.1f} s"
