"""What a join port tells the holder of an invitation's key of it, and how the holder shows that it has the key."""

import hashlib
import re
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from swarmlearning.identity.onetime import is_signed, public_half, sign
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.inviting import reading
from swarmlearning.ledger.contracts.network.state import Invitation, invitation
from swarmlearning.ledger.fields import Pem
from swarmlearning.ledger.world import World
from swarmlearning.views.proposals import proposal_numbered

SCHEME: Final = "Invitation"
MAX_AUTHORITIES: Final = 64
_AUTHORIZATION: Final = re.compile(rf"{SCHEME} ([0-9a-f]{{64}}) ([0-9a-f]{{128}})", re.ASCII)

State: TypeAlias = Literal["open", "waiting", "issued", "proposed", "admitted", "rejected", "lapsed", "withdrawn"]
"""Of an invitation: nothing is requested yet; a node's request `waiting` for its office, and the certificate `issued`;
an organisation's request `proposed`, then `admitted` or `rejected`. One that ended otherwise has `lapsed`."""

Id: TypeAlias = Annotated[str, msgspec.Meta(max_length=64)]


class Signatures(msgspec.Struct, frozen=True):
    """The proposal of an organisation's admission, by its number: the quorum that it needs, and who has answered."""

    number: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    needs: Id
    signed: Annotated[tuple[Id, ...], msgspec.Meta(max_length=256)]
    rejected: Annotated[tuple[Id, ...], msgspec.Meta(max_length=256)]
    missing: Annotated[tuple[Id, ...], msgspec.Meta(max_length=256)]


class Standing(msgspec.Struct, frozen=True):
    """An invitation as it stands.

    `request`: SHA-256 of the CSR for which it was used, or of the act that was proposed (lower-case hex), empty before;
    `certificate`: what the office has issued. `authorities`: of the organisation that invites, and of this SN, whose
    API is at `api`.
    """

    state: State
    request: Annotated[str, msgspec.Meta(max_length=64)]
    certificate: Pem
    authorities: Annotated[tuple[Pem, ...], msgspec.Meta(max_length=MAX_AUTHORITIES)]
    api: Annotated[str, msgspec.Meta(max_length=300)]
    proposal: Signatures | None = None


def standing_of(world: World, found: Invitation, time_ms: int, authorities: tuple[str, ...], api: str) -> Standing:
    """How an invitation stands at this block time. Pure."""
    proposed = network.proposal(world, found.proposal)
    request = found.request or (proposed.body if proposed is not None else "")
    state, proposal = state_of(world, found, time_ms)
    return Standing(state, digest_of(request) if request else "", found.certificate, authorities, api, proposal)


def read_standing(body: bytes) -> Standing:
    """How an invitation stands, as an SN answers. Raises `ValueError`."""
    try:
        return msgspec.json.decode(body, type=Standing)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def digest_of(request: str) -> str:
    """The SHA-256 of a CSR (PEM) or of an act (canonical JSON), as a standing has it."""
    return hashlib.sha256(request.encode()).hexdigest()


def state_of(world: World, found: Invitation, time_ms: int) -> tuple[State, Signatures | None]:
    """The state of an invitation at this block time, and for an organisation's request who has signed it."""
    if found.state == "withdrawn":
        return "withdrawn", None
    if found.state == "open":
        return ("open" if time_ms <= found.expires_ms else "lapsed"), None
    if found.role is not None:
        return ("issued" if found.certificate else "waiting"), None
    proposed = proposal_numbered(world, found.proposal, time_ms)
    if proposed is None:
        return "lapsed", None
    states: dict[str, State] = {"open": "proposed", "done": "admitted", "rejected": "rejected"}
    answers = proposed.signed, proposed.rejected, proposed.missing
    return states.get(proposed.state, "lapsed"), Signatures(proposed.number, proposed.needs, *answers)


def authorization(key: bytes, network_id: str) -> str:
    """The header of that name with which the holder of a one-time private key asks."""
    return f"{SCHEME} {public_half(key)} {sign(key, reading(network_id))}"


def holder_of(header: str, network_id: str, world: World) -> str:
    """The public half of the key whose holder has sent a header; empty where no invitation has it."""
    match = _AUTHORIZATION.fullmatch(header)
    if match is None or invitation(world, match[1]) is None or not is_signed(match[1], reading(network_id), match[2]):
        return ""
    return match[1]
