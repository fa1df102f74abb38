"""The rules of rounds in slices as docs/protocol.md states them, kept apart from the contract's code: who contributes,
who can merge a slice, which digest of it counts, and who holds it."""

from collections import Counter
from collections.abc import Collection, Set

from swarmlearning.ledger.contracts.training.slices import Fault, Slice, Slicing
from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.ledger.contracts.training.submissions import kept_back

OUT_OF_REACH = ("unreachable", "too-slow")
"""What is said of a model that could not be had, and by now perhaps can."""
OF_ONE_SLICE = ("non-finite", "malformed")
"""What is said of a model's part in one slice; all else is true of every slice."""


def contributors(current: Round, slicing: Slicing) -> dict[str, str]:
    """The models that are merged, by who has submitted them."""
    out = {each.uid for each in slicing.excluded} | kept_back(current.submissions, current.base)
    return {uid: entry.digest for uid, entry in current.submissions.items() if entry.weight > 0 and uid not in out}


def able(state: Training, slicing: Slicing) -> set[str]:
    """Who can merge slices, and others can fetch them from; where nobody is such, those that nobody could fetch from
    before. Whose own model could not be had is none."""
    out = {each.uid for each in state.links if not each.merges}
    out |= {each.uid for each in slicing.excluded if each.reason in OUT_OF_REACH}
    there = {uid for uid, member in state.members.items() if member.alive and uid not in out}
    return {uid for uid in there if not state.members[uid].unreachable} or there


def counting(found: Slice) -> str:
    """The digest that counts of a slice: what most have stated who have merged it; none while as many state another."""
    if found.ruled or not found.roots:
        return found.ruled
    votes = Counter(found.roots.values())
    leading = [root for root, count in votes.items() if count == max(votes.values())]
    return leading[0] if len(leading) == 1 else ""


def holding(found: Slice) -> set[str]:
    """Who has stated that it has what counts of a slice; in a survey, all that have stated statistics."""
    root = counting(found)
    if not root:
        return set(found.statistics)
    return {uid for uid, stated in found.roots.items() if stated == root} | set(found.copies.get(root, ()))


def unusable(slicing: Slicing, index: int) -> set[str]:
    """Who has said that it cannot merge this slice, since some model is of no use."""
    return {each.by for each in _faults(slicing, index) if each.exclusion.reason not in OUT_OF_REACH}


def unable(slicing: Slicing, index: int) -> set[str]:
    """Who has said that it cannot merge this slice, or has merged something else than what counts."""
    found = slicing.slices[index]
    other = {uid for uid, root in found.roots.items() if root != counting(found)}
    return other | {each.by for each in _faults(slicing, index)}


def lacking(state: Training, slicing: Slicing, leader: str) -> list[int]:
    """The slices of which it is not known what they are, or that only the leader has, though others could; one that was
    deposed in this round before does not wait for these."""
    others = able(state, slicing) - {leader} if state.round and leader not in state.round.deposed else set[str]()
    return [
        index
        for index, each in enumerate(slicing.slices)
        if not counting(each) or (others and others.isdisjoint(holding(each)))
    ]


def can_take(state: Training, slicing: Slicing, index: int, but: Collection[str]) -> Set[str]:
    """Who could merge a slice in its merger's place, and has not merged it yet; nobody of these others."""
    found = slicing.slices[index]
    return able(state, slicing).difference(but, unable(slicing, index), found.roots, found.statistics, {found.merger})


def _faults(slicing: Slicing, index: int) -> list[Fault]:
    return [each for each in slicing.faults if each.slice == index or each.exclusion.reason not in OF_ONE_SLICE]
