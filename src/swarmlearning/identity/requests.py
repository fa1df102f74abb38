"""Certificate signing requests (CSR, PKCS #10): a key stays on its host, and only this goes to whoever has the CA.

A request is hostile until it has been read here: it is bounded, names one node, and is signed with the key for which it
asks. Everything else in it (extensions, other parts of the subject) is for the CA to decide, and ignored.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID, NameOID

from swarmlearning.identity.ca import Key, alternative_names, signature_hash, subject_named
from swarmlearning.identity.certificates import CertificateError
from swarmlearning.identity.signing import can_sign

MAX_REQUEST: Final = 64 * 1024
"""Bytes of a request in PEM form."""
MAX_NAMES: Final = 64
"""Host names and IP addresses of one request."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
"""The name of a node or CA: safe in file names and on a terminal."""

_Read = TypeVar("_Read")


class Request(NamedTuple):
    """What a request asks for: a certificate for this common name, host names, IP addresses and public key."""

    common_name: str
    dns: tuple[str, ...]
    ips: tuple[str, ...]
    key: CertificatePublicKeyTypes


def make_request(key: Key, common_name: str, dns: Sequence[str], ips: Sequence[str]) -> str:
    """A request in PEM form, signed with `key`. Raises `CertificateError` for what cannot be a name."""
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject_named(common_name))
        .add_extension(alternative_names([common_name, *dns], ips), critical=False)
    )
    return builder.sign(key, signature_hash(key)).public_bytes(Encoding.PEM).decode("ascii")


def read_request(pem: bytes) -> Request:
    """What a request in PEM form asks for.

    Raises `CertificateError` for one that is malformed or too large, is not signed with its own key, has a key that
    cannot sign here, or names no node or more than names and addresses.
    """
    if len(pem) > MAX_REQUEST:
        raise CertificateError(f"a request of {len(pem)} bytes: at most {MAX_REQUEST} are read")
    if b"-----BEGIN CERTIFICATE REQUEST-----" not in pem and b"-----BEGIN NEW CERTIFICATE REQUEST-----" not in pem:
        raise CertificateError("no request in PEM form (-----BEGIN CERTIFICATE REQUEST-----)")
    request = _decoded(lambda: x509.load_pem_x509_csr(pem))
    key = _decoded(request.public_key)
    if not can_sign(key):  # before its signature is checked: some keys make that slow
        raise CertificateError(
            "the key of the request cannot sign here: use EC P-256 (recommended), EC P-384, Ed25519, or RSA of 2048 "
            "to 8192 bits"
        )
    if not _decoded(lambda: request.is_signature_valid):
        raise CertificateError("the request is not signed with the key for which it asks")
    common_name = _decoded(lambda: _common_name(request))
    dns, ips = _decoded(lambda: _names(request))
    return Request(common_name, tuple(name for name in dns if name != common_name), ips, key)


def fingerprint(key: CertificatePublicKeyTypes) -> str:
    """SHA-256 of a public key (its SubjectPublicKeyInfo), lower-case hex: what two people compare by telephone."""
    encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(encoded).hexdigest()


def _common_name(request: x509.CertificateSigningRequest) -> str:
    names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1 or not NAME.fullmatch(str(names[0].value)):
        raise CertificateError(
            "the subject of the request needs one common name of letters, digits, '.', '_' and '-', such as CN=SL-1"
        )
    return str(names[0].value)


def _names(request: x509.CertificateSigningRequest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Host names and IP addresses."""
    if not any(each.oid == ExtensionOID.SUBJECT_ALTERNATIVE_NAME for each in request.extensions):
        return (), ()
    found = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if len(found) > MAX_NAMES:
        raise CertificateError(f"the request has {len(found)} names; at most {MAX_NAMES} are issued")
    other = [each for each in found if not isinstance(each, x509.DNSName | x509.IPAddress)]
    if other:
        raise CertificateError(
            f"the request asks for the name {str(other[0].value)[:200]!r}; only host names and IP addresses are issued"
        )
    return (
        tuple(found.get_values_for_type(x509.DNSName)),
        tuple(map(str, found.get_values_for_type(x509.IPAddress))),
    )


def _decoded(read: Callable[[], _Read]) -> _Read:
    """Raises `CertificateError` for whatever the library raises: its exceptions have no common base."""
    try:
        return read()
    except CertificateError:
        raise
    except Exception as error:
        raise CertificateError(f"malformed request: {str(error) or type(error).__name__}") from error
