"""What carries requests for logs and their answers can neither read nor alter them."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from support.certs import make_workspace
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.signing import unverified_payload
from swarmlearning.ledger.rules import RULES
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.node.sealing import (
    MAX_ANSWER,
    MAX_ASK,
    MAX_PIECE,
    Asked,
    Piece,
    SealError,
    Wanted,
    ask,
    digest_of,
    read_ask,
    seal,
    signer_of,
)

WANTED = Wanted("ML", "runner", 3, lines=10, wait=True)
PIECE = Piece(b"a line\nhalf \xc3", "12:34", more=True)


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Identity]:
    return make_workspace(tmp_path_factory.mktemp("sealing") / "cert", ["SWCI-1", "SL-1", "SN-1"])


@pytest.fixture
def asked(identities: dict[str, Identity]) -> Asked:
    return ask(identities["SWCI-1"].signer(), "net", "node", WANTED, time_ms=5)


@pytest.fixture
def answer(identities: dict[str, Identity], asked: Asked) -> str:
    found = read_ask(asked.jws, identities["SWCI-1"].certificate)
    return seal(identities["SL-1"].signer(), asked.jws, found.key, PIECE)


def test_an_answer_is_read_by_its_asker(identities: dict[str, Identity], asked: Asked, answer: str) -> None:
    found = read_ask(asked.jws, identities["SWCI-1"].certificate)
    assert (found.network, found.node, found.time_ms, found.wanted) == ("net", "node", 5, WANTED)
    assert asked.opened(answer, identities["SL-1"].certificate) == PIECE
    assert signer_of(answer) == identities["SL-1"].signer().thumbprint


def test_who_carries_an_answer_reads_nothing_of_it(answer: str) -> None:
    assert PIECE.data not in unverified_payload(answer)
    content = msgspec.json.decode(unverified_payload(answer))
    assert set(content) == {"type", "ask", "key", "sealed"}


def test_no_altered_byte_of_ask_or_answer_is_accepted(
    identities: dict[str, Identity], asked: Asked, answer: str
) -> None:
    for jws, open_it in (
        (asked.jws, lambda text: read_ask(text, identities["SWCI-1"].certificate)),
        (answer, lambda text: asked.opened(text, identities["SL-1"].certificate)),
    ):
        for at in range(0, len(jws), 7):
            other = "A" if jws[at] != "A" else "B"
            with pytest.raises(SealError):
                open_it(jws[:at] + other + jws[at + 1 :])


def test_an_answer_by_another_node_to_another_request_or_with_another_key_is_refused(
    identities: dict[str, Identity], asked: Asked, answer: str
) -> None:
    node, other = identities["SL-1"], identities["SN-1"]
    with pytest.raises(SealError, match="signed with certificate"):
        asked.opened(answer, other.certificate)
    again = ask(identities["SWCI-1"].signer(), "net", "node", WANTED, time_ms=5)
    with pytest.raises(SealError, match="another request"):
        again.opened(answer, node.certificate)
    resealed = seal(node.signer(), asked.jws, X25519PrivateKey.generate().public_key().public_bytes_raw(), PIECE)
    with pytest.raises(SealError, match="cannot be decrypted"):
        asked.opened(resealed, node.certificate)
    with pytest.raises(SealError, match="key is none"):
        seal(node.signer(), asked.jws, bytes(32), PIECE)


def test_no_other_signed_message_is_taken_for_one_and_none_for_another(
    identities: dict[str, Identity], asked: Asked, answer: str
) -> None:
    operator, node = identities["SWCI-1"], identities["SL-1"]
    with pytest.raises(SealError, match="not what was expected"):
        read_ask(answer, node.certificate)
    with pytest.raises(SealError, match="not what was expected"):
        asked.opened(asked.jws, operator.certificate)
    for jws in (asked.jws, answer):
        for rules in RULES.values():
            with pytest.raises(MalformedError):
                rules.parse(jws)


def test_asks_and_answers_are_bounded(identities: dict[str, Identity], asked: Asked) -> None:
    operator, node = identities["SWCI-1"], identities["SL-1"]
    largest = seal(node.signer(), asked.jws, read_ask(asked.jws, operator.certificate).key, Piece(bytes(MAX_PIECE)))
    assert len(largest) < MAX_ANSWER
    assert len(asked.opened(largest, node.certificate).data) == MAX_PIECE
    with pytest.raises(SealError, match="at most"):
        read_ask("x" * (MAX_ASK + 1), operator.certificate)
    for wrong in (Wanted(pair=2**16), Wanted(lines=100_001), Wanted(cursor="x" * 257), Wanted(since_ms=-1)):
        with pytest.raises(SealError, match="not what was expected"):
            read_ask(ask(operator.signer(), "n", "u", wrong, time_ms=0).jws, operator.certificate)


def test_an_ask_is_called_by_its_digest(asked: Asked) -> None:
    assert len(digest_of(asked.jws)) == 64
    assert digest_of(asked.jws) != digest_of(asked.jws + " ")


def test_what_older_nodes_do_not_know_is_sent_only_where_it_is_asked_for() -> None:
    """They refuse fields that they do not know; a log is asked for in the same bytes as ever."""
    assert msgspec.json.encode(Wanted(cursor="7:9", wait=True)) == b'{"cursor":"7:9","wait":true}'
    assert msgspec.json.encode(Wanted("TIMES", contract="c", round=0)) == b'{"part":"TIMES","contract":"c","round":0}'
