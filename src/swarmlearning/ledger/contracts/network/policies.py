"""Policies: whose signatures an act needs. One table, each line of which can be changed. Pure.

An organisation signs through any of its operators, once. Whatever concerns one organisation alone it may always do
alone: revoke its own nodes, leave, end the contract that it owns.
"""

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import ANYBODY, OPERATORS, TxContext
from swarmlearning.ledger.contracts.network.bodies import Quorum, Reject, SetPolicy, Sign
from swarmlearning.ledger.contracts.network.state import Policy, organisations
from swarmlearning.ledger.contracts.network.trust import authorities_of
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.world import World

_OF_MANY: Final[tuple[Quorum, ...]] = ("one", "majority", "all")
_OF_ONE: Final[tuple[Quorum, ...]] = ("own", *_OF_MANY)
_RIGHT: Final[tuple[Quorum, ...]] = ("own", "one")


class Line(NamedTuple):
    """The line of an act: its quorum unless a policy changes it, the quorums that it can have, and for people who may
    always do it `alone`."""

    quorum: Quorum
    choices: tuple[Quorum, ...] = _OF_MANY
    alone: str = ""


CREATE_CONTRACT: Final = "create-contract"
TAKE_PART: Final = "take-part"
READ_RESULTS: Final = "read-results"
READ_FINAL_RESULTS: Final = "read-final-results"
READ_LOGS: Final = "read-logs"
RECOVER: Final = "recover"
ASSIGN_TASKS: Final = "assign-tasks"
TABLE: Final[Mapping[str, Line]] = {
    "admit-organisation": Line("majority"),
    "retire-organisation": Line("majority", _OF_ONE, "itself"),
    "add-authority": Line("majority", _OF_ONE, "its organisation (a successor)"),
    "retire-authority": Line("majority", _OF_ONE, "its organisation"),
    "revoke": Line("majority", _OF_ONE, "its organisation"),
    "set-quotas": Line("majority"),
    "switch-rules": Line("majority"),
    RECOVER: Line("majority"),
    "lift-quarantine": Line("majority"),
    CREATE_CONTRACT: Line("one", ("none", *_OF_MANY)),
    "change-members": Line("majority", _OF_ONE, "its owner, where nobody gets to read what others have trained"),
    "stop-contract": Line("majority", _OF_ONE, "its owner"),
    "reset-contract": Line("majority", _OF_ONE, "its owner"),
    TAKE_PART: Line("one", _RIGHT, "whom the contract names"),
    READ_RESULTS: Line("own", _RIGHT, "whom the contract names"),
    READ_FINAL_RESULTS: Line("own", _RIGHT, "whom the contract names"),
    READ_LOGS: Line("own", _RIGHT, "whom the site names"),
    ASSIGN_TASKS: Line("own", _OF_ONE, "whose taskrunner it is; anybody, where it is nobody's"),
    "reset-taskrunner": Line(
        "majority", _OF_ONE, "who has assigned it; until a SWOP begins, whose taskrunner it is, or anybody"
    ),
}
"""By the name of the act. Of a right (`permits`), `own` means the organisation whose it is and those that it names."""


def quorum_of(world: World, act: str) -> Quorum:
    """The quorum in force for an act. Raises `Rejection` where there is no such act."""
    if act not in TABLE:
        raise Rejection(Code.UNKNOWN_ACT, f"there is no policy {act}; there are {', '.join(TABLE)}")
    changed = world.get(f"policy/{act}", Policy)
    return changed.quorum if changed else TABLE[act].quorum


def quorum_to_change(world: World, act: str) -> Quorum:
    """The quorum that changes an act's policy: its own, but a majority at least, since a policy concerns everybody."""
    quorum = quorum_of(world, act)
    return quorum if quorum == "all" else "majority"


def suffices(world: World, act: str, concerned: str, signed: Collection[str]) -> bool:
    """True if the signatures of these organisations are enough; `concerned`: the one that may do it alone, or empty."""
    agreeing = _active(world).intersection(signed)
    if concerned in agreeing or (concerned == ANYBODY and agreeing):
        return True
    return reaches(world, quorum_of(world, act), agreeing)


def reaches(world: World, quorum: Quorum, signed: Collection[str]) -> bool:
    """True if these organisations are a quorum."""
    active = _active(world)
    agreeing = active.intersection(signed)
    match quorum:
        case "none" | "one":
            return bool(agreeing)
        case "majority":
            return 2 * len(agreeing) > len(active)
        case "all":
            return agreeing == active
        case "own":
            return False


def missing_from(world: World, signed: Collection[str]) -> list[str]:
    """The organisations that have not signed, by ID."""
    return sorted(_active(world).difference(signed))


def permits(world: World, right: str, organisation: str, own: str, named: Collection[str] = ()) -> bool:
    """True if an organisation has a right to what belongs to the organisation `own`, which has `named` others."""
    if organisation not in _active(world):
        return False
    return organisation in (own, *named) or quorum_of(world, right) == "one"


def may_sign(world: World, organisation: str) -> bool:
    """True if an authority of the organisation may issue certificates for operators."""
    return any(OPERATORS.intersection(each.roles) for each in authorities_of(world, organisation))


def check_workable(world: World) -> None:
    """Raises `Rejection` if there is an act that could never have its quorum: it names who could never sign."""
    active = _active(world)
    able = {each for each in active if may_sign(world, each)}
    needed = {act: quorum_of(world, act) for act in TABLE} | {"a change of a policy": "majority"}
    for act, quorum in needed.items():
        if quorum != "own" and not reaches(world, quorum, able):
            raise Rejection(
                Code.LOCKED_OUT,
                f"{act} would need {quorum}, and {', '.join(sorted(active - able))} could never sign: "
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
        if quorum not in TABLE[act].choices:
            raise Rejection(Code.LOCKED_OUT, f"{act} cannot need {quorum}; it can need {', '.join(TABLE[act].choices)}")
    after = world.with_entries({f"policy/{act}": Policy(act, quorum) for act, quorum in quorums.items()})
    check_workable(after)
    return after


def _active(world: World) -> set[str]:
    return {each.id for each in organisations(world)}
