"""The body of an answer to a request for a model, as it was before the sender may have compressed it."""

import http.client
import io
from typing import IO, Final, Literal, Protocol, TypeAlias, cast

from zstandard import ZstdDecompressor, ZstdError

from swarmlearning.models.compression import CODING, WINDOW
from swarmlearning.models.connections import reason
from swarmlearning.models.tlsstream import TooManyBytes

_IN: Final = 2**16

LEAST_RATE: Final = 256
"""Bytes of the model per second below which a source is given up: what sends so little does so on purpose. A link of
4 Mbit/s gives each of as many readers as a file server can have, 512, four times as much."""

Fault: TypeAlias = Literal["unreachable", "not-held", "invalid", "too-slow", "misshapen"]
"""The reason that a source did not provide the model: it could not be reached or broke off, it does not hold the model,
what it sent is not the model, it sent too slowly, or the model of this digest has another size than it has to have."""


class SourceError(Exception):
    """A failure at one source: a text for people, and `fault` for programs. `silent`: nothing has answered, or nothing
    comes any more, so that the network may be what fails."""

    def __init__(self, text: str, fault: Fault = "invalid", *, silent: bool = False) -> None:
        super().__init__(text)
        self.fault = fault
        self.silent = silent


class Body(Protocol):
    """The body of one answer. Every method raises `SourceError`."""

    @property
    def to_come(self) -> int:
        """Bytes that the source has yet to send at least; 0 where that is not known."""
        ...

    def expect(self, size: int) -> None:
        """Sets that exactly `size` bytes have to come. Called once, before the last of them are received."""
        ...

    def receive(self, room: memoryview) -> int:
        """Puts the next bytes into `room`; returns how many, at least one."""
        ...

    def finish(self) -> None:
        """Checks that the answer ends; called once all bytes have come."""
        ...


def body_of(response: http.client.HTTPResponse) -> Body:
    """Returns the body of a successful answer."""
    match response.getheader("content-encoding"):
        case None:
            return _Plain(response)
        case "zstd":
            return _Compressed(response)
        case other:
            raise SourceError(f"sent a content coding that was not requested: {other[:50]!r}")


class _Plain:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self._ahead = True  # more may have been read already, with the headers or the last small piece

    @property
    def to_come(self) -> int:
        return 0 if self._ahead else self._response.length or 0

    def expect(self, size: int) -> None:
        if self._response.length != size:
            raise SourceError(f"announces {self._response.length} bytes where {size} are missing")

    def receive(self, room: memoryview) -> int:
        """Unlike `response.readinto`, keeps what came before a failure; never waits while something is here."""
        missing = self._response.length or 0
        room = room[:missing]
        try:
            here = len(self._response.fp.peek()) if self._ahead and room else len(room)
            count = self._response.fp.readinto1(room[:here])
            self._ahead = here > len(room) if self._ahead else len(room) <= io.DEFAULT_BUFFER_SIZE
        except OSError as error:
            raise _stopped(f"{missing} bytes before the end", error) from error
        if not count:
            raise SourceError(f"closed the connection {missing} bytes before the end", "unreachable")
        self._response.length = missing - count
        return count

    def finish(self) -> None:
        pass


class _Compressed:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        arrived = cast(IO[bytes], _Arrived(response))  # of which the decoder calls `read` only
        self._decoder = ZstdDecompressor(max_window_size=WINDOW).stream_reader(arrived, read_size=_IN)

    @property
    def to_come(self) -> int:
        return 0

    def expect(self, size: int) -> None:
        """Does nothing: the compressed size is not known; `finish` finds what is too much."""

    def receive(self, room: memoryview) -> int:
        try:
            count = self._decoder.readinto1(room)
        except (OSError, http.client.HTTPException) as error:
            raise _stopped("before the end", error) from error
        except ZstdError as error:
            raise SourceError(f"sent no valid {CODING} data: {error}") from error
        if not count:
            raise SourceError("closed the connection before the end", "unreachable")
        return count

    def finish(self) -> None:
        try:
            surplus = self._decoder.read(1) or self._response.read(1)
        except (OSError, http.client.HTTPException, ZstdError) as error:
            raise SourceError(f"does not end its answer: {reason(error)}") from error
        if surplus:
            raise SourceError("sent more than the model has")


class _Arrived:
    """Reads what has arrived of a response, at least one byte, rather than waiting for all that was requested."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response

    def read(self, size: int) -> bytes:
        return self._response.read1(size)


def _stopped(where: str, error: Exception) -> SourceError:
    silent = isinstance(error, TimeoutError)
    return SourceError(f"stopped {where}: {reason(error)}", _fault(error), silent=silent)


def _fault(error: Exception) -> Fault:
    match error:
        case TimeoutError():
            return "too-slow"
        case TooManyBytes() | http.client.HTTPException():
            return "invalid"
        case _:
            return "unreachable"
