"""The nodes that a credential speaks for: identity is the subject under the same authority.

A certificate is renewed, with or without a new key, and the node stays the same node. A certificate of another
authority with an equal subject is somebody else's, and a revoked one is nobody's.
"""

from collections.abc import Callable
from functools import lru_cache

from swarmlearning.address import split
from swarmlearning.identity.certificates import CertificateError, load_bundle, load_der, subject_of, verify_chain
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Authority, Node
from swarmlearning.ledger.world import World
from swarmlearning.ordering.etcd.member import peer_address
from swarmlearning.ordering.etcd.tunnel import Peer
from swarmlearning.transport.parties import Credential


def speaks_for(world: World, credential: Credential, known: Node) -> bool:
    """Whether this is the credential of a registered node: the certificate on the ledger, or a renewal of it."""
    seen = network.certificate(world, credential.thumbprint)
    authority = world.get(f"authority/{credential.authority}", Authority)
    if (seen is not None and seen.revoked) or authority is None or not authority.active:
        return False
    registered = network.certificate(world, known.certificate)
    if registered is None or registered.revoked or _subject(credential.certificate) != known.subject:
        return False
    return _issued_under(registered.pem, authority.pem)


class Admission:
    """`Registry` of the tunnel: the SNs that the verified chain admits."""

    def __init__(self, chain: Callable[[], Chain]) -> None:
        self._chain = chain

    def find(self, address: str) -> Peer | None:
        """The SN with this cluster address, None when the ledger admits none."""
        for known in network.admitted(self._chain().world):
            if peer_address(known.uid) == address and "p2p" in known.addresses:
                return Peer(*split(known.addresses["p2p"]), known.uid)
        return None

    def admits(self, credential: Credential, uid: str | None = None) -> bool:
        """Whether this is the credential of an admitted SN: any, or the one named."""
        world = self._chain().world
        return any(
            speaks_for(world, credential, known) for known in network.admitted(world) if uid in (None, known.uid)
        )


@lru_cache(maxsize=1024)
def _subject(certificate: bytes) -> str:
    try:
        return subject_of(load_der(certificate))
    except CertificateError:
        return ""


@lru_cache(maxsize=1024)
def _issued_under(bundle: str, authority: str) -> bool:
    """Whether this authority anchors a certificate on the ledger, as it was when it was issued: it may have expired."""
    leaf, *intermediates = load_bundle(bundle)
    try:
        issued_ms = int(leaf.not_valid_before_utc.timestamp()) * 1000
        verify_chain(leaf, intermediates, load_bundle(authority), issued_ms)
    except CertificateError:
        return False
    return True
