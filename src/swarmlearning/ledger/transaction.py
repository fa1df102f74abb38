"""A transaction: what one node submits for the ledger to record, signed over its exact bytes (JWS, compact form).

`anchor` is a recent block the sender has seen: a ledger that shows different chains to different nodes is found out,
because a transaction is only valid on the chain its sender saw. `expires_at_height` bounds how long a transaction may
wait; together with the sequence number it makes sending the same bytes again, to any SN, always safe.

`on_behalf_of` is the person for whom an operator's node acts, where several use one, as in a web interface: a statement
of that node, which has signed it. There is none under rules version 1.
"""

from typing import Generic

import msgspec
from typing_extensions import TypeVar

from swarmlearning.identity.signing import SignatureError, Signer, signer_thumbprint, unverified_payload
from swarmlearning.ledger.canonical import canonical, sha256
from swarmlearning.ledger.fields import Body, Name, Person, Positive, Uid

WINDOW = 1024
"""Blocks an anchor may lie behind, and a transaction may wait. Bounds every replay window."""

MAX_TRANSACTION = 256 * 1024
"""Bytes of one signed transaction."""


B = TypeVar("B", bound=Body, default=Body, covariant=True)


class MalformedError(Exception):
    """Bytes that are not a transaction or block of this protocol."""


class Anchor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Height and hash of a block that the sender of a transaction has verified."""

    height: int
    hash: str


class Transaction(msgspec.Struct, Generic[B], frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The signed content. `network` is the genesis hash, empty only in the genesis transaction itself.

    `on_behalf_of` is empty, and has no bytes, where the sender acts for nobody in particular.
    """

    network: str
    sender: Uid
    incarnation: Positive
    sequence: Positive
    anchor: Anchor
    expires_at_height: int
    contract: Name
    body: B
    on_behalf_of: Person = ""


class SignedTransaction(msgspec.Struct, frozen=True):
    """A transaction as received: `raw` is the JWS, `id` its SHA-256, `signer` the thumbprint it names (unverified)."""

    raw: str
    id: str
    signer: str
    content: Transaction

    @property
    def kind(self) -> str:
        """Name of the body's type, such as `Submit`."""
        return type(self.content.body).__name__


def sign(content: Transaction, signer: Signer) -> SignedTransaction:
    """Signs the canonical bytes of `content`."""
    raw = signer.sign(canonical(content))
    return SignedTransaction(raw=raw, id=sha256(raw.encode()), signer=signer.thumbprint, content=content)


def parse(raw: str, decoder: msgspec.json.Decoder[Transaction], limit: int) -> SignedTransaction:
    """Reads a transaction of at most `limit` bytes; its signature is *not* checked here.

    Raises `MalformedError` naming the field at fault.
    """
    if len(raw) > limit:
        raise MalformedError(f"transaction of {len(raw)} bytes; at most {limit} are allowed")
    try:
        signer = signer_thumbprint(raw)
        content = decoder.decode(unverified_payload(raw))
    except (SignatureError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"not a transaction: {error}") from error
    return SignedTransaction(raw=raw, id=sha256(raw.encode()), signer=signer, content=content)
