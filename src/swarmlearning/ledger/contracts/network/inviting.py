"""Invitations: a one-time key with which somebody who has no certificate yet makes one request of this network.

An operator puts the public half on the ledger. The holder of the private half signs its request, so no SN that passes
it on can alter or use it; the first request that holds uses the key up. A request changes nothing by itself: for a
node, the organisation's office still has to issue the certificate; a new organisation is a proposal like any other.
"""

import msgspec

from swarmlearning.identity.certificates import CertificateError, common_name, load_leaf, thumbprint
from swarmlearning.identity.onetime import is_signed
from swarmlearning.identity.requests import Request, read_request
from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import TxContext
from swarmlearning.ledger.contracts.network.bodies import (
    AdmitOrganisation,
    Certify,
    Invite,
    NewOrganisation,
    RequestAdmission,
    RequestCertificate,
    WithdrawInvitation,
)
from swarmlearning.ledger.contracts.network.members import admit
from swarmlearning.ledger.contracts.network.proposing import equal, new_proposal, with_proposal
from swarmlearning.ledger.contracts.network.state import (
    CONTRACT,
    Invitation,
    certificate,
    invitation,
    nodes,
    open_invitations,
    organisation,
    organisations,
)
from swarmlearning.ledger.contracts.network.trust import authorities_of, read_certificate
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.world import World

INVITATION_MS = 30 * 24 * 3600 * 1000
"""Milliseconds of block time for which an invitation can be open at most."""
MOST_INVITATIONS = 64
"""Open invitations of one organisation."""


def statement(network_id: str, body: RequestCertificate | RequestAdmission) -> bytes:
    """What the holder of a one-time key signs: the request, for this network only."""
    return f"swarm invitation\n{network_id}\n".encode() + canonical(msgspec.structs.replace(body, signature=""))


def reading(network_id: str) -> bytes:
    """What the holder of a one-time key signs to be shown its invitation, which is no request."""
    return f"swarm invitation, to read\n{network_id}\n".encode()


def awaited(world: World, time_ms: int) -> list[Invitation]:
    """The invitations whose holders may still have to come to an SN, without a certificate, at this time.

    Those that are open, and until they expire those that are used: by a node until it has registered with its
    certificate, by an organisation until a node of it has.
    """
    return [each for each in world.derived("invitation/", Invitation, _unfinished) if _is_awaited(world, each, time_ms)]


def invite(world: World, contract: str, body: Invite, tx: TxContext) -> World:
    """Opens an invitation: for a node of the sender's own organisation, or for an organisation that is a new one."""
    own = tx.signer.organisation
    if invitation(world, body.key):
        raise Rejection(Code.NO_CHANGE, "there is an invitation with this key already; a key is used once")
    if not tx.time_ms < body.expires_ms <= tx.time_ms + INVITATION_MS:
        raise Rejection(Code.NO_INVITATION, "an invitation has to expire in the future, within 30 days")
    if sum(each.by == own for each in open_invitations(world, tx.time_ms)) >= MOST_INVITATIONS:
        raise Rejection(
            Code.TOO_MANY, f"organisation {own} has {MOST_INVITATIONS} open invitations; withdraw one first"
        )
    if body.role is None:
        _check_new(world, body)
    else:
        _check_node(body, own)
    entry = Invitation(body.key, body.organisation, own, body.role, body.name, body.expires_ms)
    return world.with_entries({f"invitation/{body.key}": entry})


def withdraw(world: World, contract: str, body: WithdrawInvitation, tx: TxContext) -> World:
    """Ends an invitation that nobody has used."""
    found = _own(world, body.key, tx)
    if found.state != "open":
        raise Rejection(Code.NO_INVITATION, f"this invitation is {found.state} already")
    return _with_invitation(world, msgspec.structs.replace(found, state="withdrawn"))


def request_certificate(world: World, contract: str, body: RequestCertificate, tx: TxContext) -> World:
    """Uses an invitation up: its node's request waits for the office of the organisation."""
    found = _used(world, body, tx)
    if found.role is None:
        raise Rejection(Code.NO_INVITATION, "this invitation is for an organisation, not for a node")
    wanted = _read(body.request)
    if wanted.common_name != found.name:
        raise Rejection(
            Code.BAD_CERTIFICATE, f"this invitation is for {found.name}, but the request is for {wanted.common_name}"
        )
    return _with_invitation(world, msgspec.structs.replace(found, state="used", request=body.request))


def request_admission(world: World, contract: str, body: RequestAdmission, tx: TxContext) -> World:
    """Uses an invitation up: it becomes a proposal to admit the organisation, which nobody has signed yet."""
    found = _used(world, body, tx)
    if found.role is not None:
        raise Rejection(Code.NO_INVITATION, "this invitation is for a node, not for an organisation")
    admission = admission_of(found.organisation, body)
    admit(world, contract, admission, tx)  # what could not take effect is not proposed either
    act = "admit-organisation"
    same = equal(world, CONTRACT, admission, "", tx.time_ms)
    entry = same[0] if same else new_proposal(world, act, CONTRACT, admission, found.by, (), "", tx.time_ms)
    return _with_invitation(
        with_proposal(world, entry), msgspec.structs.replace(found, state="used", proposal=entry.number)
    )


def admission_of(named: str, body: RequestAdmission) -> AdmitOrganisation:
    """The act that a request for the admission of an organisation, by its ID, proposes."""
    return AdmitOrganisation(NewOrganisation(named, body.name, body.anchors))


def certify(world: World, contract: str, body: Certify, tx: TxContext) -> World:
    """Keeps the certificate for whoever has requested it: for that key, role and name, by an authority of its own."""
    found = _own(world, body.key, tx)
    if not found.request:
        raise Rejection(Code.NO_INVITATION, "nobody has requested a certificate with this invitation")
    issued = read_certificate(body.certificate, authorities_of(world, found.organisation), tx.time_ms)
    leaf = load_leaf(issued.pem)
    if (issued.role, common_name(leaf)) != (found.role, found.name) or leaf.public_key() != _read(found.request).key:
        raise Rejection(
            Code.BAD_CERTIFICATE, f"the certificate is not for {found.name} and the key for which it was requested"
        )
    if found.certificate == body.certificate:
        raise Rejection(Code.NO_CHANGE, "this certificate is on the ledger already")
    return _with_invitation(world, msgspec.structs.replace(found, certificate=body.certificate))


def _unfinished(known: tuple[Invitation, ...]) -> tuple[Invitation, ...]:
    return tuple(each for each in known if each.state != "withdrawn")


def _is_awaited(world: World, found: Invitation, time_ms: int) -> bool:
    if time_ms > found.expires_ms or found.by not in [each.id for each in organisations(world)]:
        return False
    if found.state == "open":
        return True
    if found.role is None:
        return not any(each.organisation == found.organisation for each in nodes(world))
    return not found.certificate or certificate(world, thumbprint(load_leaf(found.certificate))) is None


def _check_new(world: World, body: Invite) -> None:
    if body.name:
        raise Rejection(Code.NO_INVITATION, "an invitation of an organisation names no node")
    known = organisation(world, body.organisation)
    if known is not None and known.active:
        raise Rejection(Code.NO_CHANGE, f"organisation {known.id} takes part already")


def _check_node(body: Invite, own: str) -> None:
    if body.organisation != own:
        raise Rejection(
            Code.NOT_ALLOWED, f"only operators of {body.organisation} invite nodes of it, not those of {own}"
        )
    if not body.name.upper().startswith(f"{body.role}-"):
        raise Rejection(Code.BAD_ROLE, f"the name of a node with the role {body.role} begins with {body.role}-")


def _own(world: World, key: str, tx: TxContext) -> Invitation:
    found = invitation(world, key)
    if found is None:
        raise Rejection(Code.NO_INVITATION, "there is no invitation with this key")
    if found.by != tx.signer.organisation:
        raise Rejection(Code.NOT_ALLOWED, f"this invitation is one of {found.by}, not of {tx.signer.organisation}")
    return found


def _used(world: World, body: RequestCertificate | RequestAdmission, tx: TxContext) -> Invitation:
    """The open invitation whose holder has signed this request. Raises `Rejection`."""
    found = invitation(world, body.key)
    if found is None:
        raise Rejection(Code.NO_INVITATION, "there is no invitation with this key")
    if not is_signed(body.key, statement(tx.network, body), body.signature):
        raise Rejection(Code.BAD_SIGNATURE, "the request is not signed with the key of the invitation")
    if found.state != "open" or tx.time_ms > found.expires_ms:
        state = "has expired" if found.state == "open" else f"is {found.state}"
        raise Rejection(Code.NO_INVITATION, f"the invitation {state}; ask for another one")
    if found.by not in [each.id for each in organisations(world)]:
        raise Rejection(Code.NO_INVITATION, f"organisation {found.by}, whose invitation it is, takes no part any more")
    return found


def _read(request: str) -> Request:
    try:
        return read_request(request.encode())
    except CertificateError as error:
        raise Rejection(Code.BAD_CERTIFICATE, str(error)) from error


def _with_invitation(world: World, found: Invitation) -> World:
    return world.with_entries({f"invitation/{found.key}": found})
