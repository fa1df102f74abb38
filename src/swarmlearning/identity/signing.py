"""Signatures over exact bytes: JWS in compact form (RFC 7515), by the key of an X.509 certificate.

The protected header is exactly `{"alg":…,"x5t#S256":…}`: the algorithm, which the key dictates, and the
SHA-256 of the certificate. A certificate thus has one right header, and verifying compares bytes: no
JSON is parsed, and nothing in a message chooses how it is checked.

Only its signer can change the bytes of a message: base64url must be canonical, and of the two ECDSA
signatures (r, s) and (r, n - s), which are always valid together, only the one with the smaller s is
accepted (the rule of Hyperledger Fabric). Otherwise anybody on the way could give a transaction a second
hash.

Built on the cryptography library directly: joserfc leaves ECDSA signatures in either form, accepts only
keys exported to PEM or JWK and parses the header again. The tests check that both understand each other.
"""

import binascii
import hashlib
import re
from collections import OrderedDict
from functools import lru_cache
from typing import NamedTuple, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from swarmlearning.identity.certificates import thumbprint

MAX_LENGTH = 2 * 1024 * 1024
"""Characters of a JWS: a block of 1 MB in base64url, with room."""

MAX_REMEMBERED = 4096
"""Signatures that need no second look: under 1 MB of memory."""

_HEADER = re.compile(rb'\{"alg":"(ES256|ES384|Ed25519|PS256)","x5t#S256":"([A-Za-z0-9_-]{43})"\}')
_CURVES: dict[str, tuple[str, hashes.HashAlgorithm]] = {
    "secp256r1": ("ES256", hashes.SHA256()),
    "secp384r1": ("ES384", hashes.SHA384()),
}
_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=32)
_RSA_BITS = range(2048, 8192 + 1)


class SignatureError(Exception):
    """A signature that is malformed or does not fit its bytes and certificate, or a key that cannot sign."""


class Signers(Protocol):
    """The signers of a node, by certificate."""

    def by(self, thumbprint: str) -> "Signer":
        """The one of the certificate with this thumbprint; where there is none, the newest one."""


class Signer:
    """Signs with the private key of one certificate; alone it is the `Signers` of a node that never has another one.

    Raises `SignatureError` if key and certificate do not fit together.
    """

    def __init__(self, certificate: x509.Certificate, private_key: PrivateKeyTypes) -> None:
        if private_key.public_key() != certificate.public_key():
            raise SignatureError(f"the private key is not the key of certificate {_name(certificate)}")
        self.certificate = certificate
        self.thumbprint = thumbprint(certificate)
        self._header = _verifier(certificate).header
        self._key = private_key

    def by(self, thumbprint: str) -> "Signer":
        """See `Signers`."""
        return self

    def sign(self, payload: bytes) -> str:
        """The JWS of `payload`. Raises `SignatureError` when it would exceed `MAX_LENGTH`."""
        signing_input = f"{self._header}.{base64url(payload)}"
        jws = f"{signing_input}.{base64url(_signature(self._key, signing_input.encode('ascii')))}"
        if len(jws) > MAX_LENGTH:
            raise SignatureError(f"cannot sign {len(payload)} bytes: over {MAX_LENGTH} characters when signed")
        _remember(_digest(jws))
        return jws


def can_sign(key: PublicKeyTypes) -> bool:
    """True if a certificate with this key may sign here."""
    return _algorithm(key) is not None


def signer_thumbprint(jws: str) -> str:
    """Returns the thumbprint (lower-case hex) of the certificate that `jws` names as its signer's; nothing is verified.

    Raises `SignatureError` when the header is not exactly of the form that `Signer` writes.
    """
    return _thumbprint_in(_segments(jws)[0])


@lru_cache(maxsize=1024)
def _thumbprint_in(header: str) -> str:
    """Returns what a header segment names; one certificate has one, so there are few. Raises `SignatureError`."""
    match = _HEADER.fullmatch(from_base64url(header, "header"))
    if match is None:
        raise SignatureError('the header is not exactly {"alg":"ES256|ES384|Ed25519|PS256","x5t#S256":"…"}')
    return from_base64url(match[2].decode("ascii"), "thumbprint").hex()


def unverified_payload(jws: str) -> bytes:
    """The payload of `jws`, unverified. Raises `SignatureError` when it is malformed."""
    return from_base64url(_segments(jws)[1], "payload")


def verify(jws: str, certificate: x509.Certificate) -> bytes:
    """The payload of `jws`, if the key of `certificate` has signed it and it names that certificate.

    Raises `SignatureError` with what does not fit. Whether to trust the certificate is another question.
    """
    header, payload, signature = _segments(jws)
    verifier = _verifier(certificate)
    if header != verifier.header:
        raise _other_header(jws, certificate)
    data = from_base64url(payload, "payload")
    if not _fits(verifier.key, from_base64url(signature, "signature"), f"{header}.{payload}".encode("ascii")):
        raise SignatureError(f"the signature does not fit: altered, or not signed by {_name(certificate)}")
    return data


def verify_once(jws: str, certificate: x509.Certificate) -> None:
    """As `verify`, but without the arithmetic for what this process has verified or signed not long ago.

    A node meets most messages twice: a transaction when it is sent and in its block, a block when it is sealed.
    """
    digest = _digest(jws)
    if digest in _right and jws.startswith(f"{_verifier(certificate).header}."):
        return
    verify(jws, certificate)
    _remember(digest)


_right: OrderedDict[bytes, None] = OrderedDict()
"""Digests of messages that have been signed with the certificate they name; the newest `MAX_REMEMBERED`."""


def _remember(digest: bytes) -> None:
    _right[digest] = None
    if len(_right) > MAX_REMEMBERED:
        _right.popitem(last=False)


def _digest(jws: str) -> bytes:
    return hashlib.sha256(jws.encode()).digest()


class _Verifier(NamedTuple):
    """The header segment that a JWS signed with a certificate has, and the key that checks its signature."""

    header: str
    key: PublicKeyTypes


@lru_cache(maxsize=1024)
def _verifier(certificate: x509.Certificate) -> _Verifier:
    key = certificate.public_key()
    algorithm = _algorithm(key)
    if algorithm is None:
        raise SignatureError(
            f"certificate {_name(certificate)} has a key that cannot sign here: "
            "use EC P-256 (recommended), EC P-384, Ed25519, or RSA of 2048 to 8192 bits"
        )
    digest = base64url(certificate.fingerprint(hashes.SHA256()))
    return _Verifier(base64url(f'{{"alg":"{algorithm}","x5t#S256":"{digest}"}}'.encode("ascii")), key)


def _algorithm(key: PublicKeyTypes) -> str | None:
    match key:
        case ec.EllipticCurvePublicKey() if key.curve.name in _CURVES:
            return _CURVES[key.curve.name][0]
        case ed25519.Ed25519PublicKey():
            return "Ed25519"  # RFC 9864; the older name, EdDSA, leaves the curve open
        case rsa.RSAPublicKey() if key.key_size in _RSA_BITS:
            return "PS256"
    return None


def _signature(key: PrivateKeyTypes, data: bytes) -> bytes:
    match key:
        case ec.EllipticCurvePrivateKey():
            r, s = decode_dss_signature(key.sign(data, ec.ECDSA(_CURVES[key.curve.name][1])))
            size = key.key_size // 8
            return r.to_bytes(size) + min(s, key.curve.group_order - s).to_bytes(size)
        case ed25519.Ed25519PrivateKey():
            return key.sign(data)
        case rsa.RSAPrivateKey():
            return key.sign(data, _PSS, hashes.SHA256())
    raise TypeError(f"cannot sign with a {type(key).__name__}")


def _fits(key: PublicKeyTypes, signature: bytes, data: bytes) -> bool:
    try:
        match key:
            case ec.EllipticCurvePublicKey():
                size = key.key_size // 8
                r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
                if len(signature) != 2 * size or s > key.curve.group_order // 2:
                    return False
                key.verify(encode_dss_signature(r, s), data, ec.ECDSA(_CURVES[key.curve.name][1]))
            case ed25519.Ed25519PublicKey():
                key.verify(signature, data)
            case rsa.RSAPublicKey():
                key.verify(signature, data, _PSS, hashes.SHA256())
            case _:
                return False
    except InvalidSignature:
        return False
    return True


def _segments(jws: str) -> tuple[str, str, str]:
    if len(jws) > MAX_LENGTH:
        raise SignatureError(f"a signed message of {len(jws)} characters: at most {MAX_LENGTH} are accepted")
    segments = jws.split(".", 3)
    if len(segments) != 3:
        raise SignatureError("not a signed message: it has no three parts (header, payload, signature)")
    return segments[0], segments[1], segments[2]


_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/***")
"""`*` is in no base64."""


def base64url(data: bytes) -> str:
    """The one canonical form: no padding, no stray last bits."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL, b"=").decode("ascii")


def from_base64url(segment: str, part: str) -> bytes:
    """Decodes base64url of the one canonical form. Raises `SignatureError`, which names the `part` of the message."""
    try:
        standard = segment.encode("ascii").translate(_FROM_URL) + b"=" * (-len(segment) % 4)
        data = binascii.a2b_base64(standard)
    except ValueError as error:
        raise SignatureError(f"the {part} of a signed message is not base64url: {error}") from error
    if binascii.b2a_base64(data, newline=False) != standard:
        raise SignatureError(f"the {part} of a signed message is not in canonical base64url")
    return data


def _other_header(jws: str, certificate: x509.Certificate) -> SignatureError:
    claimed = signer_thumbprint(jws)
    if claimed != thumbprint(certificate):
        return SignatureError(f"signed with certificate {claimed[:16]}…, not with {_name(certificate)}")
    return SignatureError(f"the header names an algorithm that is not for the key of {_name(certificate)}")


def _name(certificate: x509.Certificate) -> str:
    return f"{certificate.subject.rfc4514_string()!r} ({thumbprint(certificate)[:16]}…)"
