"""Admission: a transaction belongs to this chain at this height, and its sender is trusted.

A signature is checked before anything else of a stranger's bytes is looked into. A certificate is judged at block
time, never "now".
"""

from collections.abc import Mapping
from functools import lru_cache

from cryptography import x509

from swarmlearning.identity.certificates import CertificateError, load_bundle, load_leaf, thumbprint
from swarmlearning.identity.signing import SignatureError, verify_once
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.contract import TxContext
from swarmlearning.ledger.contracts.network import Certificate
from swarmlearning.ledger.contracts.network.bodies import Genesis, Register, Renew
from swarmlearning.ledger.contracts.network.members import founding
from swarmlearning.ledger.contracts.network.revoking import check_unrevoked
from swarmlearning.ledger.contracts.network.trust import check_trust, read_certificate, with_path
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.fields import is_uuid
from swarmlearning.ledger.transaction import SignedTransaction
from swarmlearning.ledger.world import World


def check_place(
    signed: SignedTransaction, network_id: str, height: int, hashes: Mapping[int, str], window: int
) -> None:
    """Raises `Rejection` unless the transaction is for this network and chain, and for this height."""
    content = signed.content
    if content.network != network_id:
        raise Rejection(
            Code.OTHER_NETWORK,
            f"the transaction is for network {content.network[:12]}, this is {network_id[:12]}",
        )
    if isinstance(content.body, Genesis):
        if height != 0:
            raise Rejection(Code.FOUNDED_ALREADY, "a network has one genesis, in block 0")
        return
    anchor = content.anchor
    if anchor.height < height - window or content.expires_at_height < height:
        raise Rejection(Code.EXPIRED, f"signed at height {anchor.height}, now {height}; sign it again")
    if content.expires_at_height > anchor.height + window:
        raise Rejection(Code.MALFORMED, f"a transaction may wait {window} blocks at most")
    if hashes.get(anchor.height) != anchor.hash:
        raise Rejection(
            Code.OTHER_CHAIN,
            f"the sender has seen block {anchor.height} as {anchor.hash[:12]}, here it is "
            f"{hashes.get(anchor.height, 'unknown')[:12]}: somebody shows different chains to different nodes",
        )


def sender_of(world: World, signed: SignedTransaction, height: int, time_ms: int) -> TxContext:
    """The sender of a transaction, whose certificate is trusted in this block. Raises `Rejection`."""
    content, stored = signed.content, network.certificate(world, signed.signer)
    _check_signature(signed, leaf(stored.pem) if stored else _stated_leaf(signed))
    if isinstance(content.body, Register | Genesis):
        _check_uid(content.sender)
    if stored is None:
        stored = _stated(world, signed, time_ms)
    elif other := _other_path(signed, stored):
        stored = with_path(world, stored, other, time_ms)
    else:
        check_trust(world, stored, time_ms)
    anchor = content.anchor
    previous = anchor.hash if anchor.height == height - 1 else ""
    tx = TxContext(
        content.sender,
        content.incarnation,
        stored,
        height,
        time_ms,
        content.network,
        anchor.height,
        previous,
        on_behalf_of=content.on_behalf_of,
    )
    if not isinstance(content.body, Register | Genesis):
        _check_sender(world, tx)
    return tx


def check_trusted(world: World, uid: str, time_ms: int) -> Certificate:
    """The certificate of a registered node, trusted at this time. Raises `Rejection`."""
    sender = network.node(world, uid)
    stored = network.certificate(world, sender.certificate) if sender else None
    if stored is None:
        raise Rejection(Code.UNKNOWN_NODE, f"no node {uid} is registered")
    check_trust(world, stored, time_ms)
    return stored


@lru_cache(maxsize=1024)
def leaf(pem: str) -> x509.Certificate:
    """The node's own certificate in a stored bundle."""
    return load_bundle(pem)[0]


def _stated_leaf(signed: SignedTransaction) -> x509.Certificate:
    """The certificate with which a first transaction is signed, and which it contains."""
    body = signed.content.body
    if not isinstance(body, Register | Renew | Genesis) or not body.certificate:
        raise Rejection(
            Code.UNKNOWN_CERTIFICATE,
            f"no certificate {signed.signer[:12]} on this ledger; register the node first",
        )
    try:
        sent = load_leaf(body.certificate)
    except CertificateError as error:
        raise Rejection(Code.BAD_CERTIFICATE, str(error)) from error
    if thumbprint(sent) != signed.signer:
        raise Rejection(Code.BAD_CERTIFICATE, "the transaction is signed with another certificate than it states")
    return sent


def _stated(world: World, signed: SignedTransaction, time_ms: int) -> Certificate:
    """Returns the certificate in the body as the ledger stores it; called only once the signature holds."""
    body = signed.content.body
    assert isinstance(body, Register | Renew | Genesis)
    if isinstance(body, Genesis):
        if not body.organisations:
            raise Rejection(Code.NO_AUTHORITY, "a network needs at least one organisation and its authority")
        world = founding(body.organisations)
    found = read_certificate(body.certificate, network.authorities(world), time_ms)
    check_unrevoked(world, found)
    return found


def _other_path(signed: SignedTransaction, stored: Certificate) -> str:
    """The bundle in the body, where that states another path for the certificate by which it is signed; else empty."""
    body = signed.content.body
    if not isinstance(body, Register | Renew) or body.certificate in ("", stored.pem):
        return ""
    try:
        sent = load_leaf(body.certificate)
    except CertificateError as error:
        raise Rejection(Code.BAD_CERTIFICATE, str(error)) from error
    return body.certificate if thumbprint(sent) == stored.thumbprint else ""


def _check_signature(signed: SignedTransaction, certificate: x509.Certificate) -> None:
    try:
        verify_once(signed.raw, certificate)
    except SignatureError as error:
        raise Rejection(Code.BAD_SIGNATURE, str(error)) from error


def _check_uid(uid: str) -> None:
    """A node's UID is made once and belongs to its identity for good, so it must not be a name that others may want."""
    if not is_uuid(uid):
        raise Rejection(
            Code.BAD_UID,
            f"{uid} is no UID of a node: it has to be a UUID, such as 3f2b8c1e-5d4a-4f6b-9c7d-0a1b2c3d4e5f",
        )


def _check_sender(world: World, tx: TxContext) -> None:
    sender = network.node(world, tx.sender)
    if sender is None:
        raise Rejection(Code.UNKNOWN_NODE, f"node {tx.sender} is not registered; register it first")
    if (tx.signer.organisation, tx.signer.subject) != (sender.organisation, sender.subject):
        raise Rejection(
            Code.OTHER_SUBJECT, f"node {tx.sender} belongs to {sender.subject} of organisation {sender.organisation}"
        )
    if sender.left:
        raise Rejection(Code.HAS_LEFT, f"node {tx.sender} has left the network; start it again to register it anew")
    if network.quarantine(world, sender):
        raise Rejection(Code.QUARANTINE, network.quarantined(sender))
    if tx.incarnation != sender.incarnation:
        raise Rejection(
            Code.OLD_INCARNATION,
            f"node {tx.sender} was started again and now runs as incarnation {sender.incarnation}; "
            f"incarnation {tx.incarnation} must stop",
        )
