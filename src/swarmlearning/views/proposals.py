"""Facts about proposals: what they would do, who has signed, and who could still."""

from typing import Literal, TypeAlias

import msgspec

from swarmlearning.identity.certificates import CertificateError, load_bundle, subject_of
from swarmlearning.ledger.bodies import Body, Reject, Sign
from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Proposal
from swarmlearning.ledger.contracts.network.policies import quorum_of, quorum_to_change
from swarmlearning.ledger.world import World
from swarmlearning.views.names import displayed

State: TypeAlias = Literal["open", "done", "rejected", "expired"]


class ProposalView(msgspec.Struct, frozen=True):
    """A proposal; `content` is what the act names, by field; certificates are shown by their subjects.

    `missing`: organisations that have neither signed nor rejected it; `needs`: the quorum.
    """

    number: int
    act: str
    content: dict[str, str]
    by: str
    state: State
    needs: str
    signed: tuple[str, ...]
    rejected: tuple[str, ...]
    missing: tuple[str, ...]
    expires_ms: int


def proposals(world: World, time_ms: int) -> list[ProposalView]:
    """All proposals as they stand at this block time, oldest first."""
    return [_view(world, each, time_ms) for each in network.proposals(world)]


def proposal_of(world: World, contract: str, body: Body, time_ms: int) -> ProposalView | None:
    """The open proposal that an operator's transaction has made, or has answered; None where there is none."""
    text = canonical(body).decode()
    for each in reversed(network.proposals(world)):
        answered = isinstance(body, Sign | Reject) and body.proposal == each.number
        if answered or (each.contract, each.body) == (contract, text):
            found = _view(world, each, time_ms)
            return found if found.state == "open" else None
    return None


def _view(world: World, found: Proposal, time_ms: int) -> ProposalView:
    answered = {*found.signed, *found.rejected}
    fields = msgspec.json.decode(found.body, type=dict[str, object])
    return ProposalView(
        number=found.number,
        act=found.act,
        content={name: _shown(value) for name, value in fields.items() if name != "kind"},
        by=found.by,
        state="expired" if found.state == "open" and time_ms > found.expires_ms else found.state,
        needs=_needed(world, found.act, fields),
        signed=found.signed,
        rejected=found.rejected,
        missing=tuple(each.id for each in network.organisations(world) if each.id not in answered),
        expires_ms=found.expires_ms,
    )


def _needed(world: World, act: str, fields: dict[str, object]) -> str:
    return quorum_to_change(world, str(fields["act"])) if act == "set-policy" else quorum_of(world, act)


def _shown(value: object) -> str:
    """One line of text for a value of a body; a certificate as its subject."""
    match value:
        case str() if "-----BEGIN" in value:
            try:
                return displayed(", ".join(subject_of(each) for each in load_bundle(value)))
            except CertificateError as error:
                return displayed(str(error))
        case str():
            return displayed(value)
        case dict():
            return displayed(", ".join(f"{name} {_shown(part)}" for name, part in value.items()), 300)
        case list():
            return displayed(", ".join(map(_shown, value)), 300)
    return displayed(str(value))
