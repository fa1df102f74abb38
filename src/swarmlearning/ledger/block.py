"""A block: the transactions of one height, sealed by one SN.

On disk and on the wire a block is canonical JSON `{"header": "<JWS>", "transactions": ["<JWS>", …]}`. Its hash is the
SHA-256 of exactly these bytes, so a changed byte anywhere breaks the link from the next block.
"""

from collections.abc import Callable, Sequence

import msgspec

from swarmlearning.identity.signing import SignatureError, Signer, signer_thumbprint, unverified_payload
from swarmlearning.ledger.canonical import canonical, sha256
from swarmlearning.ledger.fields import Body
from swarmlearning.ledger.transaction import Anchor, MalformedError, SignedTransaction, Transaction

MAX_BLOCK = 1024 * 1024
"""Bytes of one block; an ordering engine must carry this much in one entry."""


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The part of a block that the sealing SN signs. `network` and `previous` are empty in block 0."""

    network: str
    height: int
    previous: str
    time_ms: int
    sealer: str
    transaction_root: str
    state_hash: str
    rules_version: int


class Block(msgspec.Struct, frozen=True):
    """A parsed block; nothing in it is verified yet but its form. `hash` is that of the raw bytes."""

    raw: bytes
    hash: str
    header: Header
    signed_header: str
    signer: str
    transactions: tuple[SignedTransaction, ...]


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    header: str
    transactions: tuple[str, ...]


_UNREAD = Transaction("", "", 0, 0, Anchor(0, ""), 0, "", Body())
_document = msgspec.json.Decoder(_Document)
_header = msgspec.json.Decoder(Header)


def seal(header: Header, transactions: Sequence[SignedTransaction], signer: Signer) -> Block:
    """A block with this header, signed; `read` finds the same in its bytes."""
    signed_header = signer.sign(canonical(header))
    raw = canonical(_Document(header=signed_header, transactions=tuple(tx.raw for tx in transactions)))
    return Block(raw, sha256(raw), header, signed_header, signer.thumbprint, tuple(transactions))


def read(raw: bytes, parse: Callable[[str], SignedTransaction], limit: int) -> Block:
    """Reads a block of at most `limit` bytes, its transactions by `parse`, unverified. Raises `MalformedError`."""
    document, header = _open(raw, limit)
    try:
        signer = signer_thumbprint(document.header)
        canonical_form = canonical(document)
    except (SignatureError, ValueError) as error:
        raise MalformedError(f"not a block: {error}") from error
    if canonical_form != raw:
        raise MalformedError("not a block: its bytes are not in canonical form")
    return Block(
        raw=raw,
        hash=sha256(raw),
        header=header,
        signed_header=document.header,
        signer=signer,
        transactions=tuple(parse(tx) for tx in document.transactions),
    )


def outline(raw: bytes) -> Block:
    """Reads a block whose transactions cannot be read: with none of them, though its header covers them all.

    Raises `MalformedError` where it does not, or where not even that much can be read.
    """
    sealed = read(raw, lambda text: SignedTransaction(text, sha256(text.encode()), "", _UNREAD), MAX_BLOCK)
    if sealed.header.transaction_root != transaction_root([tx.id for tx in sealed.transactions]):
        raise MalformedError("not a block: its transactions are not those that were sealed")
    return msgspec.structs.replace(sealed, transactions=())


def transaction_ids(raw: bytes) -> list[str]:
    """Returns the ids of the transactions in a block that holds; nothing of it is checked."""
    return [sha256(signed.encode()) for signed in _document.decode(raw).transactions]


def read_header(raw: bytes) -> Header:
    """The header of a block, unverified, whatever the rules of its transactions. Raises `MalformedError`."""
    return _open(raw, MAX_BLOCK)[1]


def signed_header(raw: bytes) -> tuple[Header, str]:
    """The header of a block and its signed form, both unverified. Raises `MalformedError`."""
    document, header = _open(raw, MAX_BLOCK)
    return header, document.header


def header_in(signed: str) -> Header:
    """The header in its signed form, unverified. Raises `MalformedError`."""
    try:
        return _header.decode(unverified_payload(signed))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, SignatureError) as error:
        raise MalformedError(f"not a block: {error}") from error


def _open(raw: bytes, limit: int) -> tuple[_Document, Header]:
    if len(raw) > limit:
        raise MalformedError(f"block of {len(raw)} bytes; at most {limit} are allowed")
    try:
        document = _document.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"not a block: {error}") from error
    return document, header_in(document.header)


def follows(raw: bytes, height: int, previous: str) -> bool:
    """True if a block may be that of this height. Bytes that cannot be read may be: the chain judges them."""
    try:
        header = read_header(raw)
    except MalformedError:
        return True
    return (header.height, header.previous) == (height, previous)


def transaction_root(ids: Sequence[str]) -> str:
    """Merkle root over transaction ids (RFC 6962: leaves and nodes are hashed with different prefixes)."""
    if not ids:
        return sha256(b"")
    level = [sha256(b"\x00" + bytes.fromhex(one)) for one in ids]
    return _root(level)


def _root(level: list[str]) -> str:
    if len(level) == 1:
        return level[0]
    split = 1 << (len(level) - 1).bit_length() - 1
    left, right = _root(level[:split]), _root(level[split:])
    return sha256(b"\x01" + bytes.fromhex(left) + bytes.fromhex(right))
