"""Bytes that arrive over the local channel are a message or a `ChannelError`, whatever they are."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmlearning.channel.framing import LENGTH, MAX_FRAME, ChannelError, body_length, decode_from_ml, encode
from swarmlearning.channel.messages import Kill, Waiting

KILL = Kill("session", False, "why")


def test_an_encoded_message_is_decoded_unchanged() -> None:
    frame = encode(KILL)
    assert body_length(frame[: LENGTH.size]) == len(frame) - LENGTH.size
    assert decode_from_ml(frame[LENGTH.size :]) == KILL


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"\xff",
        encode(KILL)[LENGTH.size :].replace(b"why", b"w\xffy"),
        encode(KILL)[LENGTH.size :].replace(b'"why"', b"[" * 100_000),
        encode(Waiting("only an SL sends this"))[LENGTH.size :],
    ],
    ids=[
        "nothing",
        "null",
        "no JSON",
        "a text that is not UTF-8",
        "nested without end",
        "a message that only an SL sends",
    ],
)
def test_bytes_that_are_no_message_of_an_ml_process_are_a_channel_error(body: bytes) -> None:
    with pytest.raises(ChannelError, match="not a message of local channel version 1"):
        decode_from_ml(body)


def test_a_frame_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(ChannelError, match=f"carries at most {MAX_FRAME}"):
        body_length(LENGTH.pack(MAX_FRAME + 1))


@given(st.integers(0, 80), st.integers(0, 255))
def test_an_altered_byte_gives_a_message_or_a_channel_error(place: int, value: int) -> None:
    body = bytearray(encode(KILL)[LENGTH.size :])
    body[place % len(body)] = value
    with suppress(ChannelError):
        decode_from_ml(bytes(body))
