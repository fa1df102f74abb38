"""Successors of authorities: the new authority that an organisation may add alone, since a present one vouches for it.

The present authority vouches with its key, never an operator in its place; and it passes on no more than it has: its
roles, its trust domain and its name constraints hold for its successor too. Whatever goes beyond needs the quorum.
"""

from collections.abc import Sequence

from cryptography import x509

from swarmlearning.identity.certificates import (
    CertificateError,
    is_authority,
    is_issued_by,
    load_bundle,
    name_constraints,
)
from swarmlearning.ledger.contracts.network.bodies import AddAuthority, Anchor
from swarmlearning.ledger.contracts.network.state import Authority
from swarmlearning.ledger.contracts.network.trust import authorities_of
from swarmlearning.ledger.world import World


def succeeding(world: World, contract: str, body: AddAuthority) -> str:
    """The organisation, if one of its present authorities vouches for the new one within its own bounds; else empty."""
    try:
        found = load_bundle(body.anchor.certificate)
    except CertificateError:
        return ""
    for root in authorities_of(world, body.organisation):
        present = load_bundle(root.pem)[0]
        if _vouches(present, found) and _is_within(root, present, body.anchor, found[0]):
            return body.organisation
    return ""


def _vouches(present: x509.Certificate, found: Sequence[x509.Certificate]) -> bool:
    """True if the present authority has issued the new one's certificate (as its own renewed one is), or a certificate
    for the same name and key beside a self-signed one."""
    new, *others = found
    return _has_issued(present, new) or (_has_issued(new, new) and any(_has_issued(present, cross) for cross in others))


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Judged at the end of the issuer's validity: an authority may vouch for its successor to its last second.

    A certificate of a node vouches for no authority: whoever has its key could call an authority by the node's name.
    """
    last_ms = int(issuer.not_valid_after_utc.timestamp()) * 1000
    return is_authority(certificate) and is_issued_by(certificate, issuer, last_ms)


def _is_within(root: Authority, present: x509.Certificate, anchor: Anchor, new: x509.Certificate) -> bool:
    constraints = name_constraints(present)
    return (
        set(anchor.roles) <= set(root.roles)
        and root.trust_domain in ("", anchor.trust_domain)
        and root.bundle >= anchor.bundle
        and constraints in (None, name_constraints(new))
    )
