"""Trust of the network: its authorities, and the certificates that they vouch for.

Trust is judged at a time that the caller names (block time), never "now", and only by what is on the ledger.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec
from cryptography import x509

from swarmlearning.identity.certificates import (
    CertificateError,
    UnknownIssuerError,
    authority_of,
    is_authority,
    load_bundle,
    role_of,
    subject_of,
    thumbprint,
    verify_chain,
)
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import TxContext
from swarmlearning.ledger.contracts.network.bodies import AddAuthority, RetireAuthority, Revoke
from swarmlearning.ledger.contracts.network.state import (
    Authority,
    Certificate,
    Node,
    admitted,
    authorities,
    certificate,
    nodes,
)
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.world import World


def add_authority(world: World, contract: str, body: AddAuthority, tx: TxContext) -> World:
    """Trusts one more authority; a retired one is trusted again."""
    root = read_authority(body.certificate)
    return world.with_entries({f"authority/{root.thumbprint}": root})


def retire_authority(world: World, contract: str, body: RetireAuthority, tx: TxContext) -> World:
    """Stops trusting an authority's certificate; never the last one. Nodes that nobody vouches for then have left."""
    root = world.get(f"authority/{body.thumbprint}", Authority)
    if root is None or not root.active:
        raise Rejection(Code.UNKNOWN_AUTHORITY, f"no active authority {body.thumbprint}")
    if len(authorities(world)) == 1:
        raise Rejection(Code.LAST_AUTHORITY, "this is the network's only authority; add its successor first")
    world = world.with_entries({f"authority/{body.thumbprint}": msgspec.structs.replace(root, active=False)})
    return _shut_out(world, shut_out_by(world, body))


def revoke(world: World, contract: str, body: Revoke, tx: TxContext) -> World:
    """Stops trusting a node certificate. Nodes that are registered with it have left."""
    stored = certificate(world, body.thumbprint)
    if stored is None or stored.revoked:
        raise Rejection(Code.UNKNOWN_CERTIFICATE, f"no certificate {body.thumbprint} that could be revoked")
    revoked = msgspec.structs.replace(stored, revoked=True)
    world = world.with_entries({f"certificate/{body.thumbprint}": revoked})
    return _shut_out(world, shut_out_by(world, body))


def shut_out_by(world: World, body: Revoke | RetireAuthority) -> list[Node]:
    """The nodes that nobody vouches for any more in this world, in which that is not trusted which `body` names."""
    if isinstance(body, Revoke):
        return [known for known in nodes(world) if known.certificate == body.thumbprint]
    root = world.get(f"authority/{body.thumbprint}", Authority)
    if root is None or any(other.identity == root.identity for other in authorities(world)):
        return []
    return [known for known in nodes(world) if known.authority == root.identity]


def _shut_out(world: World, gone: Iterable[Node]) -> World:
    """Records these nodes as having left; they return by registering with a certificate that is trusted."""
    left = {f"node/{known.uid}": msgspec.structs.replace(known, left=True, alive=False) for known in gone}
    after = world.with_entries(left)
    if admitted(world) and not admitted(after):
        raise Rejection(Code.LAST_SN, "the network would be left without any SN; add another SN first")
    return after


def read_authority(pem: str) -> Authority:
    """The certificate of an authority as the ledger stores it. Raises `Rejection`."""
    try:
        found = load_bundle(pem)
    except CertificateError as error:
        raise Rejection(Code.BAD_CERTIFICATE, str(error)) from error
    if len(found) != 1:
        raise Rejection(Code.BAD_CERTIFICATE, f"one authority at a time; this file holds {len(found)} certificates")
    if not is_authority(found[0]):
        raise Rejection(Code.BAD_CERTIFICATE, f"{subject_of(found[0])} is no certificate authority (CA:TRUE)")
    return Authority(thumbprint=thumbprint(found[0]), pem=pem, active=True, identity=authority_of(found[0]))


def read_certificate(pem: str, roots: Sequence[Authority], time_ms: int) -> Certificate:
    """A certificate bundle as the ledger stores it, if one of these authorities vouches for it. Raises `Rejection`."""
    try:
        leaf = load_bundle(pem)[0]
        subject, role = subject_of(leaf), role_of(leaf)
    except CertificateError as error:
        raise Rejection(Code.BAD_CERTIFICATE, str(error)) from error
    authority = _vouching(pem, tuple(root.pem for root in roots), time_ms)
    return Certificate(
        thumbprint=thumbprint(leaf), pem=pem, subject=subject, role=role, revoked=False, authority=authority
    )


def check_trust(world: World, stored: Certificate, time_ms: int) -> None:
    """Raises `Rejection` unless the certificate's own authority vouches for it at this time, and nobody revoked it."""
    if stored.revoked:
        raise Rejection(Code.REVOKED, f"the certificate of {stored.subject} has been revoked")
    anchors = world.derived("authority/", Authority, _anchors).get(stored.authority)
    if anchors is None:
        raise Rejection(Code.UNTRUSTED, f"the authority of {stored.subject} has been retired from this network")
    _vouching(stored.pem, anchors, time_ms)


def vouch(
    roots: Sequence[Authority], leaf: x509.Certificate, intermediates: Sequence[x509.Certificate], time_ms: int
) -> bool:
    """True if one of the authorities vouches for this certificate at this time."""
    try:
        verify_chain(leaf, intermediates, [load_bundle(root.pem)[0] for root in roots], time_ms)
    except CertificateError:
        return False
    return True


def _anchors(known: tuple[Authority, ...]) -> dict[str, tuple[str, ...]]:
    """The active certificates of each authority, by its identity."""
    active = [each for each in known if each.active]
    return {root.identity: tuple(each.pem for each in active if each.identity == root.identity) for root in active}


def _vouching(pem: str, anchors: tuple[str, ...], time_ms: int) -> str:
    """Identity of the authority that vouches for the bundle. Raises `Rejection`."""
    identity, fault = _verdict(pem, anchors, bisect_right(_boundaries(pem, anchors), time_ms))
    if fault:
        raise Rejection(Code.UNTRUSTED, fault)
    return identity


@lru_cache(maxsize=1024)
def _boundaries(pem: str, authorities: tuple[str, ...]) -> tuple[int, ...]:
    """The times at which one of the certificates begins or ceases to be valid; in between trust cannot change."""
    times = set()
    for one in [one for bundle in (pem, *authorities) for one in load_bundle(bundle)]:
        times.add(int(one.not_valid_before_utc.timestamp()) * 1000)
        times.add(int(one.not_valid_after_utc.timestamp()) * 1000 + 1000)
    return tuple(sorted(times))


@lru_cache(maxsize=1024)
def _verdict(pem: str, authorities: tuple[str, ...], span: int) -> tuple[str, str]:
    """The authority that vouches for the certificate in this span between two boundaries, or why none does."""
    leaf, *intermediates = load_bundle(pem)
    anchors = [load_bundle(root)[0] for root in authorities]
    begin = _boundaries(pem, authorities)[span - 1] if span else 0
    try:
        return authority_of(verify_chain(leaf, intermediates, anchors, begin)), ""
    except UnknownIssuerError as error:
        return "", f"{error}. An operator of a member admits the authority to the network: swarm trust add CA-FILE"
    except CertificateError as error:
        return "", str(error)
