"""Transactions and blocks: what every node reads from the SNs, and an SN from everybody."""

from random import Random

import msgspec

from fuzz.target import Target, jws
from support.anything import KINDS, Anything
from support.golden import HEADER, SIGNER, TRANSACTION
from support.network import CONTRACT, Ledger
from support.uids import accept_names
from swarmlearning.ledger import checkpoint
from swarmlearning.ledger.block import header_in, outline, read_header, seal, transaction_root
from swarmlearning.ledger.canonical import canonical, sha256
from swarmlearning.ledger.chain import RULES_VERSION, Chain
from swarmlearning.ledger.rules import RULES
from swarmlearning.ledger.transaction import MalformedError, SignedTransaction, Transaction, sign

_NESTED = (b"[" * 10_000, b'{"body":' * 10_000, b'"\\ud800"', b"1e999", b"-0", b"9" * 400)
accept_names()  # without pytest, too
_LEDGER = Ledger()


def _contents() -> list[Transaction]:
    """A transaction with a body of each kind; the same ones in every run but for certificates."""
    made = Anything(Random(1), lambda: _LEDGER.chain.world, [_LEDGER.actors["sn-1"].pem], wildness=0.5)
    anchor, fields = TRANSACTION.anchor, (TRANSACTION.network, TRANSACTION.sender, 1, 1)
    return [Transaction(*fields, anchor, 1035, CONTRACT, made.body(kind, CONTRACT)) for kind in KINDS]


_CONTENTS = _contents()
_SIGNED = sign(TRANSACTION, SIGNER)
_JWS_HEADER = _SIGNED.raw.partition(".")[0]
_BLOCK = seal(msgspec.structs.replace(HEADER, transaction_root=transaction_root([_SIGNED.id])), [_SIGNED], SIGNER)


def _read_transaction(data: bytes) -> SignedTransaction:
    return RULES[RULES_VERSION].parse(data.decode("ascii", errors="replace"))  # as an SN's API does


def _read_content(data: bytes) -> SignedTransaction:
    return RULES[RULES_VERSION].parse(jws(_JWS_HEADER, data))


def _read_block(data: bytes) -> None:
    for read in (read_header, outline, RULES[RULES_VERSION].read):
        read(data)


def _read_header(data: bytes) -> None:
    header_in(jws(_JWS_HEADER, data))


def _read_checkpoint(data: bytes) -> Chain:
    return checkpoint.decode(sha256(data).encode() + b"\n" + data)


TARGETS = (
    Target(
        "transaction", _read_transaction, (MalformedError,), (_SIGNED.raw.encode(), b"..", b"e30.e30.", b"." * 100_000)
    ),
    Target(
        "content-of-transaction",
        _read_content,
        (MalformedError,),
        (*(canonical(each)[:20_000] for each in _CONTENTS), *_NESTED),
    ),
    Target("block", _read_block, (MalformedError,), (_BLOCK.raw, *(_LEDGER.blocks), *_NESTED)),
    Target("header-of-block", _read_header, (MalformedError,), (canonical(HEADER), *_NESTED)),
    Target(
        "checkpoint",
        _read_checkpoint,
        (checkpoint.CheckpointError,),
        (checkpoint.encode(_LEDGER.chain).partition(b"\n")[2], *_NESTED),
    ),
)
