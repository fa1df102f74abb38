"""One training session over the local channel, as the training process sees it: blocking, half-duplex.

The training process asks (`Open`, `Sync`, `Close`) and then reads until the answer; in between it loads the models it
is sent and logs who is waited for. Reading has no time-out of its own: a swarm below its minimum of peers waits by
design, the SL says for whom, and its death ends the stream. Sending has one: an SL that does not read is broken.

Once an exchange has failed, the two sides may disagree about what comes next, so the session is over and says why.
"""

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import NamedTuple, TypeVar

from swarmlearning.channel import framing
from swarmlearning.channel.address import connect
from swarmlearning.channel.messages import (
    Close,
    Closed,
    Evaluated,
    EvaluationFailed,
    Failed,
    FromML,
    FromSL,
    Kill,
    Merged,
    Open,
    Opened,
    Progress,
    Sync,
    Synced,
    Waiting,
)
from swarmlearning.client.errors import SwarmError
from swarmlearning.tensors import file as tensor_file

SEND_TIMEOUT = 5.0  # seconds; the socket is local and the messages are small
PROGRESS_INTERVAL = 1.0  # seconds between two reports of progress

HOW_TO_START = (
    "Start the script with `swarm run -n N -- python train.py`, or beside a node with "
    "`swarm sl ... -- python train.py`, or set SWARM_LOOPBACK=True to train without a swarm"
)
SEE_ITS_LOG = (
    "Its log says why: under `swarm run` in the run folder (runs/latest), otherwise where `swarm sl` was started"
)

PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}")

A = TypeVar("A", Opened, Synced, Closed)


class Evaluation(NamedTuple):
    """A merged model was loaded. `None` where loss or metric was not computed; epochs done and in all (0: unknown)."""

    loss: float | None
    metric: float | None
    epochs: int
    total_epochs: int


OnMerged = Callable[[Path], Evaluation]
OnWaiting = Callable[[str], None]


class Session:
    """An open training session. All but `progress` raise `SwarmError` when the SL refuses, fails or leaves."""

    def __init__(self, address: Path, request: Open, on_waiting: OnWaiting) -> None:
        """Connects to the SL's socket at `address` and opens the session. `on_waiting` gets lines for the log."""
        self._address = address
        self._on_waiting = on_waiting
        self._over: str | None = None  # why nothing more can be asked
        self._id = ""
        self._sequence = 0
        self._last_progress = -math.inf
        try:
            self._socket = connect(address)
        except OSError as error:
            raise SwarmError(f"no SL node answers at SWARM_CHANNEL={address}: {error}. {HOW_TO_START}") from error
        self._id = self._exchange(request, Opened).session

    def sync(
        self, tensors: Mapping[str, tensor_file.Tensor], node_weightage: int, on_merged: OnMerged
    ) -> tuple[int, bool]:
        """Hands over the parameters and loads what the swarm made of them.

        Returns the batches until the next sync (>= 1) and whether the swarm's training is over.
        """
        name = self._hand_over(tensors)
        synced = self._exchange(Sync(self._id, self._sequence, node_weightage, name), Synced, on_merged)
        return synced.next_interval, synced.training_over

    def close(self, tensors: Mapping[str, tensor_file.Tensor], node_weightage: int, on_merged: OnMerged) -> None:
        """Ends local training and goes on loading merged models until training is over everywhere."""
        name = self._hand_over(tensors)
        self._exchange(Close(self._id, self._sequence, node_weightage, name), Closed, on_merged)
        self._end("it was closed; make a new SwarmCallback to train again")

    def kill(self, ok: bool, message: str) -> None:
        """Leaves without waiting for the swarm. One-way; the session is over whether or not the SL heard it."""
        self._require_open()
        try:
            self._send(Kill(self._id, ok, message))
        except OSError as error:
            raise SwarmError(f"the SL node was not told that training ended here: {error}") from error
        finally:
            self._end("it was closed; make a new SwarmCallback to train again")

    def progress(self, steps: int, epochs: int) -> None:
        """Tells how far local training is, at most once a second. Never raises: the next exchange does."""
        now = monotonic()
        if self._over is not None or now - self._last_progress < PROGRESS_INTERVAL:
            return
        self._last_progress = now
        try:
            self._send(Progress(self._id, steps, epochs))
        except ConnectionError:
            return  # the next exchange fails on the same connection, and can still read why the SL left
        except OSError as error:  # part of a message may have been sent
            self._end(f"progress could not be reported: {error}. {SEE_ITS_LOG}")

    def _hand_over(self, tensors: Mapping[str, tensor_file.Tensor]) -> str:
        """Writes the parameters into the channel's directory, under a name never used before."""
        self._require_open()
        self._sequence += 1
        name = f"trained-{self._id}-{self._sequence}.safetensors"
        path, part = self._address.with_name(name), self._address.with_name(f".{name}.part")
        try:
            tensor_file.write(part, tensors)
            part.rename(path)
        except (OSError, tensor_file.TensorFileError) as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise SwarmError(f"cannot write the parameters to {path}: {error}. The model is unharmed") from error
        return name

    def _exchange(self, request: Open | Sync | Close, answer: type[A], on_merged: OnMerged | None = None) -> A:
        """Sends `request` and serves the SL until its answer. A failure of any kind ends the session."""
        self._require_open()
        try:
            self._say(request)
            while not isinstance(message := self._receive(), answer):
                match message:
                    case Waiting():
                        self._on_waiting(message.text)
                    case Merged() if on_merged is not None:
                        self._load(message, on_merged)
                    case Failed():
                        raise SwarmError(f"SL error: {message.message}")
                    case _:
                        raise SwarmError(f"the SL node sent {type(message).__name__}, not {answer.__name__}")
            self._check(message)
        except (OSError, framing.ChannelError) as error:
            what = "went away" if isinstance(error, OSError) else "does not follow the protocol"
            lost = f"the SL node at {self._address} {what}: {error}. {SEE_ITS_LOG}"
            self._end(lost)
            raise SwarmError(lost) from error
        except BaseException as error:  # an interrupt too: the two sides no longer agree about what comes next
            self._end(str(error) or type(error).__name__)
            raise
        return message

    def _load(self, merged: Merged, on_merged: OnMerged) -> None:
        """Has the merged model loaded and evaluated, and tells the SL."""
        self._check(merged)
        try:
            loss, metric, epochs, total = on_merged(self._address.with_name(_plain(merged.file)))
            answer = Evaluated(self._id, self._sequence, _finite(loss), _finite(metric), epochs, total)
        except Exception as error:
            with suppress(OSError):  # the error at hand says more than that of a connection
                self._send(EvaluationFailed(self._id, self._sequence, f"{type(error).__name__}: {error}"))
            raise SwarmError(f"the merged model {merged.file} could not be loaded and evaluated: {error}") from error
        self._say(answer)

    def _check(self, message: Opened | Merged | Synced | Closed) -> None:
        if isinstance(message, Opened):
            _plain(message.session)
        elif (message.session, message.sequence) != (self._id, self._sequence):
            raise SwarmError(
                f"the SL node answered request {message.sequence} of session {message.session}; "
                f"this is request {self._sequence} of session {self._id}"
            )
        elif isinstance(message, Synced) and message.next_interval < 1:
            raise SwarmError(f"the SL node asked for the next sync after {message.next_interval} batches")

    def _say(self, message: FromML) -> None:
        """Sends within an exchange. Where the SL has left, what it said before tells more: that is read next."""
        with suppress(ConnectionError):
            self._send(message)

    def _send(self, message: FromML) -> None:
        self._socket.settimeout(SEND_TIMEOUT)
        self._socket.sendall(framing.encode(message))

    def _receive(self) -> FromSL:
        self._socket.settimeout(None)
        length = framing.body_length(self._read(framing.LENGTH.size))
        return framing.decode_from_sl(self._read(length))

    def _read(self, count: int) -> bytes:
        received = bytearray()
        while len(received) < count:
            chunk = self._socket.recv(count - len(received))
            if not chunk:
                raise ConnectionError("it closed the connection")
            received += chunk
        return bytes(received)

    def _require_open(self) -> None:
        if self._over is not None:
            raise SwarmError(f"this training session is over: {self._over}")

    def _end(self, reason: str) -> None:
        self._over = reason
        self._socket.close()


def _plain(name: str) -> str:
    """Names from the SL become parts of paths; they never lead out of the channel's directory."""
    if not PLAIN_NAME.fullmatch(name):
        raise SwarmError(f"the SL node sent a name that is not plain: {name!r}")
    return name


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
