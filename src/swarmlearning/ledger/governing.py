"""Acts of organisations: what an operator sends takes effect at once, or waits as a proposal for other signatures.

Pure, between admission (the sender is who it says) and dispatch (what changes). An act with enough signatures is
*enacted*: its handler runs as if the last signer had sent it. Whoever sends an act that has been proposed already signs
that proposal.
"""

from typing import NamedTuple

import msgspec

from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import TxContext
from swarmlearning.ledger.contracts.network.bodies import Reject, SetPolicy, Sign
from swarmlearning.ledger.contracts.network.policies import quorum_of, suffices
from swarmlearning.ledger.contracts.network.state import Proposal, organisations, proposal, proposals
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.fields import Body
from swarmlearning.ledger.rules import Rules
from swarmlearning.ledger.world import World

PROPOSAL_MS = 7 * 24 * 3600 * 1000
"""Milliseconds of block time in which a proposal can be signed."""
MOST_OPEN = 16
"""Open proposals of one organisation."""


class Enacted(NamedTuple):
    """A body that takes effect now."""

    contract: str
    body: Body


def govern(world: World, rules: Rules, contract: str, body: Body, tx: TxContext) -> tuple[World, Enacted | None]:
    """The world after proposals have been noted, and what is to take effect in it. Raises `Rejection`."""
    if isinstance(body, Sign | Reject):
        return _answered(world, rules, body, tx)
    act = rules.handlers[type(body)][1].act
    if act is None or _suffices(world, rules, contract, body, (tx.signer.organisation,)):
        return world, Enacted(contract, body)
    rules.handlers[type(body)][1].change(world, contract, body, tx)  # what could not take effect is not proposed either
    return _proposed(world, rules, contract, body, tx)


def missing(world: World, rules: Rules, found: Proposal) -> list[str]:
    """The organisations whose signatures an open proposal still lacks: any that complete the quorum will do."""
    return [each.id for each in organisations(world) if each.id not in (*found.signed, *found.rejected)]


def _act_name(rules: Rules, body: Body) -> str:
    act = rules.handlers[type(body)][1].act
    assert act is not None
    return body.act if isinstance(body, SetPolicy) else act.name


def _suffices(world: World, rules: Rules, contract: str, body: Body, signed: tuple[str, ...]) -> bool:
    act = rules.handlers[type(body)][1].act
    assert act is not None
    return suffices(world, _act_name(rules, body), act.concerns(world, contract, body), signed)


def _proposed(world: World, rules: Rules, contract: str, body: Body, tx: TxContext) -> tuple[World, Enacted | None]:
    own, text = tx.signer.organisation, canonical(body).decode()
    act = _act_name(rules, body)
    if quorum_of(world, act) == "own":
        raise Rejection(Code.NOT_ALLOWED, f"{act} is left to the organisation that it concerns")
    known = proposals(world)
    now = [each for each in known if _is_open(each, tx.time_ms)]
    if same := [each for each in now if (each.contract, each.body) == (contract, text)]:
        return _answered(world, rules, Sign(same[0].number), tx)
    if sum(each.by == own for each in now) >= MOST_OPEN:
        raise Rejection(Code.TOO_MANY, f"organisation {own} has {MOST_OPEN} open proposals; reject one of them first")
    entry = Proposal(
        number=len(known) + 1,
        act=act,
        contract=contract,
        body=text,
        by=own,
        expires_ms=tx.time_ms + PROPOSAL_MS,
        signed=(own,),
    )
    return _noted(world, entry), None


def _answered(world: World, rules: Rules, body: Sign | Reject, tx: TxContext) -> tuple[World, Enacted | None]:
    own, found = tx.signer.organisation, proposal(world, body.proposal)
    if found is None:
        raise Rejection(Code.NO_PROPOSAL, f"there is no proposal {body.proposal}")
    if not _is_open(found, tx.time_ms):
        state = "has expired" if found.state == "open" else f"is {found.state}"
        raise Rejection(Code.NO_PROPOSAL, f"proposal {found.number} {state}")
    answers = found.signed if isinstance(body, Sign) else found.rejected
    if own in answers:
        raise Rejection(Code.NO_CHANGE, f"organisation {own} has answered proposal {found.number} so already")
    others = {other for other in (*found.signed, *found.rejected) if other != own}
    signed = tuple(sorted(others.intersection(found.signed) | ({own} if isinstance(body, Sign) else set())))
    rejected = tuple(sorted(others.intersection(found.rejected) | ({own} if isinstance(body, Reject) else set())))
    found = msgspec.structs.replace(found, signed=signed, rejected=rejected)
    act = rules.body(found.body)
    if _suffices(world, rules, found.contract, act, signed):
        return _noted(world, msgspec.structs.replace(found, state="done")), Enacted(found.contract, act)
    willing = tuple(each.id for each in organisations(world) if each.id not in rejected)
    if not _suffices(world, rules, found.contract, act, willing):
        found = msgspec.structs.replace(found, state="rejected")
    return _noted(world, found), None


def _is_open(found: Proposal, time_ms: int) -> bool:
    return found.state == "open" and time_ms <= found.expires_ms


def _noted(world: World, found: Proposal) -> World:
    return world.with_entries({f"proposal/{found.number}": found})
