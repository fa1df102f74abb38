"""The messages of the original's protocol, API version 2, and the header that frames each.

A message is a header of 22 bytes and a body. Both are Protocol Buffers; all of the header's numbers are there, so that
it always has the same length and form:

    0a 0a                 Header.apiVersion: 10 bytes
       0d VV VV VV VV       version of the sender's API (2)
       15 VV VV VV VV       the least it understands; the client writes its own version
    15 TT TT TT TT        type of the message
    1d LL LL LL LL        length of the body; never 0

The two sides take turns and the ML process begins. The SL answers a request with the answer that belongs to it, after
any number of `LossRequest`s in between (load these weights and evaluate), or with a bare `Status` with what went
wrong. `KillSession` has no answer.

Release 2.3 of the client hands weights over in files and names them here; 2.1 and 2.2, of the same version, put them
into the message itself (`Weights`). It is the same field in both, and a file's name never looks like `Weights`.
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from swarmlearning.bridge import wire
from swarmlearning.bridge.errors import LostTrack, Refused, Unusable
from swarmlearning.bridge.wire import Fields

API_VERSION: Final = 2
HEADER: Final = struct.Struct("<3sIsIsIsI")
_TAGS: Final = (b"\x0a\x0a\x0d", b"\x15", b"\x15", b"\x1d")
FILE_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}")


class Type(IntEnum):
    """Type and size of a body, from its header."""

    STATUS = 1
    OPEN_REQUEST = 2
    OPEN_RESPONSE = 3
    CLOSE_REQUEST = 4
    CLOSE_RESPONSE = 5
    SYNC_REQUEST = 6
    SYNC_RESPONSE = 7
    LOSS_REQUEST = 8
    LOSS_RESPONSE = 9
    KILL_REQUEST = 10


class Code(IntEnum):
    """The side at fault."""

    OK = 0
    ERROR_IN_SL = 1
    ERROR_IN_USER = 2
    ERROR_OTHERS = 3


MAX_BODY: Final = 2**31 - 1
"""Protobuf's own limit."""
MAX_SMALL_BODY: Final = 2**16
"""Of bodies without weights."""
WITH_WEIGHTS: Final = frozenset({Type.SYNC_REQUEST, Type.CLOSE_REQUEST})


class Header(NamedTuple):
    version: int
    type: int
    size: int


class Status(NamedTuple):
    code: int
    text: str


OK: Final = Status(Code.OK, "StatusOK")


# --- messages from the ML process ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class OpenSession:
    """`SessionRequest`. The number of peers is not limited (maxPeers is always 0)."""

    sync_interval: int
    min_peers: int
    adaptive: bool
    checkin: str
    weightage: int
    contract: str
    merge_method: str


@dataclass(frozen=True)
class HandOver:
    """`SyncRequest`, to sync or to close. `weights` is the name of a file, or the encoded `Weights`."""

    closing: bool
    session: str
    sequence: int
    weights: str | memoryview


@dataclass(frozen=True)
class Evaluated:
    """`LossResponse`. Without validation data the client sends 0 for both, which is therefore no report."""

    session: str
    sequence: int
    loss_sequence: int
    status: Status
    loss: float
    metric: float
    epochs: int
    total_epochs: int


@dataclass(frozen=True)
class KillSession:
    """The ML process leaves."""

    session: str
    reason: Status


FromClient: TypeAlias = OpenSession | HandOver | Evaluated | KillSession


def read_header(header: bytes) -> Header:
    """Raises `LostTrack` for 22 bytes that are no header."""
    tag, version, tag_least, _, tag_type, kind, tag_size, size = HEADER.unpack(header)
    if (tag, tag_least, tag_type, tag_size) != _TAGS or size == 0:
        raise LostTrack(f"these bytes are not the header of a message: {header.hex()}")
    return Header(version, kind, size)


def decode(kind: int, body: memoryview | bytes) -> FromClient:
    """The message in this body. Raises `Unusable` for any that the ML process never sends, or a malformed one."""
    if kind not in Type.__members__.values():
        raise Unusable(f"unsupported message type: {kind}")
    fields = Fields(body)
    match Type(kind):
        case Type.OPEN_REQUEST:
            return OpenSession(
                sync_interval=fields.integer(1),
                min_peers=fields.integer(2),
                adaptive=fields.flag(4),
                checkin=fields.text(5),
                weightage=fields.integer(6),
                contract=fields.text(7),
                merge_method=fields.text(8),
            )
        case Type.SYNC_REQUEST | Type.CLOSE_REQUEST:
            return HandOver(
                closing=kind == Type.CLOSE_REQUEST,
                session=fields.text(1),
                sequence=fields.integer(2),
                weights=_file_name(fields.data(5)) or fields.data(5),
            )
        case Type.LOSS_RESPONSE:
            return Evaluated(
                session=fields.text(1),
                sequence=fields.integer(2),
                loss_sequence=fields.integer(3),
                status=_status(fields.message(4)),
                loss=fields.real(5),
                metric=fields.real(6),
                epochs=fields.integer(7),
                total_epochs=fields.integer(8),
            )
        case Type.KILL_REQUEST:
            return KillSession(session=fields.text(1), reason=_status(fields.message(2)))
        case other:
            raise Unusable(f"unexpected message type: {other.value}; only an SL sends it")


# --- messages from the SL, whole -------------------------------------------------------------------------------


def status(code: Code, text: str) -> bytes:
    """The answer to any request where none of the others fits."""
    return framed(Type.STATUS, _encoded(Status(code, text)))


def session_response(outcome: Status, session: str) -> bytes:
    return framed(Type.OPEN_RESPONSE, wire.data(1, _encoded(outcome)) + wire.text(2, session))


def sync_response(request: HandOver, outcome: Status, next_interval: int, over: bool) -> bytes:
    body = (
        wire.text(1, request.session)
        + wire.integer(2, request.sequence)
        + wire.data(3, _encoded(outcome))
        + wire.integer(4, next_interval)
        + wire.integer(5, over)
    )
    return framed(Type.CLOSE_RESPONSE if request.closing else Type.SYNC_RESPONSE, body)


def loss_request_head(request: HandOver, loss_sequence: int) -> bytes:
    """Returns what is before the weights in the body of a `LossRequest`."""
    return wire.text(1, request.session) + wire.integer(2, request.sequence) + wire.integer(3, loss_sequence)


def loss_request(head: bytes, file: str) -> bytes:
    """A `LossRequest` that names a file with weights."""
    return framed(Type.LOSS_REQUEST, head + wire.text(4, file))


def loss_request_with(head: bytes, weights: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
    """A `LossRequest` with encoded `Weights` in it, in pieces. Raises `Refused` when they are too large."""
    length = sum(len(piece) for piece in weights)
    head += wire.announced(4, length)
    if len(head) + length > MAX_BODY:
        raise Refused(
            f"weights of {length} bytes are too large for a message; use release 2.3 of the client, which reads them "
            "from a file"
        )
    return [header(Type.LOSS_REQUEST, len(head) + length) + head, *weights]


def framed(kind: Type, body: bytes) -> bytes:
    return header(kind, len(body)) + body


def header(kind: Type, size: int) -> bytes:
    """For a body of `size` bytes, at least 1."""
    tags = _TAGS
    return HEADER.pack(tags[0], API_VERSION, tags[1], API_VERSION, tags[2], kind, tags[3], size)


def _encoded(outcome: Status) -> bytes:
    return wire.integer(1, outcome.code) + wire.text(2, outcome.text)


def _status(fields: Fields) -> Status:
    return Status(fields.integer(1), fields.text(2))


def _file_name(field: memoryview) -> str:
    """Empty when it is none: `Weights` begin with a line feed."""
    text = bytes(field[:256]).decode("ascii", "replace")
    return text if len(field) < 256 and FILE_NAME.fullmatch(text) else ""
