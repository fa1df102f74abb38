"""Asking a node for its logs, and its answer, so that whoever carries them can neither read nor alter them. Pure.

An *ask* is signed by its asker's certificate and has a key of the asker's, made for it alone. The *answer* is encrypted
to that key and signed by the node's certificate: X25519, HKDF-SHA256 and ChaCha20-Poly1305. All that the encryption
depends on is derived from the ask's digest and both keys, so an answer fits one ask only. Neither key is ever stored,
so nobody reads an answer later, even with the private keys of both certificates.

Both are JWS by the keys that sign transactions and blocks. Their `type` keeps each from being taken for another.
"""

import hashlib
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from swarmlearning.identity.signing import SignatureError, Signer, signer_thumbprint, verify

MAX_ASK: Final = 16 * 1024
"""Characters of an ask; RSA signatures are long, all else is short."""
MAX_ANSWER: Final = 384 * 1024
"""Characters of an answer: `MAX_PIECE` bytes of a log, encoded three times in base64, with room."""
MAX_PIECE: Final = 128 * 1024
"""Bytes of a log in one answer."""
MAX_LINES: Final = 100_000

Part: TypeAlias = Literal["NODE", "SL", "ML", "TIMES", "CHECKUP", "REPORT"]
"""`NODE`: the node's own log; `SL`, `ML`: the output of a part of a pair that a SWOP has started; `TIMES`: how the node
spends its rounds; `CHECKUP`: how it is, and whom it reaches (`checkup.py`); `REPORT`: its versions, system, settings
and stacks, as one JSON object (`facts.py`)."""
Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=256)]
Key: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


T = TypeVar("T", "Ask", "_Answer")


class SealError(Exception):
    """An ask or answer that is malformed, altered, or not by whom it should be."""


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to read: a log, and where to begin. A field that has its default is not sent: older nodes know fewer fields.

    `taskrunner` and `pair` (its index in the profile) name the output of a pair; of the newest attempt at the
    taskrunner's task. `cursor` goes on where an earlier answer has ended; without one, `since_ms` (Unix time) begins at
    the first line of that time or later, else the last `lines` are read. `wait`: where there is nothing to read, the
    answer may wait until there is.

    Of `TIMES` the answer has what the node does now, and its records of the `round` of `contract`, where that is named.
    """

    part: Part = "NODE"
    taskrunner: Text = ""
    pair: Annotated[int, msgspec.Meta(ge=0, lt=2**16)] = 0
    cursor: Text = ""
    since_ms: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] | None = None
    lines: Annotated[int, msgspec.Meta(ge=0, le=MAX_LINES)] = 100
    wait: bool = False
    contract: Text = ""
    round: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] | None = None


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="logs-ask/1"):
    """Who is asked (the UID `node` in the network of this ID), when by the asker's clock, for what, and the key to
    which the answer is to be encrypted."""

    network: Text
    node: Text
    time_ms: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    key: Key
    wanted: Wanted


class Piece(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of a log, or why there is none (`refused`). `cursor`: where it ends. `more`: there is more to read at
    once. `lost`: what the ask's cursor was at has been overwritten meanwhile, so something is missing before it."""

    data: Annotated[bytes, msgspec.Meta(max_length=MAX_PIECE)] = b""
    cursor: Text = ""
    more: bool = False
    lost: bool = False
    refused: Annotated[str, msgspec.Meta(max_length=2000)] = ""


class _Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="logs-answer/1"):
    ask: Text
    key: Key
    sealed: bytes


class Asked(NamedTuple):
    """An ask that is on its way: `opened` reads the answer to it."""

    jws: str
    private: X25519PrivateKey

    def opened(self, answer: str, certificate: x509.Certificate) -> Piece:
        """The content of an answer that the key of this certificate has signed. Raises `SealError`."""
        found = _read(answer, MAX_ANSWER, certificate, _Answer)
        digest = digest_of(self.jws)
        if found.ask != digest:
            raise SealError("the answer belongs to another request")
        own = self.private.public_key().public_bytes_raw()
        try:
            cipher = _cipher(self.private, found.key, digest, own, found.key)
            return msgspec.json.decode(cipher.decrypt(_NONCE, found.sealed, digest.encode()), type=Piece)
        except (InvalidTag, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SealError("the answer cannot be decrypted: it has been altered, or is for another request") from error


def ask(signer: Signer, network: str, node: str, wanted: Wanted, *, time_ms: int) -> Asked:
    """A new ask, with a key of its own."""
    private = X25519PrivateKey.generate()
    content = Ask(network, node, time_ms, private.public_key().public_bytes_raw(), wanted)
    return Asked(signer.sign(msgspec.json.encode(content)), private)


def read_ask(jws: str, certificate: x509.Certificate) -> Ask:
    """An ask that the key of this certificate has signed. Raises `SealError`."""
    return _read(jws, MAX_ASK, certificate, Ask)


def seal(signer: Signer, jws: str, key: bytes, piece: Piece) -> str:
    """The answer to the ask `jws` whose key this is. Raises `SealError` for a key that is none."""
    digest, private = digest_of(jws), X25519PrivateKey.generate()
    own = private.public_key().public_bytes_raw()
    sealed = _cipher(private, key, digest, key, own).encrypt(_NONCE, msgspec.json.encode(piece), digest.encode())
    return signer.sign(msgspec.json.encode(_Answer(digest, own, sealed)))


def digest_of(jws: str) -> str:
    """What an ask is called on its way: 64 hexadecimal digits."""
    return hashlib.sha256(jws.encode()).hexdigest()


def signer_of(jws: str) -> str:
    """The thumbprint of the certificate that an ask or answer names. Raises `SealError`."""
    try:
        return signer_thumbprint(jws)
    except SignatureError as error:
        raise SealError(str(error)) from error


_NONCE: Final = bytes(12)
"""Each key encrypts one message only."""


def _cipher(private: X25519PrivateKey, other: bytes, digest: str, asker: bytes, node: bytes) -> ChaCha20Poly1305:
    """The cipher of one answer. Raises `SealError` for a key of a few known ones, by which nothing would be secret."""
    try:
        secret = private.exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError as error:
        raise SealError("the other side's key is none") from error
    context = b"swarm logs 1" + asker + node
    return ChaCha20Poly1305(HKDF(SHA256(), 32, salt=bytes.fromhex(digest), info=context).derive(secret))


def _read(jws: str, longest: int, certificate: x509.Certificate, kind: type[T]) -> T:
    if len(jws) > longest:
        raise SealError(f"a message of {len(jws)} characters: at most {longest} are accepted")
    try:
        return msgspec.json.decode(verify(jws, certificate), type=kind)
    except SignatureError as error:
        raise SealError(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SealError(f"not what was expected: {error}") from error
