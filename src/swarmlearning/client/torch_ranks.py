"""Several processes that train one model (DistributedDataParallel) are one site: rank 0 speaks with the SL node.

Rank 0 repeats to the others what it hears: each merged model, which they load and evaluate at the same time, and the
answer or the failure that ends the exchange. It does so in a process group of its own over gloo, because a wait for
other sites may last longer than the time-out of the training's group, and NCCL moves nothing that is not on a GPU.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import msgspec
import torch
import torch.distributed as dist

from swarmlearning.client.errors import SwarmError
from swarmlearning.client.pace import Pace
from swarmlearning.client.session import Evaluation, Exchanges, OnMerged
from swarmlearning.tensors.file import Tensor

LONGEST_WAIT = timedelta(days=30)  # for other sites; a rank that dies or fails ends it at once
CHUNK = 64 * 2**20  # bytes sent at a time


class Model(msgspec.Struct, frozen=True, tag=True):
    """A merged model follows, a file of so many bytes."""

    size: int


class Answer(msgspec.Struct, frozen=True, tag=True):
    """The exchange is at its end; what `sync` returns."""

    interval: int = 0
    training_over: bool = False


class Failure(msgspec.Struct, frozen=True, tag=True):
    """The exchange failed."""

    text: str


Word: TypeAlias = Model | Answer | Failure
_DECODER = msgspec.json.Decoder(Model | Answer | Failure)


def for_this_rank(connect: Callable[[], Exchanges]) -> Exchanges:
    """The session of this process, which `connect` opens: itself, or where there are several ranks one they share.

    With several ranks, all of them have to call this. Raises `SwarmError` on each when rank 0 cannot connect.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return connect()
    channel = Channel()
    return Speaker(connect, channel) if dist.get_rank() == 0 else Listener(channel)


class Channel:
    """From rank 0 to all others. Raises `SwarmError` when another rank has left it."""

    def __init__(self) -> None:
        self._group: dist.ProcessGroup | None = dist.new_group(backend="gloo", timeout=LONGEST_WAIT)

    def say(self, word: Word) -> None:
        encoded = torch.frombuffer(bytearray(msgspec.json.encode(word)), dtype=torch.uint8)
        self._broadcast(torch.tensor([len(encoded)]))
        self._broadcast(encoded)

    def hear(self) -> Word:
        length = torch.zeros(1, dtype=torch.int64)
        self._broadcast(length)
        encoded = torch.empty(int(length), dtype=torch.uint8)
        self._broadcast(encoded)
        word: Word = _DECODER.decode(encoded.numpy().tobytes())
        return word

    def send_file(self, path: Path) -> None:
        """Says how large it is, and sends it."""
        left = path.stat().st_size
        self.say(Model(left))
        with path.open("rb") as file:
            while left:
                chunk = torch.frombuffer(bytearray(file.read(min(left, CHUNK))), dtype=torch.uint8)
                self._broadcast(chunk)
                left -= len(chunk)

    def receive_file(self, size: int, path: Path) -> None:
        with path.open("wb") as file:
            while size:
                chunk = torch.empty(min(size, CHUNK), dtype=torch.uint8)
                self._broadcast(chunk)
                file.write(chunk.numpy().data)
                size -= len(chunk)

    def leave(self) -> None:
        """The others hear of it when they speak or listen next."""
        if self._group is not None:
            dist.destroy_process_group(self._group)
        self._group = None  # its connections close with the last reference

    def _broadcast(self, tensor: torch.Tensor) -> None:
        if self._group is None:
            raise SwarmError("this training session is over: its last merged model could not be used")
        try:
            dist.broadcast(tensor, src=0, group=self._group)
        except RuntimeError as error:
            raise SwarmError(f"another rank of this training has failed or ended ({error})") from error


class Speaker:
    """On rank 0: the session with the SL node, shared with the others."""

    def __init__(self, connect: Callable[[], Exchanges], channel: Channel) -> None:
        self._channel = channel
        with self._failures_told():
            self._session = connect()
        channel.say(Answer())

    @property
    def over(self) -> bool:
        return self._session.over

    def sync(self, tensors: Mapping[str, Tensor], on_merged: OnMerged) -> tuple[int, bool]:
        with self._failures_told():
            interval, over = self._session.sync(tensors, self._shared(on_merged))
        self._channel.say(Answer(interval, over))
        return interval, over

    def close(self, tensors: Mapping[str, Tensor], on_merged: OnMerged) -> None:
        with self._failures_told():
            self._session.close(tensors, self._shared(on_merged))
        self._channel.say(Answer())

    def kill(self, ok: bool, message: str) -> None:
        self._session.kill(ok, message)

    def progress(self, pace: Pace) -> None:
        self._session.progress(pace)

    def _shared(self, on_merged: OnMerged) -> OnMerged:
        def share(path: Path) -> Evaluation:
            self._channel.send_file(path)
            return on_merged(path)

        return share

    @contextmanager
    def _failures_told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            with suppress(SwarmError):  # a rank that has failed as well does not listen any more
                self._channel.say(Failure(str(error)))
            raise


class Listener:
    """On all other ranks: follows the session of rank 0."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._follow(None)

    @property
    def over(self) -> bool:
        """Rank 0 says when it was left open."""
        return True

    def sync(self, tensors: Mapping[str, Tensor], on_merged: OnMerged) -> tuple[int, bool]:
        answer = self._follow(on_merged)
        return answer.interval, answer.training_over

    def close(self, tensors: Mapping[str, Tensor], on_merged: OnMerged) -> None:
        self._follow(on_merged)

    def kill(self, ok: bool, message: str) -> None:
        """Rank 0 tells the SL node."""

    def progress(self, pace: Pace) -> None:
        """Rank 0 tells the SL node."""

    def _follow(self, on_merged: OnMerged | None) -> Answer:
        with tempfile.TemporaryDirectory(prefix="swarm-") as directory:
            path = Path(directory, "merged.safetensors")
            while True:
                match self._channel.hear():
                    case Model(size=size) if on_merged is not None:
                        self._channel.receive_file(size, path)
                        self._load(path, on_merged)
                    case Answer() as answer:
                        return answer
                    case Failure(text=text):
                        raise SwarmError(f"rank 0: {text}")

    def _load(self, path: Path, on_merged: OnMerged) -> None:
        try:
            on_merged(path)
        except Exception as error:
            self._channel.leave()  # else rank 0 would wait for this one
            raise SwarmError(f"the merged model could not be loaded and evaluated: {error}") from error
