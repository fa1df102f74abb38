"""Policies: whose signatures an act needs. One table of defaults, each line changeable by its own quorum. Pure.

An organisation signs through any of its operators, once. Whatever concerns one organisation alone it may always do
alone: revoke its own nodes, leave, end the contract that it owns.
"""

from collections.abc import Collection, Mapping
from typing import Final

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import ANYBODY, OPERATORS, TxContext
from swarmlearning.ledger.contracts.network.bodies import Quorum, Reject, SetPolicy, Sign
from swarmlearning.ledger.contracts.network.state import Policy, organisations
from swarmlearning.ledger.contracts.network.trust import authorities_of
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.world import World

CREATE_CONTRACT: Final = "create-contract"
DEFAULTS: Final[Mapping[str, Quorum]] = {
    "admit-organisation": "majority",
    "retire-organisation": "majority",
    "add-authority": "majority",
    "retire-authority": "majority",
    "revoke": "majority",
    "switch-rules": "majority",
    CREATE_CONTRACT: "one",
    "stop-contract": "majority",
    "reset-contract": "majority",
}
"""By the name of the act."""

_CONCERNS_ONE: Final = frozenset(
    {"retire-organisation", "add-authority", "retire-authority", "revoke", "stop-contract", "reset-contract"}
)
"""Acts that concern one organisation: the only ones that can be left to it (`own`)."""


def quorum_of(world: World, act: str) -> Quorum:
    """The quorum in force for an act. Raises `Rejection` where there is no such act."""
    if act not in DEFAULTS:
        raise Rejection(Code.UNKNOWN_ACT, f"there is no policy {act}; there are {', '.join(DEFAULTS)}")
    changed = world.get(f"policy/{act}", Policy)
    return changed.quorum if changed else DEFAULTS[act]


def suffices(world: World, act: str, concerned: str, signed: Collection[str]) -> bool:
    """True if the signatures of these organisations are enough; `concerned`: the one that may do it alone, or empty."""
    active = {each.id for each in organisations(world)}
    agreeing = active.intersection(signed)
    if concerned in agreeing or (concerned == ANYBODY and agreeing):
        return True
    match quorum_of(world, act):
        case "none" | "one":
            return bool(agreeing)
        case "majority":
            return 2 * len(agreeing) > len(active)
        case "all":
            return agreeing == active
        case "own":
            return False


def may_sign(world: World, organisation: str) -> bool:
    """True if an authority of the organisation may issue certificates for operators."""
    return any(OPERATORS.intersection(each.roles) for each in authorities_of(world, organisation))


def check_workable(world: World) -> None:
    """Raises `Rejection` if there is an act that could never have its quorum: it names who could never sign."""
    active = {each.id for each in organisations(world)}
    able = {each for each in active if may_sign(world, each)}
    for act in DEFAULTS:
        if quorum_of(world, act) != "own" and not suffices(world, act, "", able):
            raise Rejection(
                Code.LOCKED_OUT,
                f"{act} would need {quorum_of(world, act)}, and {', '.join(sorted(active - able))} could never sign: "
                "no authority there may issue certificates for operators",
            )


def answer(world: World, contract: str, body: Sign | Reject, tx: TxContext) -> World:
    """The world as it is: what an answer to a proposal changes depends on the act proposed, see `governing.py`."""
    return world


def set_policy(world: World, contract: str, body: SetPolicy, tx: TxContext) -> World:
    """Another quorum for an act. Raises `Rejection` for one that could never be met."""
    if quorum_of(world, body.act) == body.quorum:
        raise Rejection(Code.NO_CHANGE, f"{body.act} needs {body.quorum} already")
    return with_policies(world, {body.act: body.quorum})


def with_policies(world: World, quorums: Mapping[str, Quorum]) -> World:
    """The world in which these acts need these quorums. Raises `Rejection` for one that could never be met."""
    for act, quorum in quorums.items():
        quorum_of(world, act)
        if quorum == "own" and act not in _CONCERNS_ONE:
            raise Rejection(Code.LOCKED_OUT, f"{act} concerns no single organisation: nobody could do it on its own")
        if quorum == "none" and act != CREATE_CONTRACT:
            raise Rejection(Code.LOCKED_OUT, f"{act} is done by operators: it needs a signature at least")
    after = world.with_entries({f"policy/{act}": Policy(act, quorum) for act, quorum in quorums.items()})
    check_workable(after)
    return after
