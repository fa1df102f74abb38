"""The ledger's answer about the holder of a certificate on a TLS connection: `ledger/access.py`, by credential."""

from functools import lru_cache

from cryptography import x509

from swarmlearning.identity.certificates import CertificateError, load_bundle, load_der, verify_chain
from swarmlearning.ledger.access import Peer, peer, registered_peer
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Authority
from swarmlearning.ledger.contracts.network.quotas import BURST_SECONDS, limited, quotas_of
from swarmlearning.ledger.contracts.network.trust import authorities_of
from swarmlearning.rates import Rate
from swarmlearning.transport.meters import Meter
from swarmlearning.transport.parties import Credential
from swarmlearning.transport.shares import Share


def peer_of(chain: Chain, credential: Credential) -> Peer:
    """The peer that holds this credential, as the ledger stands now."""
    known = registered_peer(chain.world, credential.thumbprint, chain.time_ms)
    if known is not None and not (known.fault and credential.path):
        return known
    try:
        path = tuple(map(_certificate, credential.path))
        return peer(chain.world, _certificate(credential.certificate), chain.time_ms, path)
    except CertificateError as error:
        return Peer("", None, "refused", fault=str(error))


def sn_fault(chain: Chain, credential: Credential) -> str:
    """The reason why the holder of a credential is no SN of this network, empty when it is one."""
    found = peer_of(chain, credential)
    if found.is_sn:
        return ""
    return found.fault or f"its certificate {found.subject!r} is that of no SN which the ledger admits"


def organisation_of(chain: Chain, credential: Credential) -> str:
    """ID of the organisation to which the holder of a credential belongs, registered yet or not.

    One that the ledger does not know is called by its authority, in a way in which no ID is.
    """
    stored = network.certificate(chain.world, credential.thumbprint)
    if stored is not None:
        return stored.organisation
    root = chain.world.get(f"authority/{credential.authority}", Authority)
    return root.organisation if root else f"authority:{credential.authority[:16]}"


def is_issued_by(chain: Chain, credential: Credential, organisation: str) -> bool:
    """True if an authority of this organisation has issued a credential itself, whatever its name, and nothing speaks
    against it on the ledger."""
    known = registered_peer(chain.world, credential.thumbprint, chain.time_ms)
    if known is not None and known.standing != "trusted":
        return False
    anchors = [load_bundle(each.pem)[0] for each in authorities_of(chain.world, organisation)]
    try:
        certificate = _certificate(credential.certificate)
        begin_ms = int(certificate.not_valid_before_utc.timestamp()) * 1000
        verify_chain(certificate, (), anchors, max(chain.time_ms, begin_ms))  # blocks may be old
    except CertificateError:
        return False
    return True


def share_of(chain: Chain, credential: Credential) -> Share | None:
    """The part of a server that its organisation may have; None where one organisation is alone."""
    if not limited(chain.world):
        return None
    own = organisation_of(chain, credential)
    quotas = quotas_of(chain.world, own)
    return Share(own, quotas.connections, quotas.requests)


def model_turn(chain: Chain, meter: Meter, credential: Credential, size: int) -> float:
    """Returns the seconds until a peer's organisation has earned so many bytes of models from this node."""
    if not limited(chain.world):
        return 0.0
    own = organisation_of(chain, credential)
    return meter.turn(own, Rate(quotas_of(chain.world, own).model_bytes, BURST_SECONDS), size) or 0.0


@lru_cache(maxsize=1024)
def _certificate(der: bytes) -> x509.Certificate:
    return load_der(der)
