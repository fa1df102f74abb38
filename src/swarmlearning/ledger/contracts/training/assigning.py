"""Who merges the slices of a round that nobody holds: their mergers, or members that take their place. Pure.

Whoever merges a slice reads it of every model, so it is the contract that chooses, never one member alone. A leader
that finds a merger too slow, or cannot get what it states, may only take the slice from it, once a term, and is not
given it itself while another is left. So no leader reads more by its own doing; two in turn might, which all see.
"""

from collections import Counter
from collections.abc import Collection

import msgspec

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.recipes import place
from swarmlearning.ledger.contracts.training.slices import NO_WAY, UNITS, Fault, Slice, Slicing, live_holders
from swarmlearning.ledger.contracts.training.state import Training

OF_A_SLICE = ("non-finite", "malformed")
"""The reasons for which a model cannot be used in one slice; every other one concerns all of them."""


def mergers(state: Training, slicing: Slicing) -> list[str]:
    """The members that can merge slices of this round, and that others can fetch them from; in the run's order.

    Those from which nobody could fetch before count where there are no others. Who was left out since nobody could
    fetch its model is none, whatever it states.
    """
    out = {each.uid for each in slicing.excluded if each.reason in NO_WAY}
    able = [uid for uid in _able(state) if uid not in out]
    reachable = [uid for uid in able if not state.members[uid].unreachable]
    return sorted(reachable or able, key=lambda uid: place(state, uid))


def _able(state: Training) -> list[str]:
    """The members that are there and merge slices."""
    out = {each.uid for each in state.links if not each.merges}
    return [uid for uid, member in state.members.items() if member.alive and uid not in out]


def not_held(state: Training, slicing: Slicing, leader: str) -> list[int]:
    """The slices for which the leader has to wait with the result: no other member from which others can fetch holds
    them. None where there is no such member, if the slices are merged; nor where the leader was deposed in this round
    before, perhaps as it waited for members that hang. All keep their models until they have the result."""
    was_deposed = state.round is not None and leader in state.round.deposed
    others = set() if was_deposed else set(mergers(state, slicing)) - {leader}
    return [
        index
        for index, each in enumerate(slicing.slices)
        if not each.root or (others and not live_holders(each, others))
    ]


def given_on(state: Training, slicing: Slicing) -> Slicing:
    """The slices that no member holds from which others can fetch are for members that can merge them."""
    if slicing.over:
        return slicing
    able, result = mergers(state, slicing), state.result
    standing = result is not None and result.closed.number == slicing.round
    if result is not None and standing and not set(result.holders).isdisjoint(able):
        return slicing  # it can be fetched as a whole
    there, loads = set(able), None
    for index, each in enumerate(slicing.slices):
        if each.ruled and not standing and live_holders(plain := msgspec.structs.replace(each, ruled=""), there):
            slicing = slicing.with_slice(index, plain)  # by now most have stated one digest, and are there
            continue
        if live_holders(each, there):
            continue
        unable = unable_to(slicing, index)
        if each.merger in there and each.merger not in unable:
            continue
        loads, takers = loads or _Loads(slicing), [uid for uid in able if uid not in unable]
        if takers and set(takers).issubset(each.former) and each.merger in set(_spare(state, able)) - unable:
            continue  # a leader has taken it from all that are able
        if takers:
            slicing = slicing.with_slice(index, loads.given(each, takers))
        elif not standing:
            slicing = slicing.with_slice(index, _ruled(state, each, able))
            if spare := [uid for uid in _spare(state, able) if uid not in unable]:
                slicing = slicing.with_slice(index, loads.given(slicing.slices[index], spare))
    return slicing


def unable_to(slicing: Slicing, index: int) -> set[str]:
    """The members that cannot merge this slice: they have said so, or stated another digest than that which counts."""
    return {each.by for each in slicing.faults if concerns(each, index)} | slicing.slices[index].contradicted


def silent(slicing: Slicing, term: int) -> set[str]:
    """The members that have said nothing about the present recipe, though a former leader has had to take a slice from
    them: nobody waits for their word. A leader alone makes nobody silent, since that takes a new term."""
    stated = {uid for each in slicing.slices for uid in (*each.roots, *each.statistics)}
    taken_from = {uid for uid, then in slicing.taken_from.items() if then < term}
    return taken_from - stated - {each.by for each in slicing.faults}


def concerns(fault: Fault, index: int) -> bool:
    """True if its merger cannot merge this slice, for the same reason."""
    return fault.slice == index or fault.exclusion.reason not in OF_A_SLICE


def passed_on(state: Training, slicing: Slicing, index: int, leader: str, term: int) -> Slicing:
    """The slice given to another member at its leader's word. Where none is left another one of the digests counts that
    mergers have stated, or it is noted that the leader lacks the slice, if it is not yet. Raises `Rejection`."""
    found = slicing.slices[index]
    if leader in found.holders:
        raise Rejection(Code.NO_CHANGE, f"{leader} holds slice {index} itself")
    try:
        return _taken(state, slicing, index, leader, term)
    except Rejection as why:
        if other := _overruled(state, slicing, found, term):
            return slicing.with_slice(index, other)
        if why.code is not Code.NOT_MERGER:
            raise
        noted = (*slicing.lacked_by, leader) if leader not in slicing.lacked_by else slicing.lacked_by
        return msgspec.structs.replace(slicing, lacked_by=noted)


def hardest_first(state: Training, slicing: Slicing, indexes: Collection[int]) -> list[int]:
    """These slices, first those that fewest are left to merge: else who has to take these may have been given others
    before, so that it reads a whole model though somebody else could have merged the others (seed 61102)."""
    return sorted(indexes, key=lambda index: (len(_not_asked(state, slicing, index, set())), index))


def has_unobtainable_slice(state: Training, slicing: Slicing) -> bool:
    """True if two leaders, of two organisations where as many may lead, lack slices that nobody is left to merge: those
    who have stated them serve them to nobody. One is enough where all others that may lead have done so in vain."""
    leaders = {uid: member.organisation for uid, member in state.members.items() if member.alive and member.may_lead}
    lacking = leaders.keys() & set(slicing.lacked_by)
    in_vain = lacking.union(state.round.deposed if state.round else ())
    organisations = {leaders[uid] for uid in lacking}
    enough = len(lacking) >= 2 and len(organisations) >= min(2, len(set(leaders.values())))
    return enough or (bool(lacking) and leaders.keys() <= in_vain)


def _taken(state: Training, slicing: Slicing, index: int, leader: str, term: int) -> Slicing:
    found = slicing.slices[index]
    if leader == found.merger:
        raise Rejection(Code.NO_CHANGE, f"{leader} merges slice {index} itself")
    if found.passed > term:
        raise Rejection(Code.NO_CHANGE, f"slice {index} was given to another member in term {term} already")
    again = _lately_unable(slicing, index)
    able = _not_asked(state, slicing, index, set()) or _not_asked(state, slicing, index, again)
    fresh = [uid for uid in able if uid not in found.former]
    others = [uid for uid in able if uid != leader] if set(fresh) - {leader} else fresh
    if not (takers := others or able):
        raise Rejection(Code.NOT_MERGER, f"nobody is left who could merge slice {index}")
    given = _Loads(slicing).given(found, takers, last=found.former)
    faults = tuple(each for each in slicing.faults if each.by != given.merger or not each.may_pass)
    taken_from = {found.merger: term, **slicing.taken_from}
    slicing = msgspec.structs.replace(slicing, faults=faults, taken_from=taken_from)
    return slicing.with_slice(index, msgspec.structs.replace(given, passed=term + 1))


def _not_asked(state: Training, slicing: Slicing, index: int, again: Collection[str]) -> list[str]:
    """The members that could merge this slice in the place of its merger, and have not stated what it is; those that
    could not have a model but may try `again` count as able."""
    found = slicing.slices[index]
    out = {found.merger, *found.roots, *found.statistics} | unable_to(slicing, index).difference(again)
    able = mergers(state, slicing)
    return [uid for uid in able if uid not in out] or [uid for uid in _spare(state, able) if uid not in out]


def _lately_unable(slicing: Slicing, index: int) -> set[str]:
    """The members that could not have a model. Where the slice's merger hangs, or serves it to nobody, they are asked
    once more: else all would wait for that one, though models can be had by now (seeds 782, 2250)."""
    faults = [each for each in slicing.faults if concerns(each, index)]
    return {each.by for each in faults} - {each.by for each in faults if not each.may_pass}


def _spare(state: Training, able: Collection[str]) -> list[str]:
    """The members that could merge, too, though it seems that nobody can fetch from them: their word decides between
    others."""
    spare = [uid for uid in _able(state) if uid not in able]
    return sorted(spare, key=lambda uid: place(state, uid))


def _ruled(state: Training, found: Slice, able: Collection[str]) -> Slice:
    """The slice for which nobody is left to ask. What most of those state counts that are there, or what the leader
    does; of others the first in the run's order."""
    there = {uid: found.roots[uid] for uid in able if uid in found.roots}
    if not there:
        return found
    leader, stated_there = state.round.leader if state.round else "", list(there.values())
    first = max(
        there, key=lambda uid: (there[uid] not in found.overruled, stated_there.count(there[uid]), uid == leader)
    )
    return msgspec.structs.replace(found, ruled=there[first])


def _overruled(state: Training, slicing: Slicing, found: Slice, term: int) -> Slice | None:
    """The slice of which another digest counts than the one that its leader can have of nobody: each once, of those
    that are stated as often, and once more in another term. None where there is no other, or most have stated one."""
    if not found.ruled or msgspec.structs.replace(found, ruled="").root:
        return None
    stated_there = [found.roots[uid] for uid in mergers(state, slicing) if uid in found.roots]
    most = max((stated_there.count(digest) for digest in stated_there), default=0)
    others = [one for one in dict.fromkeys(stated_there) if stated_there.count(one) == most and one != found.ruled]
    if left := [digest for digest in others if digest not in found.overruled]:
        return msgspec.structs.replace(found, ruled=left[0], overruled=(*found.overruled, found.ruled))
    if others and found.passed <= term:
        return msgspec.structs.replace(found, ruled=others[0], overruled=(found.ruled,), passed=term + 1)
    return None


class _Loads:
    """What members have to do and read, of a round's slices."""

    def __init__(self, slicing: Slicing) -> None:
        self._work: Counter[str] = Counter()
        self._read: Counter[str] = Counter()
        for each in slicing.slices:
            self._work.update(each.readers if not each.holders else each.former)
            self._read.update(dict.fromkeys(each.readers, each.units))

    def given(self, found: Slice, takers: Collection[str], last: Collection[str] = ()) -> Slice:
        """The slice for whoever has least to do; for nobody who would read all of a model then, while others are left;
        for those who come `last` rather than for such a one. What was taken from a member counts as if it were to be
        done: nothing more goes to whoever keeps others waiting."""
        uid = min(takers, key=lambda uid: (self._reads_all(found, uid), uid in last, self._work[uid], self._read[uid]))
        if uid not in found.readers:
            self._work[uid] += 1
            self._read[uid] += found.units
        former = tuple(sorted({*found.former, found.merger} - {uid}))
        return msgspec.structs.replace(found, merger=uid, former=former)

    def _reads_all(self, found: Slice, uid: str) -> bool:
        return uid not in found.readers and self._read[uid] + found.units == UNITS
