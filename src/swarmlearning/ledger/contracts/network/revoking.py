"""Revocation: of an identity's certificates that are on the ledger, and of those that no node has used yet.

Of the latter only the thumbprint is kept, for the organisation that has revoked it, until the certificate expires.
Several organisations may vouch for one intermediate authority, and none of them speaks for another's nodes.
"""

import msgspec
from cryptography import x509

from swarmlearning.identity.certificates import CertificateError, expires_ms, load_bundle, subject_of, thumbprint
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.network.bodies import Revoke
from swarmlearning.ledger.contracts.network.state import Certificate, certificate, identity_of
from swarmlearning.ledger.contracts.network.trust import authorities_of, issued
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.world import World

MAX_UNUSED = 256
"""Certificates that no node has used, and that one organisation has revoked before they expire."""


class Revoked(msgspec.Struct, frozen=True):
    """A certificate that this organisation has revoked before any node had used it; `expires_ms` is its own expiry."""

    thumbprint: str
    organisation: str
    expires_ms: int


def revoked_identity(world: World, body: Revoke) -> tuple[str, str] | None:
    """Organisation and subject that are revoked; None where neither the ledger nor the body has the certificate.

    Raises `Rejection` for a certificate in the body that cannot be read.
    """
    stored = certificate(world, body.thumbprint)
    if stored is not None:
        return identity_of(stored)
    for pem in body.unused:
        leaf = _read(pem)[0]
        if thumbprint(leaf) == body.thumbprint:
            return body.organisation, subject_of(leaf)
    return None


def with_revoked(world: World, body: Revoke, time_ms: int) -> World:
    """The world in which all certificates of the identity are revoked, those in the body too. Raises `Rejection`."""
    found = revoked_identity(world, body)
    if found is None or (body.unused and found[0] != body.organisation):
        raise Rejection(Code.UNKNOWN_CERTIFICATE, f"no certificate {body.thumbprint} that could be revoked")
    known = {
        f"certificate/{each.thumbprint}": msgspec.structs.replace(each, revoked=True)
        for each in world.area("certificate/", Certificate)
        if identity_of(each) == found and not each.revoked
    }
    unused = {_key(each): each for pem in body.unused for each in _unused(world, found, pem, time_ms)}
    if not known and not unused:
        raise Rejection(Code.UNKNOWN_CERTIFICATE, f"no certificate {body.thumbprint} that could be revoked")
    own = [each for each in world.area("revoked/", Revoked) if each.organisation == found[0]]
    expired = [each for each in own if each.expires_ms <= time_ms]
    if unused and len(own) - len(expired) + len(unused) > MAX_UNUSED:
        raise Rejection(
            Code.TOO_MANY,
            f"organisation {found[0]} has revoked {MAX_UNUSED} certificates that no node has used, and that have not "
            "expired; retire the authority that has issued them: swarm trust retire",
        )
    return world.without(map(_key, expired)).with_entries({**known, **unused})


def is_revoked(world: World, organisation: str, thumb: str) -> bool:
    """True if an organisation has revoked a certificate that no node of it had used."""
    return world.get(f"revoked/{organisation}/{thumb}", Revoked) is not None


def check_unrevoked(world: World, found: Certificate) -> None:
    """Raises `Rejection` for a certificate, new to the ledger, that its organisation has revoked already."""
    if is_revoked(world, found.organisation, found.thumbprint):
        raise Rejection(
            Code.REVOKED,
            f"the certificate of {found.subject} was revoked before it was used; ask an operator of organisation "
            f"{found.organisation} for another one",
        )


def _unused(world: World, identity: tuple[str, str], pem: str, time_ms: int) -> list[Revoked]:
    """The record of a certificate in the body; none where it is of no use: known to the ledger, revoked or expired."""
    organisation, subject = identity
    leaf, *intermediates = _read(pem)
    thumb, end_ms = thumbprint(leaf), expires_ms([leaf]) + 1000  # the last second belongs to the validity
    if subject_of(leaf) != subject:
        raise Rejection(Code.BAD_CERTIFICATE, f"one identity at a time: {subject}, not {subject_of(leaf)} too")
    if end_ms <= time_ms or certificate(world, thumb) or is_revoked(world, organisation, thumb):
        return []
    begin_ms = int(leaf.not_valid_before_utc.timestamp()) * 1000
    if not issued(authorities_of(world, organisation), leaf, intermediates, max(begin_ms, time_ms)):
        raise Rejection(Code.UNTRUSTED, f"no authority of organisation {organisation} has issued this for {subject}")
    return [Revoked(thumb, organisation, end_ms)]


def _read(pem: str) -> tuple[x509.Certificate, ...]:
    try:
        found = load_bundle(pem)
        subject_of(found[0])
    except CertificateError as error:
        raise Rejection(Code.BAD_CERTIFICATE, str(error)) from error
    return found


def _key(each: Revoked) -> str:
    return f"revoked/{each.organisation}/{each.thumbprint}"
