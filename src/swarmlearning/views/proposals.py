"""Facts about proposals: what they would do, who has signed, and who could still."""

from typing import Literal, TypeAlias

import msgspec

from swarmlearning.identity.certificates import CertificateError, load_bundle, subject_of, thumbprint
from swarmlearning.ledger.bodies import Body, Reject, Sign
from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.chain import RULES_VERSION
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Proposal
from swarmlearning.ledger.contracts.network.policies import quorum_of, quorum_to_change
from swarmlearning.ledger.rules import RULES
from swarmlearning.ledger.world import World
from swarmlearning.views.names import LONGEST_PERSON, displayed, name_of, node_names

LONGEST = 300
"""Characters of a content in a few words."""

State: TypeAlias = Literal["open", "done", "rejected", "expired"]


class ProposalView(msgspec.Struct, frozen=True):
    """A proposal; `what` is its content in a few words, for `contract`; `content` is all that the act states, by field
    and without anything left out, but for certificates: each is its subject and its thumbprint, which nobody can forge.

    `missing`: organisations that have neither signed nor rejected it, while it is open; `needs`: the quorum. `persons`:
    by organisation on whose behalf its operator has answered, where that is stated.
    """

    number: int
    act: str
    contract: str
    what: str
    content: dict[str, object]
    by: str
    state: State
    needs: str
    signed: tuple[str, ...]
    rejected: tuple[str, ...]
    missing: tuple[str, ...]
    expires_ms: int
    persons: dict[str, str]


def proposals(world: World, time_ms: int) -> list[ProposalView]:
    """All proposals as they stand at this block time, oldest first."""
    return [_view(world, each, time_ms) for each in network.proposals(world)]


def proposal_numbered(world: World, number: int, time_ms: int) -> ProposalView | None:
    """The proposal with this number as it stands at this block time."""
    found = network.proposal(world, number)
    return _view(world, found, time_ms) if found is not None else None


def proposal_of(world: World, contract: str, body: Body, time_ms: int) -> ProposalView | None:
    """The proposal that an operator's transaction has answered, or an open one that it has made; None without."""
    text = canonical(body).decode()
    for each in reversed(network.proposals(world)):
        found = _view(world, each, time_ms)
        if isinstance(body, Sign | Reject):
            if body.proposal == each.number:
                return found
        elif (each.contract, each.body) == (contract, text):
            return found if found.state == "open" else None
    return None


def _view(world: World, found: Proposal, time_ms: int) -> ProposalView:
    answered = {*found.signed, *found.rejected}
    fields = msgspec.json.decode(found.body, type=dict[str, object])
    state: State = "expired" if found.state == "open" and time_ms > found.expires_ms else found.state
    missing = (each.id for each in network.organisations(world) if each.id not in answered and state == "open")
    return ProposalView(
        number=found.number,
        act=found.act,
        contract=found.contract,
        what=_what(world, found, fields),
        content=_fields(RULES[RULES_VERSION].body(found.body)),
        by=found.by,
        state=state,
        needs=_needed(world, found.act, fields),
        signed=found.signed,
        rejected=found.rejected,
        missing=tuple(missing),
        expires_ms=found.expires_ms,
        persons={named: displayed(each, LONGEST_PERSON) for named, each in (found.persons or {}).items()},
    )


def _what(world: World, found: Proposal, fields: dict[str, object]) -> str:
    """The content in a few words: the contract, organisation, node or policy that the act is about."""
    if found.contract != network.CONTRACT:
        task = f" {displayed(str(fields['task']))} to" if "task" in fields else ""
        return f"{task} {displayed(found.contract)}".strip()
    match fields:
        case {"organisation": {"id": str(named), "name": str(name), "anchors": list(anchors)}}:
            authorities = ", ".join(_shown(each["certificate"]) for each in anchors)
            return f"{named} ({displayed(name)}), authority {displayed(authorities, LONGEST)}"
        case {"organisation": str(named), "anchor": {"certificate": certificate}}:
            return f"{named}: {_shown(certificate)}"
        case {"unused": [str(pem), *_], "organisation": str(named)}:
            return f"{_shown(pem)} of {named}"
        case {"thumbprint": str(thumbprint)}:
            return _certified(world, thumbprint)
        case {"organisation": str(named)}:
            return named
        case {"act": str(act), "quorum": str(quorum)}:
            return f"{act}: {quorum}"
        case {"uid": str(uid)}:
            return name_of(node_names(world), uid)
    return ", ".join(_shown(value) for name, value in fields.items() if name != "kind")


def _certified(world: World, thumbprint: str) -> str:
    """The holder of a certificate, of a node or an authority, and its organisation."""
    if (stored := network.certificate(world, thumbprint)) is not None:
        return f"{displayed(stored.subject)} of {stored.organisation}"
    if (root := world.get(f"authority/{thumbprint}", network.Authority)) is not None:
        return f"{_shown(root.pem)}, of {root.organisation}"
    return thumbprint[:16]


def _needed(world: World, act: str, fields: dict[str, object]) -> str:
    return quorum_to_change(world, str(fields["act"])) if act == "set-policy" else quorum_of(world, act)


def _shown(value: object) -> str:
    """One line of text for a value of a body; a certificate as its subject and the beginning of its thumbprint."""
    match value:
        case str() if "-----BEGIN" in value:
            named = (f"{each['subject']} ({each['thumbprint'][:16]})" for each in _certificates(value))
            return displayed(", ".join(named), LONGEST)
        case str():
            return displayed(value)
        case dict():
            return displayed(", ".join(f"{name} {_shown(part)}" for name, part in value.items()), LONGEST)
        case list():
            return displayed(", ".join(map(_shown, value)), LONGEST)
    return displayed(str(value))


def _fields(part: msgspec.Struct) -> dict[str, object]:
    """Every field of a body, those too that are left to their defaults and therefore not in its JSON."""
    return {name: _whole(value) for name, value in msgspec.structs.asdict(part).items()}


def _whole(value: object) -> object:
    """A value of a body with nothing left out, certificates in a form that people can compare."""
    match value:
        case msgspec.Struct():
            return _fields(value)
        case str() if "-----BEGIN" in value:
            return _certificates(value)
        case tuple():
            return [_whole(each) for each in value]
    return value


def _certificates(pem: str) -> list[dict[str, str]]:
    try:
        return [{"subject": subject_of(each), "thumbprint": thumbprint(each)} for each in load_bundle(pem)]
    except CertificateError as error:
        return [{"subject": str(error), "thumbprint": ""}]
