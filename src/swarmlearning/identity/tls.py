"""TLS between nodes: version 1.3 only, certificates on both sides; trusted are the identity's own CAs, and those that
a running node adds from its ledger. An invited newcomer has no certificate yet: `greeting_context`, `newcomer_context`;
neither has a browser: `browser_context`.

Host names are not checked: the certificates that users have name a node, not its address, and one is
often shared by several nodes. The certificate states who the peer is; what it may do is decided by
its role and the ledger.
"""

import logging
import os
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from swarmlearning.identity.certificates import CertificateError, Role, load_der, load_leaf, role_of, to_pem
from swarmlearning.identity.identity import Identity, IdentityError
from swarmlearning.identity.source import IdentitySource

logger = logging.getLogger("swarm.identity")


class NodeTls:
    """The contexts of a node that runs: `client` and `server` trust at once what `trust` adds.

    What is on the ledger is not removed: that an authority is retired, or a certificate revoked, is the ledger's
    decision, which is made for each connection and request.
    """

    def __init__(self, identity: Identity) -> None:
        """Raises `IdentityError` when OpenSSL refuses the identity."""
        self._of_ledger: dict[str, bytes] = {}  # the certificates of authorities, by PEM in DER
        self.client = CurrentContext(client_context(identity))
        self.server = CurrentContext(server_context(identity))

    def trust(self, authorities: Iterable[str]) -> None:
        """Trusts these certificates of authorities (PEM) too; may be called while connections are made."""
        for pem in authorities:
            if pem in self._of_ledger:
                continue
            self._of_ledger[pem] = b""
            try:
                only = load_leaf(pem).public_bytes(Encoding.DER)  # whatever else the text may hold
                for context in (self.client.made, self.server.made):
                    context.load_verify_locations(cadata=only)
                self._of_ledger[pem] = only
            except (CertificateError, ssl.SSLError) as error:  # it came from another organisation
                logger.warning("TLS cannot use the certificate of an authority on the ledger: %s", error)

    def use(self, identity: Identity) -> None:
        """Makes new connections by this identity; those that are open go on. Raises `IdentityError`."""
        client, server = client_context(identity), server_context(identity)
        for context in (client, server):
            for der in filter(None, self._of_ledger.values()):
                context.load_verify_locations(cadata=der)
        self.client.made, self.server.made = client, server


class CurrentContext(ssl.SSLContext):
    """A context whose connections are made by another one, `made`, which may be replaced while it is in use.

    A context of OpenSSL cannot follow a change by itself: it keeps the key of each algorithm and every authority that
    it was once given.
    """

    made: ssl.SSLContext

    def __new__(cls, made: ssl.SSLContext) -> "CurrentContext":
        """Has the kind and the mode of verification of `made`, for those who ask."""
        self = super().__new__(cls, made.protocol)
        self.check_hostname = made.check_hostname
        self.verify_mode = made.verify_mode
        self.made = made
        return self

    def __init__(self, made: ssl.SSLContext) -> None:
        pass  # `ssl.SSLContext` is complete once it is made

    def wrap_bio(self, *arguments: Any, **options: Any) -> Any:
        """See `ssl.SSLContext`."""
        return self.made.wrap_bio(*arguments, **options)

    def wrap_socket(self, *arguments: Any, **options: Any) -> Any:
        """See `ssl.SSLContext`."""
        return self.made.wrap_socket(*arguments, **options)


async def follow_source(
    tls: CurrentContext, make: Callable[[Identity], ssl.SSLContext], source: IdentitySource, known: Identity
) -> None:
    """Has new connections made by each identity of the source that comes after the `known` one, until cancelled."""
    while True:
        known = await source.changed(known)
        try:
            tls.made = make(known)
        except (CertificateError, IdentityError) as error:
            logger.warning("%s. New connections are made with the certificate before it", error)


def server_context(identity: Identity) -> ssl.SSLContext:
    """For the accepting side. Raises `IdentityError` when OpenSSL refuses the identity."""
    return _context(ssl.PROTOCOL_TLS_SERVER, identity)


def client_context(identity: Identity) -> ssl.SSLContext:
    """For the connecting side. Raises `IdentityError` when OpenSSL refuses the identity."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, identity)


def browser_context(identity: Identity) -> ssl.SSLContext:
    """For the accepting side, towards browsers, which show no certificate. Raises `IdentityError`."""
    context = _bare(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_NONE
    with _refusal_named(identity):
        _show(context, identity.key_and_bundle)
    return context


def greeting_context(identity: Identity) -> ssl.SSLContext:
    """For the accepting side, towards clients without a certificate.

    It shows the identity's authority too, which such a client knows only by its fingerprint. Raises `IdentityError`,
    and `CertificateError` where no authority vouches for the identity now.
    """
    context = _bare(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_NONE
    with _refusal_named(identity):
        _show(context, identity.key_and_bundle + "".join(map(to_pem, identity.authorities)).encode())
    return context


def newcomer_context(authorities: Iterable[x509.Certificate] = ()) -> ssl.SSLContext:
    """For the connecting side that has no certificate, and trusts these authorities alone; without any it verifies
    nothing, and is only for looking at what a server shows."""
    context, trusted = _bare(ssl.PROTOCOL_TLS_CLIENT), "".join(map(to_pem, authorities))
    if trusted:
        context.load_verify_locations(cadata=trusted)
    else:
        context.verify_mode = ssl.CERT_NONE
    return context


def shown_chain(connection: ssl.SSLObject) -> list[bytes]:
    """The certificates (DER) that a server has shown, its own first, whether or not they were verified."""
    if sys.version_info >= (3, 13):
        return list(connection.get_unverified_chain())
    inner = connection._sslobj  # type: ignore[attr-defined]  # public from Python 3.13 on
    return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in inner.get_unverified_chain() or ()]


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
    context = _bare(protocol)
    with _refusal_named(identity):
        _show(context, identity.key_and_bundle)
        context.load_verify_locations(cadata="".join(map(to_pem, identity.anchors)))
    return context


def _bare(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    # Strict checks refuse the original's certificates. A trusted CA need not be a root, as in `verify_chain`.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _show(context: ssl.SSLContext, key_and_chain: bytes) -> None:
    """Has the context show a certificate and those after it (PEM, behind the key). Raises `OSError`."""
    with _file_in_memory(key_and_chain) as path:
        context.load_cert_chain(path)


@contextmanager
def _refusal_named(identity: Identity) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # ssl.SSLError is one
        raise IdentityError(f"TLS refuses {identity.cert_path} with {identity.key_path}: {error}") from error


@contextmanager
def _file_in_memory(content: bytes) -> Iterator[str]:
    """The path of a file with a private key in memory, since Python's `ssl` reads keys from files only.

    Where the system has no such files, it is one that only this user may read, for as long as the block takes.
    """
    if not hasattr(os, "memfd_create"):  # not Linux
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name
        return
    descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
