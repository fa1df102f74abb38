"""The terms that all sessions of a training share, and what is wrong with a session that has others."""

from typing import Final

import msgspec

from swarmlearning.ledger.bodies import OpenSession
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.state import Terms, Training

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


def agreed_terms(state: Training, body: OpenSession) -> Terms:
    """The contract's terms with those of one more session. Raises Rejection, naming everything that is different."""
    terms = Terms(**{field: getattr(body, field) for field in Terms.__struct_fields__})
    fixed = state.terms
    if fixed is None:
        return terms
    differences = [
        f"{text} is {getattr(fixed, name)}, this session has {getattr(terms, name)}"
        for name, text in _AGREED.items()
        if getattr(fixed, name) != getattr(terms, name)
    ]
    differences += [
        f"{text} differ from those of the other sites: they are not merged, so they have to be the same everywhere"
        for name, text in _NOT_MERGED.items()
        if getattr(fixed, name) and getattr(terms, name) not in ("", getattr(fixed, name))
    ]
    if differences:
        raise Rejection(Code.OTHER_TERMS, f"contract {state.name}: {'; '.join(differences)}. All sites must agree")
    return msgspec.structs.replace(
        fixed, **{name: getattr(fixed, name) or getattr(terms, name) for name in _NOT_MERGED}
    )
