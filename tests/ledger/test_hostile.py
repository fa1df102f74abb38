"""Bytes made by strangers, in transactions and blocks: each is refused as a whole, and no node ends by it."""

import base64
from functools import cache

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from support.network import FOUNDER, Actor, Ledger, parse, read
from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.identity.signing import Signer
from swarmlearning.ledger import block
from swarmlearning.ledger.block import Block, transaction_root
from swarmlearning.ledger.bodies import AddAuthority, Anchor, Announce, Body, Register
from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.chain import UnsealedError
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import SignedTransaction

NODE = issue(create_authority("CA-9", 30), "SL-9", [], [], 30)
DER = NODE.certificate.public_bytes(Encoding.DER)
SIGNER = Signer(NODE.certificate, NODE.key)


@cache
def ledger() -> Ledger:
    """A network with one more SN, an operator and an SL; the tests leave it as it is."""
    made = Ledger()
    made.join("sn-2", "SN")
    made.join("op", "SWCI")
    made.join("sl-1")
    return made


def pem_of(der: bytes) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n"


def replaced(old: bytes, new: bytes) -> bytes:
    assert old in DER
    return DER.replace(old, new)


ODD = {
    "version 2": replaced(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x01"),
    "a name that is a bit string": replaced(b"\x0c\x04SL-9", b"\x03\x04\x00L-9"),
    "a name that is not UTF-8": replaced(b"\x0c\x04SL-9", b"\x0c\x04S\xff-9"),
    "half of it": DER[:300],
    "nothing": b"",
}


def signed_by(signer: Signer, body: Body, uid: str = "sl-9") -> SignedTransaction:
    ledger().actors["sl-9"] = Actor("sl-9", "SL", NODE)
    content = ledger().chain.compose(uid, 1, 1, network.CONTRACT, body)
    return parse(signer.sign(canonical(content)))


def sealed(*transactions: SignedTransaction) -> Block:
    """A block of `sn-2` that claims to hold these, as a hostile SN would seal it."""
    sound = read(ledger().seal(sealer="sn-2")).header
    header = msgspec.structs.replace(sound, transaction_root=transaction_root([one.id for one in transactions]))
    return block.seal(header, transactions, ledger().actors["sn-2"].signer)


def judged(signed: SignedTransaction) -> Code:
    """The code of its refusal; a block with the transaction is void, and its sealer is to blame."""
    chain = ledger().chain
    with pytest.raises(Rejection) as refusal:
        chain.try_transaction(chain.world, signed, chain.next_time(ledger().clock))
    step = chain.append(sealed(signed).raw)
    assert step.void is not None
    assert [sn.uid for sn in network.admitted(step.chain.world)] == ["sn-1"]
    return refusal.value.code


@pytest.mark.parametrize("kind", ODD)
def test_a_registration_with_an_odd_certificate_is_refused_and_a_block_with_it_is_void(kind: str) -> None:
    assert judged(signed_by(SIGNER, Register("SL", "SL-9", pem_of(ODD[kind]), "0"))) is Code.BAD_CERTIFICATE


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_authority_is_refused_and_a_block_with_it_is_void(kind: str) -> None:
    signed = ledger().write("op", network.CONTRACT, AddAuthority(FOUNDER, Anchor(pem_of(ODD[kind]))))
    assert judged(signed) is Code.BAD_CERTIFICATE


def test_a_signature_is_checked_before_anything_that_its_check_does_not_need() -> None:
    bundle = pem_of(DER) + pem_of(ODD["version 2"]) * 40
    true = signed_by(SIGNER, Register("SL", "SL-9", bundle, "0"))
    header, payload, _ = true.raw.split(".")
    forged = signed_by(SIGNER, Announce({})).raw.split(".")[2]
    assert judged(parse(f"{header}.{payload}.{forged}")) is Code.BAD_SIGNATURE
    assert judged(true) is Code.BAD_CERTIFICATE


@settings(max_examples=300, deadline=None)
@given(edits=st.lists(st.tuples(st.integers(0, 800), st.integers(0, 255)), min_size=1, max_size=4))
def test_no_altered_certificate_in_a_registration_ends_a_node(edits: list[tuple[int, int]]) -> None:
    altered = bytearray(DER)
    for place, value in edits:
        altered[place % len(altered)] = value
    code = judged(signed_by(SIGNER, Register("SL", "SL-9", pem_of(bytes(altered)), "0")))
    assert code in (Code.BAD_CERTIFICATE, Code.UNTRUSTED)


@settings(max_examples=300, deadline=None)
@given(junk=st.binary(max_size=400))
def test_junk_is_no_block_and_uses_up_no_height(junk: bytes) -> None:
    with pytest.raises(UnsealedError):
        ledger().chain.append(junk)


def test_a_block_that_another_signed_for_its_sealer_incriminates_nobody() -> None:
    header = read(ledger().seal(sealer="sn-2")).header
    with pytest.raises(UnsealedError):
        ledger().chain.append(block.seal(header, [], ledger().actors["sl-1"].signer).raw)


@pytest.mark.parametrize(
    "nested", [b"[" * 100_000, b'{"header":' * 100_000, b'{"header":"","transactions":' + b"[" * 9999]
)
def test_an_extremely_nested_block_is_no_block(nested: bytes) -> None:
    with pytest.raises(UnsealedError):
        ledger().chain.append(nested)
