"""Licenses and lists of revoked ones as documents that their issuer has signed with Ed25519. Pure.

A document is a JWS in compact form (RFC 7515). Its protected header is exactly `{"alg":"Ed25519","kid":"…"}`, so
nothing in a document chooses how it is checked; the key ID is the SHA-256 of the public key. The bytes that were signed
are what is read: nothing is encoded anew.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from swarmlearning.identity.signing import SignatureError, base64url, from_base64url
from swarmlearning.license.features import Feature, LicenseError
from swarmlearning.views.names import displayed

MOST_BYTES = 1024 * 1024
"""Of a document: a list of more than ten thousand revoked licenses."""
MOST_TOKENS = 100_000
LICENSEE_LENGTH = 200

_HEADER = re.compile(rb'\{"alg":"Ed25519","kid":"([0-9a-f]{64})"\}')

Time: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
"""Unix time in milliseconds."""
LicenseId: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$")]


class License(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="license"):
    """Lets a license server lend as many tokens of each feature, from `not_before_ms` until `expires_ms`."""

    id: LicenseId
    licensee: Annotated[str, msgspec.Meta(min_length=1, max_length=LICENSEE_LENGTH)]
    features: Annotated[
        dict[Feature, Annotated[int, msgspec.Meta(ge=1, le=MOST_TOKENS)]], msgspec.Meta(min_length=1, max_length=64)
    ]
    not_before_ms: Time
    expires_ms: Time


class Revocations(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="revocations"):
    """The licenses of an issuer that are void, whatever they state: all of them, as of `issued_ms`."""

    issued_ms: Time
    licenses: Annotated[tuple[LicenseId, ...], msgspec.Meta(max_length=20_000)]


Document: TypeAlias = License | Revocations
D = TypeVar("D", bound=License | Revocations)


class Issuers:
    """The keys whose documents are believed, by their IDs."""

    def __init__(self, keys: Iterable[Ed25519PublicKey]) -> None:
        self._keys = {key_id(key): key for key in keys}

    @property
    def ids(self) -> list[str]:
        """The IDs of the keys."""
        return sorted(self._keys)

    def read(self, data: bytes, name: str, kind: type[D]) -> "Signed[D]":
        """The document of this kind in `data`; `name` is its file's, for messages.

        Raises `LicenseError` when it is malformed, of another kind, of an issuer that is not among these, or altered.
        """
        try:
            header, payload, signature = _segments(data)
            issuer = _issuer(header)
            if (key := self._keys.get(issuer)) is None:
                known = ", ".join(each[:16] for each in self._keys) or "none"
                raise LicenseError(f"{name}: signed with key {issuer[:16]}, which is not among the issuers ({known})")
            key.verify(from_base64url(signature, "signature"), f"{header}.{payload}".encode("ascii"))
            return Signed(issuer, _document(from_base64url(payload, "payload"), name, kind))
        except SignatureError as error:
            raise LicenseError(f"{name}: no license document: {error}") from error
        except InvalidSignature:
            raise LicenseError(f"{name}: altered: its signature is not that of its issuer") from None


class Signed(NamedTuple, Generic[D]):
    """A document, and the ID of the key that has signed it."""

    issuer: str
    document: D


def key_id(key: Ed25519PublicKey) -> str:
    """SHA-256 of the public key, lower-case hex."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def sign(document: Document, key: Ed25519PrivateKey) -> bytes:
    """The document as its file holds it."""
    header = f'{{"alg":"Ed25519","kid":"{key_id(key.public_key())}"}}'
    signed = f"{base64url(header.encode())}.{base64url(msgspec.json.encode(document))}"
    return f"{signed}.{base64url(key.sign(signed.encode('ascii')))}\n".encode("ascii")


def unverified(data: bytes, name: str) -> Signed[Document]:
    """What a document claims to be, for people: nothing about it is verified. Raises `LicenseError`."""
    try:
        header, payload, _ = _segments(data)
        return Signed(_issuer(header), _document(from_base64url(payload, "payload"), name, Document))
    except SignatureError as error:
        raise LicenseError(f"{name}: no license document: {error}") from error


def read_private_key(pem: bytes, name: str) -> Ed25519PrivateKey:
    """An issuer's private key. Raises `LicenseError`."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise LicenseError(f"{name}: no unencrypted private key in PEM form: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise LicenseError(f"{name}: licenses are signed with Ed25519; make such a key by `swarm license key`")
    return key


def read_public_key(pem: bytes, name: str) -> Ed25519PublicKey:
    """An issuer's public key. Raises `LicenseError`."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise LicenseError(f"{name}: no public key in PEM form: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise LicenseError(f"{name}: the key of an issuer of licenses is an Ed25519 key")
    return key


def capacity_text(features: Mapping[Feature, int]) -> str:
    """How many tokens of each feature, for people."""
    return ", ".join(f"{feature.title} {count}" for feature, count in sorted(features.items()))


def _segments(data: bytes) -> tuple[str, str, str]:
    if len(data) > MOST_BYTES:
        raise SignatureError(f"it is larger than {MOST_BYTES} bytes")
    try:
        header, payload, signature = data.decode("ascii").strip().split(".")
    except ValueError:
        raise SignatureError("it does not have the three parts of a signed message") from None
    return header, payload, signature


def _issuer(header: str) -> str:
    match = _HEADER.fullmatch(from_base64url(header, "header"))
    if match is None:
        raise SignatureError('its header is not exactly {"alg":"Ed25519","kid":"…"}')
    return match[1].decode("ascii")


def _document(payload: bytes, name: str, kind: Any) -> Any:
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LicenseError(f"{name}: not the document that is needed here: {displayed(str(error), 300)}") from error
