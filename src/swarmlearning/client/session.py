"""One training session over the local channel, as the training process sees it: blocking, half-duplex.

The training process sends a request (`Open`, `Sync`, `Close`) and then reads until its answer; in between it loads the
models it is sent and logs which sites are waited for. Reading has no time-out of its own: a swarm below its minimum of
peers waits by design, the SL reports for which, and its death ends the stream. Sending has one: an SL that does not
read is broken.

An SL that dies is waited for: when it is back, the session is opened again and the current request sent again, byte for
byte. While training goes on between two requests nothing waits for it, but the session is opened again all the same, so
that the swarm knows of this process.

Once an exchange has failed otherwise, the two sides may disagree about what comes next, so the session is over and
keeps the reason.
"""

import math
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from swarmlearning.channel.framing import ChannelError
from swarmlearning.channel.messages import (
    Close,
    Closed,
    Evaluated,
    EvaluationFailed,
    Failed,
    FromML,
    Kill,
    Merged,
    Open,
    Opened,
    Progress,
    Sync,
    Synced,
    Waiting,
)
from swarmlearning.client.connection import Connection
from swarmlearning.client.environment import show_stacks_on_signal
from swarmlearning.client.errors import SwarmError
from swarmlearning.client.handover import HandOver
from swarmlearning.client.pace import Pace
from swarmlearning.pauses import Pauses
from swarmlearning.tensors.file import Tensor

PROGRESS_INTERVAL = 1.0  # seconds between two reports of progress
RECONNECT_SECONDS = 600.0  # how long an SL that went away is waited for
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between two attempts to reach it
LONGEST_START_PAUSE = 0.2  # the same while it is being started

HOW_TO_START = (
    "Start the script with `swarm run -n N -- python train.py`, or beside a node with "
    "`swarm sl ... -- python train.py`, or set SWARM_LOOPBACK=True to train without a swarm"
)
SEE_ITS_LOG = (
    "Its log has the reason: under `swarm run` in the run folder (runs/latest), otherwise where `swarm sl` was started"
)

ONE_TRAINING = "A SwarmCallback and its SL node serve one training: do all epochs in it, or restart the script"
ENDED = f"it was closed. {ONE_TRAINING}"
INTERRUPTED = (
    "it was interrupted in the middle of an exchange with the SL node. Make a new SwarmCallback to continue: the swarm "
    "accepts this site again"
)

PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}")

A = TypeVar("A", Opened, Synced, Closed)
T = TypeVar("T")


class Evaluation(NamedTuple):
    """A merged model was loaded. `None` where loss or metric was not computed; epochs done and in all (0: unknown)."""

    loss: float | None
    metric: float | None
    epochs: int
    total_epochs: int


OnMerged = Callable[[Path], Evaluation]
OnWaiting = Callable[[str], None]
OnIdle = Callable[[], None]


class Exchanges(Protocol):
    """The requests of a callback to an open session, which `Session` implements."""

    @property
    def over(self) -> bool: ...

    def sync(self, tensors: Mapping[str, Tensor], on_merged: OnMerged) -> tuple[int, bool]: ...

    def close(self, tensors: Mapping[str, Tensor], on_merged: OnMerged) -> None: ...

    def kill(self, ok: bool, message: str) -> None: ...

    def progress(self, pace: Pace) -> None: ...


class Session:
    """An open training session. Every method raises `SwarmError` when the SL refuses, fails or stays away."""

    def __init__(
        self,
        address: Path,
        request: Open,
        on_waiting: OnWaiting,
        reconnect_seconds: float = RECONNECT_SECONDS,
        on_idle: OnIdle = lambda: None,
        start_seconds: float = 0.0,
    ) -> None:
        """Connects to the SL's socket at `address` and opens the session. `on_waiting` gets lines for the log.

        An SL that has not been started yet is waited for up to `start_seconds`, one that goes away later up to
        `reconnect_seconds`; with 0 that ends the session. `on_idle` is called at least about once a second while the SL
        is waited for; what it raises ends the session.
        """
        show_stacks_on_signal()
        self._address = address
        self._request = request
        self._on_waiting = on_waiting
        self._reconnect_seconds = reconnect_seconds
        self._on_idle = on_idle
        self._why_over: str | None = None  # None while requests can be sent
        self._connection: Connection | None = None
        self._id = ""  # empty until the SL that is connected has opened the session
        self._holds = ""  # the merged model to train from: that of the last exchange with an answer
        self._loaded = ""
        self._sequence = self._files = 0
        self._last_progress = -math.inf
        self._give_up_at: float | None = None  # while an SL that went away is waited for
        try:
            self._connect_first(start_seconds)
        except ConnectionRefusedError as error:
            raise SwarmError(f"the SL node at SWARM_CHANNEL={address} has ended. {ONE_TRAINING}") from error
        except OSError as error:
            raise SwarmError(f"no SL node answers at SWARM_CHANNEL={address}: {error}. {HOW_TO_START}") from error
        self._serve(lambda: None)

    @property
    def over(self) -> bool:
        """True once it was closed or has failed: no more requests can be sent."""
        return self._why_over is not None

    def sync(self, tensors: Mapping[str, Tensor], on_merged: OnMerged) -> tuple[int, bool]:
        """Sends the parameters and loads what the swarm made of them.

        Returns the batches until the next sync (>= 1) and whether the swarm's training is over.
        """
        synced = self._hand_over(tensors, lambda name: Sync(self._id, self._sequence, name), Synced, on_merged)
        return synced.next_interval, synced.training_over

    def close(self, tensors: Mapping[str, Tensor], on_merged: OnMerged) -> None:
        """Ends local training and goes on loading merged models until training is over everywhere."""
        self._hand_over(tensors, lambda name: Close(self._id, self._sequence, name), Closed, on_merged)
        self._end(ENDED)

    def kill(self, ok: bool, message: str) -> None:
        """Leaves without waiting for the swarm. One-way; the session is over whether or not the SL received it."""
        self._require_open()
        try:
            self._connected.send(Kill(self._id, ok, message))
        except OSError as error:
            raise SwarmError(f"the SL node was not informed that training ended here: {error}") from error
        finally:
            self._end(ENDED)

    def progress(self, pace: Pace) -> None:
        """Reports how far local training is, at most once a second. Raises `SwarmError` if the SL is gone for good."""
        now = monotonic()
        if self.over or now - self._last_progress < PROGRESS_INTERVAL:
            return
        self._last_progress = now
        try:
            if self._is_open():
                self._connected.send(self._progress(pace))
        except ConnectionError as error:
            self._part(error)
        except (OSError, ChannelError, SwarmError) as error:  # part of a message may have been sent
            self._end(f"progress could not be reported: {error}. {SEE_ITS_LOG}")
        if self._why_over is not None:
            raise SwarmError(self._why_over)

    def _progress(self, pace: Pace) -> Progress:
        return Progress(
            self._id, pace.steps, pace.epochs, pace.batches_per_second, pace.samples_per_second, pace.eta_seconds
        )

    # --- exchanges

    def _hand_over(
        self,
        tensors: Mapping[str, Tensor],
        request: Callable[[str], Sync | Close],
        answer: type[A],
        on_merged: OnMerged,
    ) -> A:
        """Writes the parameters, sends `request` of the file's name, and serves the SL until its answer."""
        self._serve(lambda: None)  # an SL that restarts removes all files: this one is written afterwards
        self._sequence += 1
        with HandOver(self._address.parent, tensors, self._new_name()) as handed:
            sent = False

            def exchange() -> A:
                nonlocal sent
                if sent:
                    handed.again(self._new_name())
                sent = True
                self._send(request(handed.name))
                return self._await(answer, on_merged)

            answered = self._serve(exchange)
        self._holds = self._loaded
        return answered

    def _new_name(self) -> str:
        """Returns a file name that was never used before."""
        self._files += 1
        return f"trained-{os.getpid()}-{self._files}.safetensors"

    def _serve(self, exchange: Callable[[], T]) -> T:
        """Does the exchange, again when the SL went away and is back. A failure of any other kind ends the session."""
        self._require_open()
        try:
            while True:
                try:
                    self._reopen()
                    return exchange()
                except ConnectionError as error:
                    self._wait_for_its_return(error)
        except (OSError, ChannelError) as error:
            lost = self._lost(error)
            self._end(lost)
            raise SwarmError(lost) from error
        except KeyboardInterrupt:
            self._end(INTERRUPTED)
            self._on_waiting(f"This training session is over: {INTERRUPTED}")
            raise
        except BaseException as error:  # the two sides no longer agree about what comes next
            self._end(str(error) or type(error).__name__)
            raise

    def _await(self, answer: type[A], on_merged: OnMerged | None = None) -> A:
        """Serves the SL until its answer, and returns that."""
        while not isinstance(message := self._connected.receive(self._on_idle), answer):
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
        return message

    def _load(self, merged: Merged, on_merged: OnMerged) -> None:
        """Has the merged model loaded and evaluated, and reports the result to the SL."""
        self._check(merged)
        try:
            loss, metric, epochs, total = on_merged(self._address.with_name(_plain(merged.file)))
            answer = Evaluated(self._id, self._sequence, _finite(loss), _finite(metric), epochs, total)
        except Exception as error:
            if self._reconnect_seconds and self._connected.left():
                raise ConnectionError("it left while its model was being loaded") from error  # and took the file along
            with suppress(OSError):  # this error is more useful than that of a connection
                self._connected.send(EvaluationFailed(self._id, self._sequence, f"{type(error).__name__}: {error}"))
            cause = error.__cause__ if isinstance(error, SwarmError) else error
            raise SwarmError(f"the merged model {merged.file} could not be loaded and evaluated: {error}") from cause
        self._loaded = merged.model
        self._send(answer)

    def _check(self, message: Opened | Merged | Synced | Closed) -> None:
        if isinstance(message, Opened):
            _plain(message.session)
        elif (message.session, message.sequence) != (self._id, self._sequence):
            raise SwarmError(
                f"the SL node answered request {message.sequence} of session {message.session}; "
                f"this is request {self._sequence} of session {self._id}"
            )
        elif isinstance(message, Synced) and message.next_interval < 1:
            raise SwarmError(f"the SL node set the next sync after {message.next_interval} batches")

    def _send(self, message: FromML) -> None:
        """Sends within an exchange. Where the SL has left, its last message is read next: it may have the reason."""
        with suppress(ConnectionError):
            self._connected.send(message)

    # --- the connection, and an SL that restarts

    @property
    def _connected(self) -> Connection:
        if self._connection is None:
            raise ConnectionError("it closed the connection")
        return self._connection

    def _connect_first(self, seconds: float) -> None:
        """Connects to an SL that may be starting just now. Raises `OSError` when it is not there within `seconds`."""
        give_up_at, pauses = monotonic() + seconds, Pauses(FIRST_PAUSE, LONGEST_START_PAUSE)
        while True:
            try:
                self._connect()
                return
            except (FileNotFoundError, ConnectionRefusedError):
                if (left := give_up_at - monotonic()) <= 0:
                    raise
            sleep(min(pauses.next(), left))
            self._on_idle()

    def _connect(self) -> None:
        """Connects and requests the session; `_reopen` and `_is_open` receive the answer."""
        self._connection = Connection(self._address)
        self._send(msgspec.structs.replace(self._request, holds=self._holds))

    def _reopen(self) -> None:
        """Waits until the SL has opened the session."""
        if not self._id:
            self._id = self._await(Opened).session
            if self._give_up_at is not None:
                self._on_waiting("The SL node is back")
            self._give_up_at = None

    def _is_open(self) -> bool:
        """Returns True when the session is open; otherwise continues to open it, without waiting."""
        if self._connection is None and self._reconnect_seconds:
            with suppress(OSError):
                self._connect()
        if self._connection and not self._id and self._connection.pending():
            self._reopen()
        return bool(self._id)

    def _wait_for_its_return(self, why: ConnectionError) -> None:
        """Connects again. Raises `why` when the SL stays away for too long."""
        self._disconnect()
        if self._give_up_at is None:
            self._give_up_at = monotonic() + self._reconnect_seconds
            if self._reconnect_seconds:
                seconds = f"at most {self._reconnect_seconds:.0f} s"
                self._on_waiting(f"The SL node went away ({why}). Waiting {seconds} for its return")
        pauses = Pauses(FIRST_PAUSE, LONGEST_PAUSE)
        while (left := self._give_up_at - monotonic()) > 0:
            sleep(min(pauses.next(), left))
            self._on_idle()
            with suppress(OSError):
                self._connect()
                return
        raise why

    def _part(self, why: ConnectionError) -> None:
        """Handles an SL that left between two exchanges: for good if it sent why, or if its return is not awaited."""
        try:
            while not isinstance(message := self._connected.receive(), Failed):
                pass
            self._end(f"SL error: {message.message}")
        except (OSError, ChannelError):
            if self._reconnect_seconds:
                self._disconnect()
            else:
                self._end(self._lost(why))

    def _lost(self, why: OSError | ChannelError) -> str:
        what = "went away" if isinstance(why, OSError) else "does not follow the protocol"
        return f"the SL node at {self._address} {what}: {why}. {SEE_ITS_LOG}"

    def _require_open(self) -> None:
        if self._why_over is not None:
            raise SwarmError(f"this training session is over: {self._why_over}")

    def _end(self, reason: str) -> None:
        self._why_over = reason
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._id = None, ""


def _plain(name: str) -> str:
    """Names from the SL become parts of paths; they never lead out of the channel's directory."""
    if not PLAIN_NAME.fullmatch(name):
        raise SwarmError(f"the SL node sent a name that is not plain: {name!r}")
    return name


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
