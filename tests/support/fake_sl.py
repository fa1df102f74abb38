"""A little SL node for tests of the client: a thread behind a real Unix socket that records and answers."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from swarmlearning.channel import framing
from swarmlearning.channel.address import short_path
from swarmlearning.channel.messages import Close, Closed, Evaluated, FromML, FromSL, Merged, Open, Opened, Sync, Synced
from swarmlearning.tensors import file as tensor_file

Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]
HANG_UP = None

Reply = FromSL | bytes | None
"""A message, or bytes to send as they are, or `HANG_UP`."""

Answers = Callable[[FromML], Iterable[Reply] | None]
"""The replies to a message; None for the usual ones."""

SESSION = "session-1"


def replying(kind: type[Any], *replies: Reply) -> Answers:
    """These replies to messages of that kind; the usual ones to the others."""
    return lambda message: list(replies) if isinstance(message, kind) else None


def plus(number: float) -> Callable[[Arrays], Arrays]:
    """A merge after which every entry is larger by `number`."""
    return lambda arrays: {name: array + array.dtype.type(number) for name, array in arrays.items()}


class FakeSL:
    """Answers like a swarm of one: the merged model is `merge` of what was handed over.

    `intervals` are the answers to the syncs in turn, then the frequency requested; `over_at` is the number of the
    sync (from 1) whose answer is that training is over; `merges` and `merges_at_close` how often a merged model is
    sent in a sync and a close. After it has hung up it comes back `returns` times, as a restarted SL node does: without
    the files of its life before, unless it `keeps` them as one that serves the next ML process. `answers` may answer a
    message in another way; None from it means the usual way.
    """

    def __init__(
        self,
        directory: Path,
        *,
        intervals: Iterable[int] = (),
        over_at: int | None = None,
        merge: Callable[[Arrays], Arrays] = lambda arrays: arrays,
        merges: int = 1,
        merges_at_close: int = 1,
        returns: int = 0,
        keeps: bool = False,
        answers: Answers = lambda message: None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "channel.sock"
        self.received: list[FromML] = []
        self.models: list[Arrays] = []  # what each Sync and Close handed over
        self.headers: list[tensor_file.Header] = []
        self.error: BaseException | None = None
        self.hung_up = threading.Event()
        self._intervals = iter(intervals)
        self._over_at = over_at
        self._merge, self._merges, self._merges_at_close = merge, merges, merges_at_close
        self._answers = answers
        self._lives = returns + 1
        self._keeps = keeps
        self._frequency = 0
        self._left_to_merge = 0
        self._asked: Sync | Close | None = None
        self._connection: socket.socket | None = None
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with short_path(self.path) as address:
            self._listener.bind(address)
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def of(self, kind: type[Any]) -> list[Any]:
        """The messages of this kind received so far."""
        return [message for message in self.received if isinstance(message, kind)]

    def leave(self) -> None:
        """Cuts the connection before the answer to the message at hand."""
        assert self._connection is not None
        self._connection.shutdown(socket.SHUT_RDWR)

    def wait_until_left(self) -> None:
        """Until the other side has closed the connection and everything it sent is recorded."""
        self._thread.join(60)
        assert not self._thread.is_alive(), "the client never closed its connection"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in (self._listener, self._connection):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)
        self._listener.close()
        if self.error is not None and error is None:
            raise self.error

    def _run(self) -> None:
        for life in range(self._lives):
            for left in self.path.parent.glob("*.safetensors") if life and not self._keeps else ():
                left.unlink()
            try:
                self._connection, _ = self._listener.accept()
            except OSError:
                return  # nobody came
            with self._connection:
                try:
                    self._serve(self._connection)
                except ConnectionError:
                    pass  # the client left, as some tests mean it to
                except BaseException as error:  # noqa: BLE001 - raised again where the test leaves the block
                    self.error = error
            self.hung_up.set()

    def _serve(self, connection: socket.socket) -> None:
        while True:
            prefix = connection.recv(framing.LENGTH.size, socket.MSG_WAITALL)
            if not prefix:
                return
            message = framing.decode_from_ml(connection.recv(framing.body_length(prefix), socket.MSG_WAITALL))
            self.received.append(message)
            for reply in self._replies(message):
                if reply is HANG_UP:
                    return
                connection.sendall(reply if isinstance(reply, bytes) else framing.encode(reply))

    def _replies(self, message: FromML) -> Iterator[Reply]:
        if isinstance(message, Sync | Close):
            self._take(message)
        special = self._answers(message)
        yield from self.usual(message) if special is None else special

    def usual(self, message: FromML) -> Iterator[Reply]:
        """Returns the next message of a well-behaved SL."""
        if isinstance(message, Open):
            self._frequency = message.sync_frequency
            yield Opened(SESSION)
        elif isinstance(message, Sync | Close):
            self._left_to_merge = self._merges if isinstance(message, Sync) else self._merges_at_close
            yield self._next_step()
        elif isinstance(message, Evaluated):
            self.merged_path.unlink()  # the ML process has answered: it may not need the file any more
            yield self._next_step()

    @property
    def merged_path(self) -> Path:
        return self.path.with_name("merged.safetensors")

    def write_merged(self, arrays: Arrays) -> None:
        """`arrays` as the merged model, with the dtype tags of the model last handed over."""
        tags = {entry.name: entry.dtype for entry in self.headers[-1].entries}
        tensors = {name: tensor_file.Tensor.of(array, name) for name, array in arrays.items()}
        tensor_file.write(
            self.merged_path, {name: tensor._replace(dtype=tags[name]) for name, tensor in tensors.items()}
        )

    def merged(self) -> Merged:
        """The message that offers `merged_path` to the exchange that is open."""
        assert self._asked is not None
        return Merged(SESSION, self._asked.sequence, self.merged_path.name, f"merged-{len(self.of(Evaluated))}")

    def _take(self, message: Sync | Close) -> None:
        assert message.session == SESSION
        path = self.path.with_name(message.file)
        self.headers.append(tensor_file.read_header(path))
        self.models.append(tensor_file.read(path))
        path.unlink()
        self._asked = message

    def _next_step(self) -> FromSL:
        asked = self._asked
        assert asked is not None
        if self._left_to_merge:
            self._left_to_merge -= 1
            self.write_merged(self._merge(self.models[-1]))
            return self.merged()
        if isinstance(asked, Close):
            return Closed(SESSION, asked.sequence)
        return Synced(
            SESSION,
            asked.sequence,
            next(self._intervals, self._frequency),
            training_over=len(self.of(Sync)) == self._over_at,
        )
