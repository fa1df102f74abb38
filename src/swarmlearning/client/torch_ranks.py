"""Several processes that train one model (DistributedDataParallel) are one site: rank 0 is connected to the SL node.

Each exchange begins with all ranks comparing which one it is: a rank that is somewhere else, because hooks are not
called equally often everywhere, ends the exchange for all before anything of it can be mistaken for another's. Then
rank 0 passes on to the others what it receives: each merged model, which they load and evaluate at the same time, and
the answer or the failure that ends the exchange. While it waits for other sites it keeps signalling.

It does so in a process group of its own over gloo, because NCCL moves nothing that is not on a GPU. No rank waits there
longer than `SWARM_RANK_SECONDS` for a rank that does not come.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Final, TypeAlias

import msgspec
import torch
import torch.distributed as dist

from swarmlearning.client import environment
from swarmlearning.client.errors import SwarmError
from swarmlearning.client.pace import Pace
from swarmlearning.client.session import Evaluation, Exchanges, OnIdle, OnMerged
from swarmlearning.tensors.file import Tensor

PATIENCE: Final = 300.0  # seconds that ranks may be apart
SIGNALS: Final = 10  # of rank 0 within that time, while it waits for other sites
CHUNK: Final = 64 * 2**20  # bytes sent at a time
END: Final = -1  # the exchange in on_train_end; syncs are numbered from 1
EVENLY: Final = (
    "All ranks have to call every hook equally often: give them equally many batches (DistributedSampler with "
    "drop_last=True). model.join() covers batches, not hooks"
)

Connect: TypeAlias = Callable[[OnIdle], Exchanges]


class Model(msgspec.Struct, frozen=True, tag=True):
    """A merged model follows, a file of `size` bytes."""

    size: int


class Waiting(msgspec.Struct, frozen=True, tag=True):
    """Rank 0 is alive and waits for the SL node."""


class Answer(msgspec.Struct, frozen=True, tag=True):
    """The exchange is at its end; what `sync` returns."""

    interval: int = 0
    training_over: bool = False


class Failure(msgspec.Struct, frozen=True, tag=True):
    """The exchange failed."""

    text: str


Message: TypeAlias = Model | Waiting | Answer | Failure
_DECODER = msgspec.json.Decoder(Model | Waiting | Answer | Failure)


def for_this_rank(connect: Connect) -> Exchanges:
    """Returns the session of this process, which `connect` opens; several ranks share that of rank 0.

    With several ranks, all of them have to call this. Raises `SwarmError` on each when rank 0 cannot connect.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return connect(lambda: None)
    channel = Channel(environment.seconds(environment.RANKS, PATIENCE))
    return Leader(connect, channel) if dist.get_rank() == 0 else Follower(channel)


class Channel:
    """Messages and files from rank 0 to all others. Raises `SwarmError` when a rank is missing or somewhere else."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._group: dist.ProcessGroup | None = dist.new_group(backend="gloo", timeout=timedelta(seconds=patience))

    def meet(self, exchange: int) -> None:
        """Returns once all ranks begin this exchange."""
        here = torch.tensor([exchange])
        found = [torch.empty_like(here) for _ in range(dist.get_world_size())]
        with self._failures_end_it():
            dist.monitored_barrier(self._group, timedelta(seconds=self.patience), wait_all_ranks=True)
            dist.all_gather(found, here, self._group)
        exchanges = [int(each) for each in found]
        if len(set(exchanges)) > 1:
            self.leave()
            places = ", ".join(f"rank {rank} is at {_place(each)}" for rank, each in _first_of_each(exchanges))
            raise SwarmError(f"the ranks of this training are not at the same place: {places}. {EVENLY}")

    def send(self, message: Message) -> None:
        """Sends a message to all other ranks."""
        encoded = torch.frombuffer(bytearray(msgspec.json.encode(message)), dtype=torch.uint8)
        self._broadcast(torch.tensor([len(encoded)]))
        self._broadcast(encoded)

    def receive(self) -> Message:
        """Waits for the next message of rank 0."""
        length = torch.zeros(1, dtype=torch.int64)
        self._broadcast(length)
        encoded = torch.empty(int(length), dtype=torch.uint8)
        self._broadcast(encoded)
        message: Message = _DECODER.decode(encoded.numpy().tobytes())
        return message

    def send_file(self, path: Path) -> None:
        """Sends its size and the file."""
        left = path.stat().st_size
        self.send(Model(left))
        with path.open("rb") as file:
            while left:
                chunk = torch.frombuffer(bytearray(file.read(min(left, CHUNK))), dtype=torch.uint8)
                self._broadcast(chunk)
                left -= len(chunk)

    def receive_file(self, size: int, path: Path) -> None:
        """Writes the file that follows."""
        with path.open("wb") as file:
            while size:
                chunk = torch.empty(min(size, CHUNK), dtype=torch.uint8)
                self._broadcast(chunk)
                file.write(chunk.numpy().data)
                size -= len(chunk)

    def leave(self) -> None:
        """Closes the channel; the others notice it at their next message."""
        if self._group is not None:
            dist.destroy_process_group(self._group)
        self._group = None  # its connections close with the last reference

    def _broadcast(self, tensor: torch.Tensor) -> None:
        with self._failures_end_it():
            dist.broadcast(tensor, src=0, group=self._group)

    @contextmanager
    def _failures_end_it(self) -> Iterator[None]:
        if self._group is None:
            raise SwarmError("this training session is over: an exchange between its ranks has failed before")
        try:
            yield
        except RuntimeError as error:
            self.leave()  # the next message would be mistaken for another
            raise SwarmError(
                f"another rank of this training has failed, has ended, or did not come within {self.patience:.0f} s "
                f"({' '.join(str(error).split())}). {EVENLY}"
            ) from error


class Leader:
    """On rank 0: the session with the SL node, shared with the others."""

    def __init__(self, connect: Connect, channel: Channel) -> None:
        self._channel = channel
        self._syncs = 0
        self._signalled = monotonic()
        with self._failures_shared():
            self._session = connect(self._signal)
        channel.send(Answer())

    @property
    def over(self) -> bool:
        return self._session.over

    def sync(self, tensors: Mapping[str, Tensor], on_merged: OnMerged) -> tuple[int, bool]:
        self._syncs += 1
        self._meet(self._syncs)
        with self._failures_shared():
            interval, over = self._session.sync(tensors, self._shared(on_merged))
        self._channel.send(Answer(interval, over))
        return interval, over

    def close(self, tensors: Mapping[str, Tensor], on_merged: OnMerged) -> None:
        self._meet(END)
        with self._failures_shared():
            self._session.close(tensors, self._shared(on_merged))
        self._channel.send(Answer())

    def kill(self, ok: bool, message: str) -> None:
        self._session.kill(ok, message)

    def progress(self, pace: Pace) -> None:
        self._session.progress(pace)

    def _meet(self, exchange: int) -> None:
        """Begins the exchange with all ranks. Without them nothing is requested; the SL node learns of the failure."""
        try:
            self._channel.meet(exchange)
        except SwarmError as error:
            with suppress(SwarmError):  # it is over already, or the SL has left
                self._session.kill(ok=False, message=str(error))
            raise
        self._signalled = monotonic()

    def _signal(self) -> None:
        """Signals to the others that rank 0 is alive although the SL node sends nothing."""
        if monotonic() - self._signalled >= self._channel.patience / SIGNALS:
            self._channel.send(Waiting())
            self._signalled = monotonic()

    def _shared(self, on_merged: OnMerged) -> OnMerged:
        def share(path: Path) -> Evaluation:
            self._channel.send_file(path)
            return on_merged(path)

        return share

    @contextmanager
    def _failures_shared(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            with suppress(SwarmError):  # a rank that has failed as well no longer receives
                self._channel.send(Failure(str(error)))
            raise


class Follower:
    """On all other ranks: follows the session of rank 0."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._syncs = 0
        self._follow(None)

    @property
    def over(self) -> bool:
        """Always True: rank 0 reports a session that was left open."""
        return True

    def sync(self, tensors: Mapping[str, Tensor], on_merged: OnMerged) -> tuple[int, bool]:
        self._syncs += 1
        self._channel.meet(self._syncs)
        answer = self._follow(on_merged)
        return answer.interval, answer.training_over

    def close(self, tensors: Mapping[str, Tensor], on_merged: OnMerged) -> None:
        self._channel.meet(END)
        self._follow(on_merged)

    def kill(self, ok: bool, message: str) -> None:
        """Rank 0 informs the SL node."""

    def progress(self, pace: Pace) -> None:
        """Rank 0 informs the SL node."""

    def _follow(self, on_merged: OnMerged | None) -> Answer:
        with tempfile.TemporaryDirectory(prefix="swarm-") as directory:
            path = Path(directory, "merged.safetensors")
            while True:
                match self._channel.receive():
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


def _place(exchange: int) -> str:
    return "on_train_end" if exchange == END else f"sync {exchange}"


def _first_of_each(exchanges: list[int]) -> list[tuple[int, int]]:
    """Returns the first rank at each place, with the place."""
    return sorted({place: (exchanges.index(place), place) for place in exchanges}.values())
