"""Bytes that are no transaction or block are refused, with the place of the fault."""

import json
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support.golden import HEADER_BYTES, SIGNER, TRANSACTION, TRANSACTION_BYTES
from support.network import parse, read
from swarmlearning.ledger.block import MAX_BLOCK
from swarmlearning.ledger.bodies import Exclusion, Publish, Receipt, Submit, remark
from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.transaction import MAX_TRANSACTION, Anchor, MalformedError, Transaction, sign


def changed(**fields: object) -> bytes:
    """The transaction's payload with other fields; `...` removes one."""
    plain = json.loads(TRANSACTION_BYTES) | fields
    return json.dumps({name: value for name, value in plain.items() if value is not ...}).encode()


def body(**fields: object) -> bytes:
    return changed(body=json.loads(TRANSACTION_BYTES)["body"] | fields)


WRONG_PAYLOADS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "truncated"),
    "no JSON": (b"hello", "malformed"),
    "no object": (b"[1]", "Expected `object`"),
    "a field is unknown": (changed(extra=1), "unknown field `extra`"),
    "a field of the body is unknown": (body(extra=1), "unknown field `extra` - at `$.body`"),
    "a field is missing": (changed(sequence=...), "missing required field `sequence`"),
    "text for a number": (changed(sequence="7"), "Expected `int`, got `str` - at `$.sequence`"),
    "a fraction for an integer": (changed(sequence=7.5), "Expected `int`, got `float`"),
    "a whole float for an integer": (changed(sequence=7.0), "Expected `int`, got `float`"),
    "true for an integer": (changed(sequence=True), "Expected `int`, got `bool`"),
    "sequence number 0": (changed(sequence=0), "Expected `int` >= 1 - at `$.sequence`"),
    "incarnation 0": (changed(incarnation=0), "Expected `int` >= 1 - at `$.incarnation`"),
    "an incarnation beyond bounds": (changed(incarnation=2**31), "at `$.incarnation`"),
    "an integer of a thousand digits": (changed(sequence=10**1000), "at `$.sequence`"),
    "an empty sender": (changed(sender=""), "at `$.sender`"),
    "a sender of two lines": (changed(sender="sl-1\nnode/x"), "at `$.sender`"),
    "a sender that ends a line": (changed(sender="sl-1\n"), "at `$.sender`"),
    "a sender that is too long": (changed(sender="x" * 37), "length <= 36 - at `$.sender`"),
    "a sender that is prose": (changed(sender="a e"), "at `$.sender`"),
    "a sender in another alphabet": (changed(sender="\u0430"), "at `$.sender`"),
    "a contract that is written backwards": (changed(contract="a\u202eb"), "at `$.contract`"),
    "a contract with an invisible character": (changed(contract="a\u200bb"), "at `$.contract`"),
    "a contract of two lines": (changed(contract="a\u2028b"), "at `$.contract`"),
    "an empty contract": (changed(contract=""), "at `$.contract`"),
    "a contract with escape codes": (changed(contract="\x1b[2J"), "at `$.contract`"),
    "no kind": (changed(body={}), "missing required field `kind`"),
    "an unknown kind": (body(kind="Gossip"), "Invalid value 'Gossip' - at `$.body.kind`"),
    "NaN": (TRANSACTION_BYTES.replace(b"0.1", b"NaN"), "malformed"),
    "infinity": (TRANSACTION_BYTES.replace(b"0.1", b"1e999"), "out of range - at `$.body.loss`"),
    "a loss beyond bounds": (body(loss=1e301), "at `$.body.loss`"),
    "a negative round": (body(round=-1), "Expected `int` >= 0 - at `$.body.round`"),
    "a round beyond bounds": (body(round=2**53), "at `$.body.round`"),
    "bytes after the end": (TRANSACTION_BYTES + b" {}", "trailing characters"),
    "not UTF-8": (TRANSACTION_BYTES.replace(b"sl-1", b"sl-\xff"), "UTF-8"),
    "half a surrogate pair": (TRANSACTION_BYTES.replace(b"sl-1", b"\\ud800"), "surrogate"),
    "nested without end": (changed(body=...)[:-1] + b', "body": {"x": ' + b"[" * 50_000, "recursion"),
}


@pytest.mark.parametrize(("payload", "message"), WRONG_PAYLOADS.values(), ids=WRONG_PAYLOADS)
def test_the_refusal_of_a_malformed_transaction_names_the_place(payload: bytes, message: str) -> None:
    with pytest.raises(MalformedError, match="not a transaction: ") as error:
        parse(SIGNER.sign(payload))
    assert message in str(error.value)


@pytest.mark.parametrize("detail", ["two\nlines", "\x1b[31m", "\u202eback", "x" * 301])
def test_the_detail_of_an_exclusion_is_one_visible_line(detail: str) -> None:
    receipt = Receipt("mean", (), (Exclusion("a", "unreachable", detail),))
    with pytest.raises(MalformedError, match=r"at `\$.body.receipt.exclusions\[0\].detail`"):
        parse(sign(Transaction("", "a", 1, 1, Anchor(0, ""), 1, "c", Publish(0, 0, "", 0, receipt)), SIGNER).raw)


@given(st.text(max_size=400))
@example("\ud800 half a surrogate pair, as in a file name that is not UTF-8")
def test_a_remark_can_be_made_of_any_text(text: str) -> None:
    receipt = Receipt("mean", (), (Exclusion("a", "unreachable", remark(text)),))
    content = Transaction("", "a", 1, 1, Anchor(0, ""), 1, "c", Publish(0, 0, "", 0, receipt))
    assert parse(sign(content, SIGNER).raw).content == content


@pytest.mark.parametrize("digest", ["", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n", "../" + "a" * 61])
def test_a_text_that_is_no_digest_is_refused(digest: str) -> None:
    submit = Submit(0, "", "trained", digest, 1, 1)
    with pytest.raises(MalformedError, match=r"at `\$.body.digest`"):
        parse(sign(Transaction("", "a", 1, 1, Anchor(0, ""), 1, "c", submit), SIGNER).raw)


@pytest.mark.parametrize("digest", ["\n", "a" * 64 + "\n", "a"])
def test_a_text_that_is_no_base_digest_is_refused(digest: str) -> None:
    submit = Submit(0, digest, "trained", "a" * 64, 1, 1)
    with pytest.raises(MalformedError, match=r"at `\$.body.base`"):
        parse(sign(Transaction("", "a", 1, 1, Anchor(0, ""), 1, "c", submit), SIGNER).raw)


WRONG_JWS: dict[str, tuple[Callable[[str], str], str]] = {
    "nothing": (lambda raw: "", "no three parts"),
    "two parts": (lambda raw: raw.rpartition(".")[0], "no three parts"),
    "four parts": (lambda raw: raw + ".x", "no three parts"),
    "padded": (lambda raw: raw.replace(".", "=.", 1), "canonical|not base64url"),
    "not ASCII": (lambda raw: raw.replace(".", ".é", 1), "not base64url"),
    "another header": (lambda raw: "e30" + raw[raw.index(".") :], "the header is not exactly"),
    "bytes before": (lambda raw: " " + raw, "canonical|not base64url"),
    "bytes after": (lambda raw: raw.replace(".", " .", 1), "canonical|not base64url"),
}


@pytest.mark.parametrize(("change", "message"), WRONG_JWS.values(), ids=WRONG_JWS)
def test_a_text_that_is_no_signed_message_is_refused(change: Callable[[str], str], message: str) -> None:
    with pytest.raises(MalformedError, match=f"not a transaction: .*({message})"):
        parse(change(sign(TRANSACTION, SIGNER).raw))


def test_a_transaction_that_is_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(MalformedError, match=f"{MAX_TRANSACTION + 1} bytes; at most {MAX_TRANSACTION}"):
        parse("x" * (MAX_TRANSACTION + 1))


def sealed(header: bytes = HEADER_BYTES, transactions: tuple[str, ...] = ()) -> bytes:
    return canonical({"header": SIGNER.sign(header), "transactions": transactions})


WRONG_BLOCKS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "truncated"),
    "no JSON": (b"hello", "malformed"),
    "a field is unknown": (b'{"extra":1,' + sealed()[1:], "unknown field `extra`"),
    "a field is missing": (b'{"header":""}', "missing required field `transactions`"),
    "spaces": (sealed().replace(b":", b": ", 1), "not in canonical form"),
    "another order": (
        b'{"transactions":[],' + sealed()[1:].replace(b',"transactions":[]', b""),
        "not in canonical form",
    ),
    "a field twice": (b'{"header":"",' + sealed()[1:], "not in canonical form"),
    "an escaped letter": (sealed().replace(b'"header":"e', b'"header":"\\u0065'), "not in canonical form"),
    "bytes after the end": (sealed() + b"\n", "not in canonical form"),
    "bytes before the start": (b"\n" + sealed(), "not in canonical form"),
    "not UTF-8": (sealed().replace(b'"header":"', b'"header":"\xff'), "UTF-8"),
    "no signed header": (canonical({"header": "", "transactions": ()}), "no three parts"),
    "a header with an unknown field": (sealed(HEADER_BYTES[:-1] + b',"x":1}'), "unknown field `x`"),
    "a header with a text for a number": (sealed(HEADER_BYTES.replace(b"12,", b'"12",')), "Expected `int`, got `str`"),
    "a malformed transaction": (sealed(transactions=("x",)), "not a transaction"),
}


@pytest.mark.parametrize(("raw", "message"), WRONG_BLOCKS.values(), ids=WRONG_BLOCKS)
def test_a_malformed_block_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(MalformedError, match=r"not a (block|transaction): ") as error:
        read(raw)
    assert message in str(error.value)


def test_a_block_that_is_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(MalformedError, match=f"{MAX_BLOCK + 1} bytes; at most {MAX_BLOCK}"):
        read(b"x" * (MAX_BLOCK + 1))
