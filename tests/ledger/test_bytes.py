"""The bytes of transactions, headers, blocks and states: what is hashed and signed must never change unnoticed."""

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.golden import HEADER, HEADER_BYTES, SIGNER, TRANSACTION, TRANSACTION_BYTES
from support.network import parse, read
from support.play import Play
from swarmlearning.ledger import block
from swarmlearning.ledger.block import transaction_root
from swarmlearning.ledger.bodies import Contribution, Publish, Receipt, ReportPerformance, Submit
from swarmlearning.ledger.canonical import Writer, canonical, sha256
from swarmlearning.ledger.contracts.network import Authority, Certificate, Network, Node, Organisation, Window
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.transaction import Anchor, Transaction, sign
from swarmlearning.ledger.world import World

# --- golden bytes ---------------------------------------------------------------------------------------------------


def test_the_bytes_of_a_transaction_stay_as_documented() -> None:
    assert canonical(TRANSACTION) == TRANSACTION_BYTES


def test_the_bytes_of_a_block_header_stay_as_documented() -> None:
    assert canonical(HEADER) == HEADER_BYTES


def test_the_bytes_of_nested_structures_stay_as_documented() -> None:
    nested = Publish(round=0, term=1, result="", size=0, receipt=Receipt("mean", (), ()))
    assert canonical(nested) == (
        b'{"kind":"Publish","receipt":{"contributions":[],"exclusions":[],"method":"mean"},'
        b'"result":"","round":0,"size":0,"term":1}'
    )


def test_fields_that_a_contribution_omits_have_no_bytes() -> None:
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
def test_canonical_json_is_sorted_compact_and_in_utf_8(value: object, text: str) -> None:
    assert canonical(value) == text.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_without_json_form_have_no_canonical_bytes(value: float) -> None:
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


def test_a_writer_reuses_unchanged_parts_and_writes_the_same_bytes() -> None:
    states = list(plays())
    writer = Writer()
    for state in (*states, *reversed(states), *states[::3]):
        assert writer.canonical(state) == canonical(state)


class Sparse(msgspec.Struct, frozen=True, omit_defaults=True):
    parts: dict[str, Window]
    rest: int = 0


def test_a_writer_follows_parts_that_come_go_and_change_their_form() -> None:
    writer = Writer()
    window, submit = Window(1, 2, 3, 4), Submit(0, "", "trained", "0" * 64, 1, 1)
    values: list[Any] = [
        {"b": window, "a": submit},
        {"b": Window(1, 2, 3, 5), "a": submit},
        {"b": submit},
        {"b": window, 'é"': window},
        {"b": 1.5},
        {},
        {"b": {"c": window}},
        window,
        submit,
        None,
        (window, submit),
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


def test_the_transaction_root_of_five_transactions_stays_the_same() -> None:
    names = [sha256(bytes([index])) for index in range(5)]
    assert transaction_root(names) == "6b313b611b40676b9e1dfd70c4503f2379f88f0f1c2740fb7e1cacc32c113465"


def test_the_state_hash_of_the_network_s_entries_stays_the_same() -> None:
    world = World().with_entries(
        {
            "network": Network("name", "sn-1", 1_700_000_000_000, 1),
            "organisation/org-1": Organisation("org-1", "One", True),
            "authority/1": Authority("1" * 64, "PEM", True, "4" * 64, "org-1", ("SN", "SL"), ""),
            "certificate/2": Certificate("2" * 64, "PEM", "CN=SN-1", "SN", False, "org-1"),
            "node/sn-1": Node(
                "sn-1", "SN", "SN 1", "CN=SN-1", "2" * 64, 1, True, False, "0", {"api": "host:30304"}, "org-1"
            ),
            "window/sn-1": Window(1, 3, 7, 12),
        }
    )
    assert world.state_hash() == "56492b4cfeb46407680394a1d3aaee5651243d398acba1dbb416bc1bc6e887d5"


def test_the_state_hash_of_a_training_stays_the_same() -> None:
    play = Play("a", "b", "c")
    play.complete_round("a", "b")
    play.submit("a")
    play.close("b", "inactive")
    play.set_attendance("c", "lost")
    play.depose("sn", by_sn=True)
    world = World().with_entries({"training/contract": play.state})
    assert world.state_hash() == "4a13a27dd95e784fecff8dc489c03cb34c7c37b946ea3aaf7206443eedbe92f6"


def test_the_state_hash_depends_on_the_entries_only() -> None:
    first, second = Network("name", "sn-1", 1, 1), Window(1, 1, 1, 1)
    one = World().with_entries({"network": first}).with_entries({"window/a": second})
    other = World().with_entries({"window/a": second, "network": Network("other", "sn-1", 1, 1)})
    assert one.state_hash() != other.state_hash()
    assert other.with_entries({"network": first}).state_hash() == one.state_hash()


# --- round trips ----------------------------------------------------------------------------------------------------


def test_parsing_a_signed_transaction_gives_the_same_transaction() -> None:
    signed = sign(TRANSACTION, SIGNER)
    assert parse(signed.raw) == signed
    assert (signed.kind, signed.signer, signed.id) == (
        "ReportPerformance",
        SIGNER.thumbprint,
        sha256(signed.raw.encode()),
    )


def test_reading_a_sealed_block_gives_the_same_block() -> None:
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
def test_a_performance_report_is_the_same_after_signing_and_parsing(
    loss: float | None, metric: float | None, epochs: int, uid: str, name: str
) -> None:
    report = ReportPerformance(2, loss, metric, epochs, epochs)
    content = Transaction("a" * 64, uid, 1, 1, Anchor(0, "b" * 64), 1, name, report)
    assert parse(sign(content, SIGNER).raw).content == content
