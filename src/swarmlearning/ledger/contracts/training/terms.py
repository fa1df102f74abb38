"""The terms that all sessions of a training share, and what is wrong with a session that has others.

Where one organisation is enough for a round, the first session lays down the terms. Where a round needs sites of
several, nobody binds the others alone: until so many organisations agree each session may state terms of its own, and
those hold that most organisations state. A member that has stated others (`other-terms`) is not counted.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Final

import msgspec

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.state import Member, Terms, Training, needed_organisations, present

_AGREED: Final = {
    "merge_method": "mergeMethod",
    "min_peers": "minPeers",
    "structure": "model structure",
    "initial": "SL_INITIAL_SYNC",
    "outer": "outerOptimizer",
}
_NOT_MERGED: Final = {
    "frozen": "the frozen tensors",
    "classes": "the classes (or their order)",
    "features": "the features (or their order)",
}


ANEW: Final = "for another training use another trainingContract, or an operator resets it (swarm contract reset)"


def with_session(state: Training, member: Member) -> Training:
    """The contract with this session and the terms that it has then.

    Where no other session is open and nothing was merged nobody needs what earlier sessions have fixed. Raises
    Rejection, naming everything that is different.
    """
    fixed, terms = state.terms, member.terms
    assert terms is not None
    if needed_organisations(state) > 1:
        return _with_most(state, member, terms)
    if fixed is None:
        state = msgspec.structs.replace(state, terms=terms)
    elif differs(fixed, terms) and not state.rounds and not present(state):
        state = msgspec.structs.replace(state, terms=terms, members={}, round=None, order="", stopping=False)
    else:
        check_terms(state, terms)
        added = {name: getattr(fixed, name) or getattr(terms, name) for name in _NOT_MERGED}
        state = msgspec.structs.replace(state, terms=msgspec.structs.replace(fixed, **added))
    return msgspec.structs.replace(state, members={**state.members, member.uid: member})


def check_terms(state: Training, terms: Terms) -> None:
    """Raises Rejection, naming everything in which these terms differ from those of the contract."""
    if state.terms is not None and (differences := list(_differences(state.terms, terms))):
        raise Rejection(
            Code.OTHER_TERMS, f"contract {state.name}: {'; '.join(differences)}. All sites must agree; {ANEW}"
        )


def differs(fixed: Terms, terms: Terms) -> bool:
    """True if a session with these terms does not agree with those of the contract."""
    return any(_differences(fixed, terms))


def _with_most(state: Training, member: Member, terms: Terms) -> Training:
    """The terms are those that sites of most organisations state, until enough of them agree."""
    others = [one for uid, one in state.members.items() if uid != member.uid and _takes_part(one)]
    sessions, needed, fixed = (*others, member), needed_organisations(state), state.terms
    begun = bool(state.rounds) or (state.round is not None and any(one.present for one in others))
    if fixed is None or not (begun or len(_organisations(others, fixed)) >= needed):
        stated = [one.terms for one in sessions if one.terms is not None]
        fixed = max(stated, key=lambda each: (len(_organisations(sessions, each)), _agreed(each)))
        unmerged = dict.fromkeys(_NOT_MERGED, "")
        fixed = msgspec.structs.replace(fixed, **unmerged)
    else:
        check_terms(state, terms)
    members = {**state.members, member.uid: member}
    if not begun:
        agreeing = [one for one in sessions if one.terms and _agreed(one.terms) == _agreed(fixed)]
        binding = {name: getattr(fixed, name) or _stated_by_enough(agreeing, name, needed) for name in _NOT_MERGED}
        fixed = msgspec.structs.replace(fixed, **binding)
        members |= {one.uid: _counted(one, fixed) for one in sessions}
        if state.terms and _agreed(state.terms) != _agreed(fixed):
            state = msgspec.structs.replace(state, round=None, order="", stopping=False)
    return msgspec.structs.replace(state, terms=fixed, members=members)


def _counted(member: Member, fixed: Terms) -> Member:
    """The member before round 0, which counts if it has stated these terms."""
    agrees = member.terms is None or not differs(fixed, member.terms)
    return msgspec.structs.replace(member, attendance="present" if agrees else "other-terms", awaited=agrees)


def _takes_part(member: Member) -> bool:
    return member.attendance in ("present", "other-terms")


def _agreed(terms: Terms) -> tuple[str, ...]:
    return tuple(_text(terms, name) for name in _AGREED)


def _text(terms: Terms, name: str) -> str:
    value = getattr(terms, name)
    return "none" if value is None else str(value)


def _organisations(members: Collection[Member], terms: Terms) -> set[str]:
    """The organisations whose sites state these terms."""
    return {one.organisation for one in members if one.terms and _agreed(one.terms) == _agreed(terms)}


def _stated_by_enough(members: Collection[Member], name: str, needed: int) -> str:
    """What sites of enough organisations state as this digest; empty where they do not."""
    by_value: dict[str, set[str]] = defaultdict(set)
    for one in members:
        by_value[getattr(one.terms, name)].add(one.organisation)
    return max((value for value, stating in by_value.items() if len(stating) >= needed), default="")


def _differences(fixed: Terms, terms: Terms) -> Iterator[str]:
    other_roles = (fixed.outer is None) != (terms.outer is None)  # so the structures of one model differ, too
    for name, text in _AGREED.items():
        if name == "structure" and other_roles:
            continue
        if getattr(fixed, name) != getattr(terms, name):
            yield f"{text} is {_text(fixed, name)}, this session has {_text(terms, name)}"
    for name, text in _NOT_MERGED.items():
        if getattr(fixed, name) and getattr(terms, name) not in ("", getattr(fixed, name)):
            yield f"{text} differ from those of the other sites: they are not merged and have to be the same everywhere"
