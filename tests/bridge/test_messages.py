"""Every message to the byte, as the specification of the original's protocol has it."""

import struct
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmlearning.bridge import messages, wire
from swarmlearning.bridge.errors import LostTrack, Refused, Unusable
from swarmlearning.bridge.messages import (
    OK,
    Code,
    Evaluated,
    HandOver,
    Header,
    KillSession,
    OpenSession,
    Status,
    Type,
    decode,
)
from swarmlearning.bridge.weights import model_from_message
from swarmlearning.bridge.wire import Fields

SYNC = HandOver(False, "s1", 3, "trained_weights.pkl")
CLOSE = HandOver(True, "s1", 1, "trained_weights.pkl")


def body(hexadecimal: str) -> bytes:
    return bytes.fromhex(hexadecimal)


@pytest.mark.parametrize(
    ("hexadecimal", "size"),
    [
        ("0a0a0d0200000015020000001502000000 1d4d000000", 77),
        ("0a0a0d0200000015020000001502000000 1d2e000000", 46),
    ],
)
def test_a_header_is_that_of_the_original(hexadecimal: str, size: int) -> None:
    assert messages.read_header(body(hexadecimal)) == Header(2, Type.OPEN_REQUEST, size)
    assert messages.header(Type.OPEN_REQUEST, size) == body(hexadecimal)
    assert len(messages.header(Type.KILL_REQUEST, 2**32 - 1)) == 22


@pytest.mark.parametrize("at", [0, 1, 2, 7, 12, 17])
def test_bytes_that_are_no_header_are_refused(at: int) -> None:
    header = bytearray(messages.header(Type.SYNC_REQUEST, 5))
    header[at] ^= 1
    with pytest.raises(LostTrack, match="not the header of a message: " + header.hex()):
        messages.read_header(bytes(header))


def test_an_empty_body_is_no_message() -> None:
    with pytest.raises(LostTrack):
        messages.read_header(messages.header(Type.SYNC_REQUEST, 0))


def test_a_request_to_open_a_session_is_decoded() -> None:
    golden = body(
        "08 80 01"  # syncInterval 128
        "10 02"  # minPeers
        "20 01"  # useAdaptiveSync
        "2a 08 736e617073686f74"  # snapshot
        "30 64"  # nodeWeightage 100
        "3a 03 636f6e"  # con
        "42 04 6d65616e"  # mean
    )
    assert messages.decode(2, golden) == OpenSession(128, 2, True, "snapshot", 100, "con", "mean")


def test_requests_to_sync_and_to_close_are_decoded_with_the_name_of_a_file() -> None:
    golden = body("0a 02 7331  10 03  18 01  20 01  2a 13 747261696e65645f776569676874732e706b6c")
    assert messages.decode(6, golden) == SYNC
    assert messages.decode(4, golden.replace(b"\x10\x03", b"\x10\x01")) == CLOSE


def test_a_request_to_sync_is_decoded_with_the_weights_in_it() -> None:
    weights = body("0a 1d 0a 01 61 12 18 0a 10") + b"dtype('float32')" + body("12 01 01 1a 04 0000803f")[:6]
    message = messages.decode(6, body("0a 02 7331 10 01 18 01 20 01 2a") + bytes([len(weights)]) + weights)
    assert isinstance(message, HandOver)
    assert bytes(message.weights) == weights  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["../secret.pkl", "/etc/passwd", ".hidden", "a b", "", "x" * 202, "a\n", "ä.pkl"])
def test_a_file_name_that_is_no_plain_name_is_refused(name: str) -> None:
    message = messages.decode(6, wire.text(1, "s1") + wire.data(5, name.encode()))
    assert isinstance(message, HandOver)
    assert not isinstance(message.weights, str)


def test_the_answer_to_a_merged_model_is_decoded() -> None:
    status = "22 0a 12 08" + b"StatusOK".hex()
    golden = body(f"0a 02 7331  10 03  18 07 {status}  2d 0000003f  35 0000803e  38 02  40 05")
    assert messages.decode(9, golden) == Evaluated("s1", 3, 7, OK, 0.5, 0.25, 2, 5)
    failed = body("0a 02 7331  10 03  18 07  22 05 08 02 12 01 65  2d 000080bf")
    assert messages.decode(9, failed) == Evaluated("s1", 3, 7, Status(Code.ERROR_IN_USER, "e"), -1.0, 0.0, 0, 0)


def test_a_kill_is_decoded() -> None:
    assert messages.decode(10, body("0a 02 7331  12 03 12 01 65")) == KillSession("s1", Status(0, "e"))


def test_the_answers_of_an_sl_are_encoded_as_the_original_s() -> None:
    assert messages.status(Code.ERROR_IN_SL, "no") == messages.header(Type.STATUS, 6) + body("08 01 12 02 6e6f")
    opened = messages.session_response(OK, "s1")
    assert opened == messages.header(Type.OPEN_RESPONSE, 16) + body("0a 0a 12 08") + b"StatusOK" + body("12 02 7331")
    synced = body("0a 02 7331  10 03  1a 0a 12 08") + b"StatusOK" + body("20 80 01  28 01")
    assert messages.sync_response(SYNC, OK, 128, True) == messages.header(Type.SYNC_RESPONSE, 23) + synced
    refused = body("0a 02 7331  10 01  1a 06 08 02 12 02 6e6f")
    outcome = Status(Code.ERROR_IN_USER, "no")
    assert messages.sync_response(CLOSE, outcome, 0, False) == messages.header(Type.CLOSE_RESPONSE, 14) + refused


def test_the_request_to_load_a_merged_model_is_encoded_as_the_original_s() -> None:
    head = messages.loss_request_head(SYNC, 7)
    named = body("0a 02 7331  10 03  18 07  22 12") + b"merged_weights.pkl"
    assert messages.loss_request(head, "merged_weights.pkl") == messages.header(Type.LOSS_REQUEST, 28) + named
    with_weights = b"".join(messages.loss_request_with(head, [b"\x0a\x02", b"ab"]))
    assert with_weights == messages.header(Type.LOSS_REQUEST, 14) + named[:8] + body("22 04 0a02 6162")


def test_weights_that_no_message_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MAX_BODY", 100)
    with pytest.raises(Refused, match="weights of 101 bytes are too large for a message; use release"):
        messages.loss_request_with(b"", [bytes(101)])


@pytest.mark.parametrize("kind", [0, 11, 4_000_000_000])
def test_a_message_of_an_unknown_type_is_refused(kind: int) -> None:
    with pytest.raises(Unusable, match=f"unsupported message type: {kind}"):
        messages.decode(kind, b"\x08\x01")


@pytest.mark.parametrize("kind", [1, 3, 5, 7, 8])
def test_a_message_of_a_type_that_only_an_sl_sends_is_refused(kind: int) -> None:
    with pytest.raises(Unusable, match=f"unexpected message type: {kind}"):
        messages.decode(kind, b"\x08\x01")


# --- the encoding


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "8001"),
        (300, "ac02"),
        (-1, "ff" * 9 + "01"),
        (2**64 - 1, "ff" * 9 + "01"),
    ],
)
def test_numbers_are_encoded_with_seven_bits_a_byte(value: int, encoded: str) -> None:
    assert wire.varint(value) == bytes.fromhex(encoded)


def test_a_negative_int32_is_read_as_such() -> None:
    assert Fields(b"\x08" + wire.varint(-1)).integer(1) == -1
    assert Fields(b"\x08" + wire.varint(2**31)).integer(1) == -(2**31)


def test_unknown_fields_are_ignored_and_the_last_of_two_counts() -> None:
    fields = Fields(body("08 01  51 0102030405060708  5d 01020304  62 01 61  08 02"))
    assert fields.integer(1) == 2
    assert fields.integers(1, 2) == [1, 2]
    assert (fields.integer(9), fields.text(9), fields.flag(9), fields.real(9)) == (0, "", False, 0.0)


def test_repeated_numbers_are_read_packed_or_not() -> None:
    assert Fields(body("12 03 02 ac02 10 05")).integers(2, 3) == [2, 300, 5]


@pytest.mark.parametrize(
    "message",
    ["08", "0a", "0a 05 61", "0d 0102", "51 01", "0b", "0c", "08" + "ff" * 10 + "01", "0a ffffffffffffffffff01"],
    ids=["no number", "no length", "short", "short float", "short double", "group", "end of group", "long", "huge"],
)
def test_malformed_messages_are_refused(message: str) -> None:
    with pytest.raises(Unusable):
        Fields(body(message))


def test_a_field_of_another_type_is_refused() -> None:
    with pytest.raises(Unusable, match="field 1 has another type"):
        messages.decode(2, wire.text(1, "eight"))
    with pytest.raises(Unusable, match="field 7 has another type"):
        messages.decode(2, wire.integer(7, 8))
    with pytest.raises(Unusable, match="field 5 is not UTF-8"):
        messages.decode(2, wire.data(5, b"\xff"))
    with pytest.raises(Unusable, match="field 1 has another type"):
        list(Fields(b"\x08\x01").messages(1))


def test_a_nan_in_a_message_is_read_as_a_nan() -> None:
    value = Fields(b"\x2d" + struct.pack("<f", float("nan"))).real(5)
    assert value != value


# --- messages that nobody honest sends


def memory_of(work: Callable[[], object]) -> int:
    """Bytes that `work` had at most at one time, whether it succeeds or refuses."""
    tracemalloc.start()
    try:
        with suppress(Unusable):
            work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


MANY: Final = 50_000
HOSTILE: Final = {
    "fields of one number": b"\x08\x01" * MANY,
    "unknown fields": b"".join(wire.varint(number << 3) + b"\x01" for number in range(16, 20_000)),
    "empty texts": b"\x0a\x00" * MANY,
    "a long text": wire.data(1, b"x" * MANY),
    "an endless shape": wire.data(2, b"\x01" * MANY),
}


@pytest.mark.parametrize("message", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("kind", [Type.SYNC_REQUEST, Type.CLOSE_REQUEST, Type.LOSS_RESPONSE, Type.OPEN_REQUEST])
def test_decoding_a_hostile_message_needs_little_memory(message: bytes, kind: Type) -> None:
    assert memory_of(lambda: decode(kind, message)) < 1_000_000


@pytest.mark.parametrize("message", HOSTILE.values(), ids=HOSTILE)
def test_hostile_weights_are_refused_in_no_more_memory_than_their_own(message: bytes, tmp_path: Path) -> None:
    def read() -> None:
        for inside in (message, wire.data(1, message), wire.data(1, wire.text(1, "w") + wire.data(2, message))):
            with suppress(Unusable):
                model_from_message(memoryview(inside), tmp_path / "model")

    assert memory_of(read) < 1_000_000 + 10 * len(message)


def test_a_message_with_too_many_fields_is_refused_by_their_number(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="a message has more than 1000 fields"):
        decode(Type.SYNC_REQUEST, b"\x10\x01" * 1001)
    with pytest.raises(Unusable, match="a message has more than 200000 fields"):
        model_from_message(memoryview(b"\x0a\x00" * 200_001), tmp_path / "model")
    with pytest.raises(Unusable, match="field 1 is a text of 65537 bytes"):
        decode(Type.SYNC_REQUEST, wire.data(1, bytes(65537)))


@given(st.binary(max_size=200), st.sampled_from(list(Type)))
def test_bytes_of_any_kind_raise_nothing_but_unusable(body: bytes, kind: Type) -> None:
    with suppress(Unusable):
        decode(kind, body)
