"""What an SL reads from its training script, and what comes as a model."""

import os
import pickle
import tempfile
from pathlib import Path

import numpy as np

from fuzz.target import Target
from swarmlearning.bridge import messages, wire
from swarmlearning.bridge.errors import LostTrack, Unusable
from swarmlearning.bridge.weights import model_from_message, model_from_pickle, model_to_message
from swarmlearning.channel import framing
from swarmlearning.channel.framing import LENGTH, ChannelError
from swarmlearning.channel.messages import Evaluated, Kill, Open, TensorSpec, Waiting
from swarmlearning.tensors import file as tensor_file
from swarmlearning.tensors.file import Array, Tensor, TensorFileError

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""A file system in memory, where there is one: files are written for each input."""
_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-", dir=os.environ.get("TMPDIR", MEMORY))
_GIVEN, _MADE = Path(_FOLDER.name) / "given", Path(_FOLDER.name) / "made"

_ARRAYS = {
    "w": np.arange(6, dtype=np.float32).reshape(2, 3),
    "n": np.array(1),
    "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "b": np.array([True, False]),
}
_HEADER_SIZE = 22


def _read_channel(data: bytes) -> None:
    """A frame from either side."""
    if len(data) >= LENGTH.size:
        framing.body_length(data[: LENGTH.size])
    for decode in (framing.decode_from_ml, framing.decode_from_sl):
        try:
            decode(data[LENGTH.size :])
        except ChannelError:
            pass


def _read_bridge(data: bytes) -> None:
    """A header of the original's protocol, and what follows it."""
    header = messages.read_header(data[:_HEADER_SIZE].ljust(_HEADER_SIZE, b"\0"))
    messages.decode(header.type, data[_HEADER_SIZE:])


def _read_message(data: bytes) -> None:
    """A body as one of each type."""
    for kind in messages.Type:
        try:
            messages.decode(kind, data)
        except Unusable:
            pass


def _read_weights(data: bytes) -> None:
    model_from_message(memoryview(data), _MADE)


def _read_pickle(data: bytes) -> None:
    _GIVEN.write_bytes(data)
    with _GIVEN.open("rb") as file:
        model_from_pickle(file, _MADE)


def _read_model(data: bytes) -> None:
    _GIVEN.write_bytes(data)
    tensor_file.read_header(_GIVEN)
    tensor_file.read(_GIVEN)


def _model(arrays: dict[str, Array]) -> bytes:
    tensor_file.write(_MADE, {name: Tensor.of(array, name) for name, array in arrays.items()})
    return _MADE.read_bytes()


_FRAMES = tuple(
    framing.encode(message)
    for message in (
        Open("c", 128, 2, "mean", "snapshot", 1, True, 3, "PYTORCH", (TensorSpec("w", "F32", (2, 3), "buffer"),)),
        Evaluated("s", 1, 0.5, None, 1, 3),
        Kill("s", False, "why"),
        Waiting("why"),
    )
)
_SYNC = wire.text(1, "s1") + wire.integer(2, 3) + wire.integer(3, 1) + wire.text(5, "trained_weights.pkl")
_OPEN = wire.integer(1, 128) + wire.integer(2, 2) + wire.text(5, "snapshot") + wire.text(7, "con")
_BODIES = {
    messages.Type.SYNC_REQUEST: _SYNC,
    messages.Type.OPEN_REQUEST: _OPEN,
    messages.Type.KILL_REQUEST: wire.text(1, "s1") + wire.data(2, wire.integer(1, 2) + wire.text(2, "why")),
}
_MODELS = (_model(_ARRAYS), _model({}), _model({"a": np.zeros((0, 3), np.uint8), "é": np.ones(2)}))
_model(_ARRAYS)
_WEIGHTS = b"".join(model_to_message(_MADE, list(_ARRAYS)))

TARGETS = (
    Target("channel", _read_channel, (ChannelError,), _FRAMES),
    Target(
        "bridge",
        _read_bridge,
        (LostTrack, Unusable),
        tuple(messages.framed(kind, body) for kind, body in _BODIES.items()),
    ),
    Target("bridge-message", _read_message, (), tuple(_BODIES.values())),
    Target("bridge-weights", _read_weights, (Unusable,), (_WEIGHTS, wire.data(1, wire.text(1, "w")))),
    Target(
        "bridge-pickle",
        _read_pickle,
        (Unusable,),
        tuple(pickle.dumps(_ARRAYS, protocol) for protocol in (3, 4, 5)),
    ),
    Target("model", _read_model, (TensorFileError,), _MODELS),
)
