"""Acts of organisations: what an operator sends takes effect at once, or waits as a proposal for other signatures.

Pure, between admission (the sender is who it says) and dispatch (what changes). An act with enough signatures is
*enacted*: its handler runs as if the last signer had sent it. Whoever sends an act that has been proposed already signs
that proposal.
"""

from typing import NamedTuple

import msgspec

from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import Act, TxContext
from swarmlearning.ledger.contracts.network.bodies import Reject, SetPolicy, Sign
from swarmlearning.ledger.contracts.network.policies import (
    MOST_OPEN,
    PROPOSAL_MS,
    quorum_of,
    quorum_to_change,
    reaches,
    suffices,
)
from swarmlearning.ledger.contracts.network.state import Proposal, organisations, proposal, proposals
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.fields import Body
from swarmlearning.ledger.rules import Rules
from swarmlearning.ledger.world import World


class Enacted(NamedTuple):
    """A body that takes effect now, as the act of the organisation `by`: that which has proposed it."""

    contract: str
    body: Body
    by: str


def govern(world: World, rules: Rules, contract: str, body: Body, tx: TxContext) -> tuple[World, Enacted | None]:
    """The world after proposals have been noted, and what is to take effect in it. Raises `Rejection`."""
    if isinstance(body, Sign | Reject):
        return _answered(world, rules, body, tx)
    act, own = rules.handlers[type(body)][1].act, tx.signer.organisation
    if act is None:
        return world, Enacted(contract, body, own)
    if _suffices(world, act, contract, body, (own,)):
        for found in _equal(world, act, contract, body, tx):  # nothing is left of it to agree to
            world = _noted(
                world, msgspec.structs.replace(found, state="done", signed=tuple(sorted({*found.signed, own})))
            )
        return world, Enacted(contract, body, own)
    rules.handlers[type(body)][1].change(world, contract, body, tx)  # what could not take effect is not proposed either
    return _proposed(world, rules, act, contract, body, tx)


def _suffices(world: World, act: Act, contract: str, body: Body, signed: tuple[str, ...]) -> bool:
    if isinstance(body, SetPolicy):
        return reaches(world, quorum_to_change(world, body.act), signed)
    return suffices(world, act.name, act.concerns(world, contract, body), signed)


def _proposed(
    world: World, rules: Rules, act: Act, contract: str, body: Body, tx: TxContext
) -> tuple[World, Enacted | None]:
    own = tx.signer.organisation
    if not isinstance(body, SetPolicy) and quorum_of(world, act.name) == "own":
        concerned = act.concerns(world, contract, body)
        whose = f", {concerned}" if concerned else ""
        raise Rejection(Code.NOT_ALLOWED, f"{act.name} is left to the organisation that it concerns{whose}")
    if same := _equal(world, act, contract, body, tx):
        return _answered(world, rules, Sign(same[0].number), tx)
    known = proposals(world)
    if sum(each.by == own for each in known if _is_open(each, tx.time_ms)) >= MOST_OPEN:
        raise Rejection(Code.TOO_MANY, f"organisation {own} has {MOST_OPEN} open proposals; reject one of them first")
    entry = Proposal(
        number=len(known) + 1,
        act=act.name,
        contract=contract,
        body=canonical(body).decode(),
        by=own,
        expires_ms=tx.time_ms + PROPOSAL_MS,
        signed=(own,),
        about=act.about(world, contract),
    )
    return _noted(world, entry), None


def _equal(world: World, act: Act, contract: str, body: Body, tx: TxContext) -> list[Proposal]:
    """The open proposals of the same act: at most one."""
    wanted = (contract, canonical(body).decode(), act.about(world, contract))
    now = (each for each in proposals(world) if _is_open(each, tx.time_ms))
    return [each for each in now if (each.contract, each.body, each.about) == wanted]


def _answered(world: World, rules: Rules, body: Sign | Reject, tx: TxContext) -> tuple[World, Enacted | None]:
    own, found = tx.signer.organisation, proposal(world, body.proposal)
    if found is None:
        raise Rejection(Code.NO_PROPOSAL, f"there is no proposal {body.proposal}")
    if not _is_open(found, tx.time_ms):
        state = "has expired" if found.state == "open" else f"is {found.state}"
        raise Rejection(Code.NO_PROPOSAL, f"proposal {found.number} {state}")
    proposed = rules.body(found.body)
    act = rules.handlers[type(proposed)][1].act
    assert act is not None
    if isinstance(body, Sign) and (about := act.about(world, found.contract)) != found.about:
        raise Rejection(Code.NO_PROPOSAL, f"proposal {found.number} was made for {found.about}; now it is {about}")
    others = {other for other in (*found.signed, *found.rejected) if other != own}
    signed = tuple(sorted(others.intersection(found.signed) | ({own} if isinstance(body, Sign) else set())))
    rejected = tuple(sorted(others.intersection(found.rejected) | ({own} if isinstance(body, Reject) else set())))
    repeated = own in (found.signed if isinstance(body, Sign) else found.rejected)
    found = msgspec.structs.replace(found, signed=signed, rejected=rejected)
    if isinstance(body, Sign) and _suffices(
        world, act, found.contract, proposed, signed
    ):  # also when the quorum has become smaller since
        return _noted(world, msgspec.structs.replace(found, state="done")), Enacted(found.contract, proposed, found.by)
    if repeated:
        raise Rejection(Code.NO_CHANGE, f"organisation {own} has answered proposal {found.number} so already")
    willing = tuple(each.id for each in organisations(world) if each.id not in rejected)
    if not _suffices(world, act, found.contract, proposed, willing):
        found = msgspec.structs.replace(found, state="rejected")
    return _noted(world, found), None


def _is_open(found: Proposal, time_ms: int) -> bool:
    return found.state == "open" and time_ms <= found.expires_ms


def _noted(world: World, found: Proposal) -> World:
    return world.with_entries({f"proposal/{found.number}": found})
