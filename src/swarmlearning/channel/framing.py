"""Framing of the local channel: a 4-byte big-endian length, then that many bytes of JSON."""

import struct
from typing import TypeVar

import msgspec

from swarmlearning.channel.messages import FromML, FromSL, Message

LENGTH = struct.Struct(">I")
MAX_FRAME = 16 * 1024 * 1024  # a structure of 100,000 tensors fits; anything larger is not one of ours

T = TypeVar("T")


class ChannelError(Exception):
    """The other side of the local channel sent something that is not a message, or went away."""


def encode(message: Message) -> bytes:
    """Returns the message as a frame, length included."""
    body = msgspec.json.encode(message)
    if len(body) > MAX_FRAME:
        raise ChannelError(f"message of {len(body)} bytes; the local channel carries at most {MAX_FRAME}")
    return LENGTH.pack(len(body)) + body


def body_length(prefix: bytes) -> int:
    """Returns the length of the body announced by the 4-byte prefix. Raises `ChannelError` beyond `MAX_FRAME`."""
    (length,) = LENGTH.unpack(prefix)
    if length > MAX_FRAME:
        raise ChannelError(f"frame of {length} bytes announced; the local channel carries at most {MAX_FRAME}")
    return int(length)


def decode_from_ml(body: bytes) -> FromML:
    """Returns the message in `body`. Raises `ChannelError` when it is not one of the ML process."""
    return _decode(_from_ml, body)


def decode_from_sl(body: bytes) -> FromSL:
    """Returns the message in `body`. Raises `ChannelError` when it is not one of the SL node."""
    return _decode(_from_sl, body)


_from_ml: msgspec.json.Decoder[FromML] = msgspec.json.Decoder(FromML)
_from_sl: msgspec.json.Decoder[FromSL] = msgspec.json.Decoder(FromSL)


def _decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ChannelError(f"not a message of local channel version 1: {error}") from error
