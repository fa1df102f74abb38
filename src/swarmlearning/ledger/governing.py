"""Acts of organisations: what an operator sends takes effect at once, or waits as a proposal for other signatures.

Pure, between admission (the sender is who it says) and dispatch (what changes). An act with enough signatures is
*enacted*: its handler runs as if the last signer had sent it. Whoever sends an act that has been proposed already signs
that proposal.
"""

from typing import NamedTuple

import msgspec

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import Act, TxContext
from swarmlearning.ledger.contracts.network.bodies import Reject, SetPolicy, Sign
from swarmlearning.ledger.contracts.network.policies import (
    quorum_of,
    quorum_to_change,
    reaches,
    suffices,
)
from swarmlearning.ledger.contracts.network.proposing import answered_by, equal, is_open, new_proposal, with_proposal
from swarmlearning.ledger.contracts.network.state import organisations, proposal
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.fields import Body
from swarmlearning.ledger.rules import Rules
from swarmlearning.ledger.world import World


class Enacted(NamedTuple):
    """A body that takes effect now, as the act of the organisation `by`: that which has proposed it, `on_behalf_of` a
    person where it has named one."""

    contract: str
    body: Body
    by: str
    on_behalf_of: str = ""


def govern(world: World, rules: Rules, contract: str, body: Body, tx: TxContext) -> tuple[World, Enacted | None]:
    """The world after proposals have been noted, and what is to take effect in it. Raises `Rejection`."""
    if isinstance(body, Sign | Reject):
        return _answered(world, rules, body, tx)
    act, own = rules.handlers[type(body)][1].act, tx.signer.organisation
    if act is None:
        return world, Enacted(contract, body, own, tx.on_behalf_of)
    if _suffices(world, act, contract, body, (own,)):
        for found in equal(
            world, contract, body, act.about(world, contract), tx.time_ms
        ):  # nothing is left of it to agree to
            signed = tuple(sorted({*found.signed, own}))
            done = msgspec.structs.replace(found, state="done", signed=signed, persons=answered_by(found, tx))
            world = with_proposal(world, done)
        return world, Enacted(contract, body, own, tx.on_behalf_of)
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
    about = act.about(world, contract)
    if same := equal(world, contract, body, about, tx.time_ms):
        return _answered(world, rules, Sign(same[0].number), tx)
    made = new_proposal(world, act.name, contract, body, own, (own,), about, tx.time_ms)
    return with_proposal(world, msgspec.structs.replace(made, persons=answered_by(made, tx))), None


def _answered(world: World, rules: Rules, body: Sign | Reject, tx: TxContext) -> tuple[World, Enacted | None]:
    own, found = tx.signer.organisation, proposal(world, body.proposal)
    if found is None:
        raise Rejection(Code.NO_PROPOSAL, f"there is no proposal {body.proposal}")
    if not is_open(found, tx.time_ms):
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
    proposer = (found.persons or {}).get(found.by, "") if found.by != own else tx.on_behalf_of
    found = msgspec.structs.replace(found, signed=signed, rejected=rejected, persons=answered_by(found, tx))
    if isinstance(body, Sign) and _suffices(
        world, act, found.contract, proposed, signed
    ):  # also when the quorum has become smaller since
        return with_proposal(world, msgspec.structs.replace(found, state="done")), Enacted(
            found.contract, proposed, found.by, proposer
        )
    if repeated:
        raise Rejection(Code.NO_CHANGE, f"organisation {own} has answered proposal {found.number} so already")
    willing = tuple(each.id for each in organisations(world) if each.id not in rejected)
    if not _suffices(world, act, found.contract, proposed, willing):
        found = msgspec.structs.replace(found, state="rejected")
    return with_proposal(world, found), None
