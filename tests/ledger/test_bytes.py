"""The bytes of transactions, headers, blocks and states: what is hashed and signed must never change unnoticed."""

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support.network import CONTRACT, parse, read
from support.play import Play
from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.identity.signing import Signer
from swarmlearning.ledger import block
from swarmlearning.ledger.block import MAX_BLOCK, Header, transaction_root
from swarmlearning.ledger.bodies import Contribution, Exclusion, Publish, Receipt, ReportPerformance, Submit, remark
from swarmlearning.ledger.canonical import Writer, canonical, sha256
from swarmlearning.ledger.contracts.network import Authority, Certificate, Network, Node, Window
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.transaction import MAX_TRANSACTION, Anchor, MalformedError, Transaction, sign
from swarmlearning.ledger.world import World

PAIR = issue(create_authority("CA-1", 30), "SL-1", [], [], 30)
SIGNER = Signer(PAIR.certificate, PAIR.key)

TRANSACTION = Transaction(
    network="a" * 64,
    sender="sl-1",
    incarnation=3,
    sequence=7,
    anchor=Anchor(height=11, hash="b" * 64),
    expires_at_height=1035,
    contract=CONTRACT,
    body=ReportPerformance(round=2, loss=0.1, metric=None, epochs=1, total_epochs=4),
)
TRANSACTION_BYTES = (
    b'{"anchor":{"hash":"' + b"b" * 64 + b'","height":11},"body":{"epochs":1,"kind":"ReportPerformance","loss":0.1,'
    b'"metric":null,"round":2,"total_epochs":4},"contract":"defaultbb.cqdb.sml.hpe","expires_at_height":1035,'
    b'"incarnation":3,"network":"' + b"a" * 64 + b'","sender":"sl-1","sequence":7}'
)
HEADER = Header(
    network="a" * 64,
    height=12,
    previous="b" * 64,
    time_ms=1_700_000_000_000,
    sealer="sn-1",
    transaction_root="c" * 64,
    state_hash="d" * 64,
    rules_version=1,
)
HEADER_BYTES = (
    b'{"height":12,"network":"' + b"a" * 64 + b'","previous":"' + b"b" * 64 + b'","rules_version":1,"sealer":"sn-1",'
    b'"state_hash":"' + b"d" * 64 + b'","time_ms":1700000000000,"transaction_root":"' + b"c" * 64 + b'"}'
)


def changed(**fields: object) -> bytes:
    """The transaction's payload with other fields; `...` removes one."""
    plain = json.loads(TRANSACTION_BYTES) | fields
    return json.dumps({name: value for name, value in plain.items() if value is not ...}).encode()


def body(**fields: object) -> bytes:
    return changed(body=json.loads(TRANSACTION_BYTES)["body"] | fields)


# --- golden bytes ---------------------------------------------------------------------------------------------------


def test_the_bytes_of_a_transaction() -> None:
    assert canonical(TRANSACTION) == TRANSACTION_BYTES


def test_the_bytes_of_a_header() -> None:
    assert canonical(HEADER) == HEADER_BYTES


def test_the_bytes_of_nested_bodies() -> None:
    nested = Publish(round=0, term=1, result="", size=0, receipt=Receipt("mean", (), ()))
    assert canonical(nested) == (
        b'{"kind":"Publish","receipt":{"contributions":[],"exclusions":[],"method":"mean"},'
        b'"result":"","round":0,"size":0,"term":1}'
    )


def test_what_a_contribution_does_not_say_leaves_no_byte() -> None:
    # Chains from before there were influences have to replay to the same hashes.
    silent = Contribution("sl-1", "e" * 64, 2, 3)
    plain = b'{"coefficient":3,"digest":"' + b"e" * 64 + b'","uid":"sl-1","weight":2}'
    assert canonical(silent) == plain
    assert canonical(Receipt("mean", (silent,), ())) == (
        b'{"contributions":[' + plain + b'],"exclusions":[],"method":"mean"}'
    )
    stated = Contribution("sl-1", "e" * 64, 2, 3, distance=0.125, cosine=-0.5)
    assert canonical(stated) == b'{"coefficient":3,"cosine":-0.5,"digest":"' + b"e" * 64 + (
        b'","distance":0.125,"uid":"sl-1","weight":2}'
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None]}, '{"a":[true,null],"b":1}'),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e22, "1e+22"),
        (-0.0, "-0.0"),
        (2**53 - 1, "9007199254740991"),
        ('Zürich \u2028 "\n', '"Zürich \u2028 \\"\\n"'),
    ],
)
def test_canonical_json(value: object, text: str) -> None:
    assert canonical(value) == text.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_has_no_json_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"loss": value})


def plays() -> Iterator[Training]:
    """The states of a training with all that can be in it, one transaction after another."""
    play = Play("a", "b", "ç", min_peers=2)
    yield play.state
    for loss in (0.5, 1e-7, None):
        for uid in play.state.members:
            play.submit(uid)
            yield play.state
        play.publish(without={"b": "non-finite"})
        yield play.state
        for uid in play.state.members:
            play.report(uid, loss=loss)
            yield play.state
    play.close("b")
    yield play.state
    play.set_attendance("a", "lost")
    yield play.state


def test_what_has_stayed_is_not_written_again_and_the_bytes_are_the_same() -> None:
    states = list(plays())
    writer = Writer()
    for state in (*states, *reversed(states), *states[::3]):
        assert writer.canonical(state) == canonical(state)


class Sparse(msgspec.Struct, frozen=True, omit_defaults=True):
    parts: dict[str, Window]
    rest: int = 0


def test_parts_that_come_go_and_change_their_form() -> None:
    writer = Writer()
    window, said = Window(1, 2, 3, 4), Submit(0, "", "trained", "0" * 64, 1, 1)
    values: list[Any] = [
        {"b": window, "a": said},
        {"b": Window(1, 2, 3, 5), "a": said},
        {"b": said},
        {"b": window, 'é"': window},
        {"b": 1.5},
        {},
        {"b": {"c": window}},
        window,
        said,
        None,
        (window, said),
        Sparse({"b": window}),
        Sparse({"b": window}, 1),
    ]
    for value in (*values, *reversed(values)):
        assert writer.canonical(value) == canonical(value)


def leaf(name: str) -> bytes:
    return hashlib.sha256(b"\x00" + bytes.fromhex(name)).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def test_the_transaction_root_is_the_tree_of_rfc_6962() -> None:
    names = [sha256(bytes([index])) for index in range(7)]
    one, two, three, four, five, six, seven = map(leaf, names)
    assert transaction_root([]) == hashlib.sha256().hexdigest()
    assert transaction_root(names[:1]) == one.hex()
    assert transaction_root(names[:2]) == node(one, two).hex()
    assert transaction_root(names[:3]) == node(node(one, two), three).hex()
    assert transaction_root(names[:5]) == node(node(node(one, two), node(three, four)), five).hex()
    assert transaction_root(names) == node(node(node(one, two), node(three, four)), node(node(five, six), seven)).hex()


def test_a_golden_transaction_root() -> None:
    names = [sha256(bytes([index])) for index in range(5)]
    assert transaction_root(names) == "6b313b611b40676b9e1dfd70c4503f2379f88f0f1c2740fb7e1cacc32c113465"


def test_the_state_hash_of_the_network_s_entries() -> None:
    world = World().with_entries(
        {
            "network": Network("name", "sn-1", 1_700_000_000_000, 1),
            "authority/1": Authority("1" * 64, "PEM", True, "4" * 64),
            "certificate/2": Certificate("2" * 64, "PEM", "CN=SN-1", "SN", False, "4" * 64),
            "node/sn-1": Node(
                "sn-1", "SN", "SN 1", "CN=SN-1", "2" * 64, 1, True, False, "0", {"api": "host:30304"}, "4" * 64
            ),
            "window/sn-1": Window(1, 3, 7, 12),
        }
    )
    assert world.state_hash() == "0a23afba518641961509651fbd2ae3ced95f6d30daa37f173fac860c95aeec85"


def test_the_state_hash_of_a_training() -> None:
    play = Play("a", "b", "c")
    play.complete_round("a", "b")
    play.submit("a")
    play.close("b", "inactive")
    play.set_attendance("c", "lost")
    play.depose("sn", by_sn=True)
    world = World().with_entries({"training/contract": play.state})
    assert world.state_hash() == "163173a7b94a154f7082387a97902f58f7f827603d70756c5dbfa8c3fdd21b25"


def test_the_state_hash_depends_on_contents_only() -> None:
    first, second = Network("name", "sn-1", 1, 1), Window(1, 1, 1, 1)
    one = World().with_entries({"network": first}).with_entries({"window/a": second})
    other = World().with_entries({"window/a": second, "network": Network("other", "sn-1", 1, 1)})
    assert one.state_hash() != other.state_hash()
    assert other.with_entries({"network": first}).state_hash() == one.state_hash()


# --- round trips ----------------------------------------------------------------------------------------------------


def test_a_transaction_is_read_as_it_was_signed() -> None:
    signed = sign(TRANSACTION, SIGNER)
    assert parse(signed.raw) == signed
    assert (signed.kind, signed.signer, signed.id) == (
        "ReportPerformance",
        SIGNER.thumbprint,
        sha256(signed.raw.encode()),
    )


def test_a_block_is_read_as_it_was_sealed() -> None:
    transactions = [sign(TRANSACTION, SIGNER) for _ in range(3)]
    raw = block.seal(HEADER, transactions, SIGNER).raw
    found = read(raw)
    assert (found.header, found.transactions, found.signer) == (HEADER, tuple(transactions), SIGNER.thumbprint)
    assert (found.raw, found.hash) == (raw, hashlib.sha256(raw).hexdigest())


VISIBLE_NOWHERE = "\u2028\u2029\u2065"


@given(
    loss=st.none() | st.floats(-1e300, 1e300),
    metric=st.none() | st.floats(-1e300, 1e300),
    epochs=st.integers(0, 2**53 - 1),
    uid=st.from_regex(r"[0-9a-z][0-9a-z-]{0,35}", fullmatch=True),
    name=st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cf"], exclude_characters=VISIBLE_NOWHERE),
        min_size=1,
        max_size=160,
    ),
)
def test_any_report_survives_the_trip(
    loss: float | None, metric: float | None, epochs: int, uid: str, name: str
) -> None:
    report = ReportPerformance(2, loss, metric, epochs, epochs)
    content = Transaction("a" * 64, uid, 1, 1, Anchor(0, "b" * 64), 1, name, report)
    assert parse(sign(content, SIGNER).raw).content == content


# --- malformed bytes ------------------------------------------------------------------------------------------------

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
    "not UTF-8": (TRANSACTION_BYTES.replace(b"sl-1", b"sl-\xff"), "utf-8"),
    "half a surrogate pair": (TRANSACTION_BYTES.replace(b"sl-1", b"\\ud800"), "surrogate"),
    "nested without end": (changed(body=...)[:-1] + b', "body": {"x": ' + b"[" * 50_000, "recursion"),
}


@pytest.mark.parametrize(("payload", "message"), WRONG_PAYLOADS.values(), ids=WRONG_PAYLOADS)
def test_a_malformed_transaction_is_refused_with_the_place(payload: bytes, message: str) -> None:
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
def test_what_is_no_digest_is_refused(digest: str) -> None:
    submit = Submit(0, "", "trained", digest, 1, 1)
    with pytest.raises(MalformedError, match=r"at `\$.body.digest`"):
        parse(sign(Transaction("", "a", 1, 1, Anchor(0, ""), 1, "c", submit), SIGNER).raw)


@pytest.mark.parametrize("digest", ["\n", "a" * 64 + "\n", "a"])
def test_what_is_no_base_is_refused(digest: str) -> None:
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
def test_what_is_no_signed_message_is_no_transaction(change: Callable[[str], str], message: str) -> None:
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
    "not UTF-8": (sealed().replace(b'"header":"', b'"header":"\xff'), "utf-8"),
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
