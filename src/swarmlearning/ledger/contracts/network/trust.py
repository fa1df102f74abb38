"""Trust of the network: which organisation has issued a certificate, and whether it is still to be trusted.

Trust is judged at a time that the caller names (block time), never "now", and only by what is on the ledger.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache

from cryptography import x509

from swarmlearning.identity.certificates import (
    MAX_INTERMEDIATES,
    CertificateError,
    UnknownIssuerError,
    anchors_reached,
    load_bundle,
    role_of,
    subject_of,
    thumbprint,
    verify_chain,
)
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.network.state import Authority, Certificate
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.world import World


def read_certificate(pem: str, authorities: Sequence[Authority], time_ms: int) -> Certificate:
    """A certificate bundle as the ledger stores it, if one of these authorities has issued it. Raises `Rejection`."""
    if (count := pem.count("-----BEGIN CERTIFICATE-----")) > MAX_INTERMEDIATES + 1:  # before any of it is parsed
        raise Rejection(
            Code.BAD_CERTIFICATE,
            f"{count} certificates in one bundle; with one come {MAX_INTERMEDIATES} intermediate ones at most",
        )
    try:
        leaf = load_bundle(pem)[0]
        subject, role = subject_of(leaf), role_of(leaf)
    except CertificateError as error:
        raise Rejection(Code.BAD_CERTIFICATE, str(error)) from error
    organisation = _issuer(pem, tuple(authorities), time_ms)
    return Certificate(
        thumbprint=thumbprint(leaf), pem=pem, subject=subject, role=role, revoked=False, organisation=organisation
    )


def check_trust(world: World, stored: Certificate, time_ms: int) -> None:
    """Raises `Rejection` unless the certificate's own organisation vouches for it now, and nobody has revoked it."""
    _issuer(stored.pem, _vouching(world, stored), time_ms)


def with_path(world: World, stored: Certificate, pem: str, time_ms: int) -> Certificate:
    """The same certificate over another path to its own organisation: `pem` has it first. Raises `Rejection`.

    An intermediate authority may have a new certificate, and those that it has issued stay as they are.
    """
    return read_certificate(pem, _vouching(world, stored), time_ms)


def _vouching(world: World, stored: Certificate) -> tuple[Authority, ...]:
    """The authorities of a certificate's organisation. Raises `Rejection` where nobody can vouch for it any more."""
    if stored.revoked:
        raise Rejection(
            Code.REVOKED,
            f"the certificate of {stored.subject} has been revoked; ask an operator of organisation "
            f"{stored.organisation} for another one",
        )
    authorities = authorities_of(world, stored.organisation)
    if not authorities:
        raise Rejection(
            Code.UNTRUSTED,
            f"organisation {stored.organisation}, whose certificate {stored.subject} is, takes no part any more; ask "
            "its operators, who ask the other organisations to admit it again",
        )
    return authorities


def is_trusted(world: World, stored: Certificate, time_ms: int) -> bool:
    """`check_trust` as a value."""
    try:
        check_trust(world, stored, time_ms)
    except Rejection:
        return False
    return True


def authorities_of(world: World, organisation: str) -> tuple[Authority, ...]:
    """The active authorities of an organisation, by thumbprint."""
    return world.derived("authority/", Authority, _by_organisation).get(organisation, ())


def issued(
    authorities: Sequence[Authority], leaf: x509.Certificate, intermediates: Sequence[x509.Certificate], time_ms: int
) -> bool:
    """True if one of the authorities has issued this certificate, may do so, and vouches for it at this time."""
    anchors = [load_bundle(each.pem)[0] for each in authorities if may_issue(each, leaf)]
    try:
        verify_chain(leaf, intermediates, anchors, time_ms)
    except CertificateError:
        return False
    return True


def may_issue(authority: Authority, leaf: x509.Certificate) -> bool:
    """True if the role, and where that is limited the SPIFFE ID, of a certificate is one that it may issue."""
    domain = f"spiffe://{authority.trust_domain}/" if authority.trust_domain else ""
    return role_of(leaf) in authority.roles and subject_of(leaf).startswith(domain)


def _by_organisation(known: tuple[Authority, ...]) -> Mapping[str, tuple[Authority, ...]]:
    active = [each for each in known if each.active]
    return {
        organisation: tuple(each for each in active if each.organisation == organisation)
        for organisation in {each.organisation for each in active}
    }


def _issuer(pem: str, authorities: tuple[Authority, ...], time_ms: int) -> str:
    """ID of the organisation that has issued the bundle. Raises `Rejection`."""
    organisation, fault = _verdict(pem, authorities, bisect_right(_boundaries(pem, authorities), time_ms))
    if fault:
        raise Rejection(Code.UNTRUSTED, fault)
    return organisation


@lru_cache(maxsize=1024)
def _boundaries(pem: str, authorities: tuple[Authority, ...]) -> tuple[int, ...]:
    """The times at which one of the certificates begins or ceases to be valid; in between trust cannot change."""
    times = set()
    for one in [one for bundle in (pem, *(each.pem for each in authorities)) for one in load_bundle(bundle)]:
        times.add(int(one.not_valid_before_utc.timestamp()) * 1000)
        times.add(int(one.not_valid_after_utc.timestamp()) * 1000 + 1000)
    return tuple(sorted(times))


@lru_cache(maxsize=1024)
def _verdict(pem: str, authorities: tuple[Authority, ...], span: int) -> tuple[str, str]:
    """The organisation that has issued the certificate, in this span between two boundaries, or why none has."""
    leaf, *intermediates = load_bundle(pem)
    begin = _boundaries(pem, authorities)[span - 1] if span else 0
    allowed = {load_bundle(each.pem)[0]: each for each in authorities if may_issue(each, leaf)}
    try:
        found = anchors_reached(leaf, intermediates, list(allowed), begin)
    except UnknownIssuerError as error:
        return "", _limits(leaf, intermediates, authorities, begin) or (
            f"{error}. An operator of a member admits its organisation to the network: swarm trust add CA-FILE"
        )
    except CertificateError as error:
        return "", str(error)
    return _furthest({allowed[anchor]: length for anchor, length in found.items()}, leaf)


def _furthest(found: Mapping[Authority, int], leaf: x509.Certificate) -> tuple[str, str]:
    """The organisation to which the longest path leads, or why there is no one such; `found`: lengths of paths.

    A node chooses its organisation by the intermediate certificates that it sends along: any organisation can vouch for
    an intermediate authority of another one, whose nodes must not become its own by that.
    """
    longest = max(found.values())
    organisations = sorted({each.organisation for each, length in found.items() if length == longest})
    if len(organisations) == 1:
        return organisations[0], ""
    return "", (
        f"the intermediate certificates of {subject_of(leaf)} lead to authorities of {' and '.join(organisations)}; "
        "leave out those that are not of the node's own organisation"
    )


def _limits(
    leaf: x509.Certificate, intermediates: list[x509.Certificate], authorities: tuple[Authority, ...], time_ms: int
) -> str:
    """Says so where an authority has issued the certificate that may not issue it; else empty."""
    others = {load_bundle(each.pem)[0]: each for each in authorities if not may_issue(each, leaf)}
    try:
        found = others[verify_chain(leaf, intermediates, list(others), time_ms)]
    except CertificateError:
        return ""
    domain = f" in trust domain {found.trust_domain}" if found.trust_domain else ""
    return (
        f"certificate {subject_of(leaf)} is for the role {role_of(leaf)}; that authority of organisation "
        f"{found.organisation} may issue for {', '.join(found.roles)}{domain} only"
    )
