"""The ledger's answer about the holder of a certificate on a TLS connection: `ledger/access.py`, by credential."""

from functools import lru_cache

from cryptography import x509

from swarmlearning.identity.certificates import CertificateError, load_der
from swarmlearning.ledger.access import Peer, peer, registered_peer
from swarmlearning.ledger.chain import Chain
from swarmlearning.transport.parties import Credential


def peer_of(chain: Chain, credential: Credential) -> Peer:
    """The peer that holds this credential, as the ledger stands now."""
    known = registered_peer(chain.world, credential.thumbprint, chain.time_ms)
    if known is not None:
        return known
    try:
        return peer(chain.world, _certificate(credential.certificate), chain.time_ms)
    except CertificateError as error:
        return Peer("", None, "refused", fault=str(error))


def sn_fault(chain: Chain, credential: Credential) -> str:
    """The reason why the holder of a credential is no SN of this network, empty when it is one."""
    found = peer_of(chain, credential)
    if found.is_sn:
        return ""
    return found.fault or f"its certificate {found.subject!r} is that of no SN which the ledger admits"


@lru_cache(maxsize=1024)
def _certificate(der: bytes) -> x509.Certificate:
    return load_der(der)
