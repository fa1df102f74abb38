"""The terms that all sessions of a training share, and what is wrong with a session that has others."""

from collections.abc import Iterator
from typing import Final

import msgspec

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.bodies import OpenSession
from swarmlearning.ledger.contracts.training.state import Terms, Training, present

_AGREED: Final = {
    "merge_method": "mergeMethod",
    "min_peers": "minPeers",
    "structure": "model structure",
    "initial": "SL_INITIAL_SYNC",
}
_NOT_MERGED: Final = {
    "frozen": "the frozen tensors",
    "classes": "the classes (or their order)",
    "features": "the features (or their order)",
}


ANEW: Final = "for another training use another trainingContract, or an operator resets it (swarm contract reset)"


def with_terms(state: Training, body: OpenSession) -> Training:
    """The contract with the terms that it has when this session is open, too.

    Where no other session is open and nothing was merged nobody needs what earlier sessions have fixed. Raises
    Rejection, naming everything that is different.
    """
    terms = Terms(**{field: getattr(body, field) for field in Terms.__struct_fields__})
    fixed = state.terms
    if fixed is None:
        return msgspec.structs.replace(state, terms=terms)
    if differences := list(_differences(fixed, terms)):
        if not state.rounds and not present(state):
            return msgspec.structs.replace(state, terms=terms, members={}, round=None, order="", stopping=False)
        raise Rejection(
            Code.OTHER_TERMS, f"contract {state.name}: {'; '.join(differences)}. All sites must agree; {ANEW}"
        )
    added = {name: getattr(fixed, name) or getattr(terms, name) for name in _NOT_MERGED}
    return msgspec.structs.replace(state, terms=msgspec.structs.replace(fixed, **added))


def _differences(fixed: Terms, terms: Terms) -> Iterator[str]:
    for name, text in _AGREED.items():
        if getattr(fixed, name) != getattr(terms, name):
            yield f"{text} is {getattr(fixed, name)}, this session has {getattr(terms, name)}"
    for name, text in _NOT_MERGED.items():
        if getattr(fixed, name) and getattr(terms, name) not in ("", getattr(fixed, name)):
            yield f"{text} differ from those of the other sites: they are not merged and have to be the same everywhere"
