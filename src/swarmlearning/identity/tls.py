"""TLS between nodes: version 1.3 only, certificates on both sides; trusted are the identity's own CAs, and those that
a running node adds from its ledger.

Host names are not checked: the certificates that users have name a node, not its address, and one is
often shared by several nodes. The certificate states who the peer is; what it may do is decided by
its role and the ledger.
"""

import logging
import ssl
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from swarmlearning.identity.certificates import CertificateError, Role, load_der, load_leaf, role_of, to_pem
from swarmlearning.identity.identity import Identity, IdentityError

logger = logging.getLogger("swarm.identity")


class NodeTls:
    """The contexts of a node that runs: `client` and `server` trust at once what `trust` adds.

    Nothing is removed: that an authority is retired, or a certificate revoked, is the ledger's decision, which is
    made for each connection and request.
    """

    def __init__(self, identity: Identity) -> None:
        """Raises `IdentityError` when OpenSSL refuses the identity's files."""
        self.client = client_context(identity)
        self.server = server_context(identity)
        self._known = set(map(to_pem, identity.anchors))

    def trust(self, authorities: Iterable[str]) -> None:
        """Trusts these certificates of authorities (PEM) too; may be called while connections are made."""
        for pem in authorities:
            if pem in self._known:
                continue
            self._known.add(pem)
            try:
                only = load_leaf(pem).public_bytes(Encoding.DER)  # whatever else the text may hold
                for context in (self.client, self.server):
                    context.load_verify_locations(cadata=only)
            except (CertificateError, ssl.SSLError) as error:  # it came from another organisation
                logger.warning("TLS cannot use the certificate of an authority on the ledger: %s", error)


def server_context(identity: Identity) -> ssl.SSLContext:
    """For the accepting side. Raises `IdentityError` when OpenSSL refuses the identity's files."""
    return _context(ssl.PROTOCOL_TLS_SERVER, identity)


def client_context(identity: Identity) -> ssl.SSLContext:
    """For the connecting side. Raises `IdentityError` when OpenSSL refuses the identity's files."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, identity)


def peer_certificate(connection: ssl.SSLObject | ssl.SSLSocket) -> x509.Certificate:
    """The peer's certificate, whose path TLS has verified. Raises `CertificateError` when it showed none."""
    der = connection.getpeercert(binary_form=True)
    if der is None:
        raise CertificateError("the peer has shown no certificate; this connection needs mutual TLS")
    return load_der(der)


def require_role(certificate: x509.Certificate, *roles: Role) -> Role:
    """The certificate's role, if it is one of `roles`. Raises `CertificateError` naming what is needed."""
    role = role_of(certificate)
    if role not in roles:
        raise CertificateError(
            f"certificate {certificate.subject.rfc4514_string()!r} is for the role {role}; "
            f"needed here: {' or '.join(roles)}"
        )
    return role


def _context(protocol: int, identity: Identity) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    # Strict checks refuse the original's certificates. A trusted CA need not be a root, as in `verify_chain`.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_cert_chain(identity.cert_path, identity.key_path)
        context.load_verify_locations(cadata="".join(map(to_pem, identity.anchors)))
    except OSError as error:  # ssl.SSLError is one
        raise IdentityError(f"TLS refuses {identity.cert_path} with {identity.key_path}: {error}") from error
    return context
