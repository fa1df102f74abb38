"""The original's client (release 2.3, and 2.1 with weights in the message), as its protocol is specified.

Written from the specification alone: it imports nothing of this project, so that it cannot share a misunderstanding
with what it tests. `Client` is the protocol; as a script it is a training: `python original_client.py --rounds 3 …`,
with the channels in `SL_REQUEST_CHANNEL` and `SL_RESPONSE_CHANNEL`. It prints the digest of the model it ends with.
"""

import argparse
import hashlib
import json
import math
import os
import pickle
import stat
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]
OnMerged = Callable[[Arrays], tuple[float, float, int, int]]
TYPES = {"status": 1, "open": 2, "opened": 3, "close": 4, "closed": 5, "sync": 6, "synced": 7, "ask": 8, "loss": 9}
KILL = 10


class SwarmError(Exception):
    """The exception that the client raises."""


class Client:
    """One session. `in_message`: the dialect of releases 2.1 and 2.2. `folder` is built into the real one."""

    def __init__(self, request: Path, response: Path, folder: Path, in_message: bool = False) -> None:
        self.folder = folder
        self.in_message = in_message
        self.version = 2
        self.session = ""
        self.counts = {"sync": 0, "close": 0}
        self.merges = 0
        for path in (request, response):
            while not path.exists():
                time.sleep(0.1)  # the original looks once a second
            if not stat.S_ISFIFO(path.stat().st_mode):
                raise SwarmError(f"{path}: cannot create pipe")
        for name in ("trained_weights.pkl", "merged_weights.pkl"):
            if not (folder / name).is_file():
                raise SwarmError(f"{folder / name}: cannot create file")
        self.response: BinaryIO = response.open("rb")
        self.request: BinaryIO = request.open("wb")

    def open(self, **values: Any) -> str:
        """Opens the session; the values are those of the first message."""
        given: dict[str, Any] = {
            "interval": 4, "peers": 2, "adaptive": False, "checkin": "snapshot", "weightage": 1,
            "contract": "defaultbb.cqdb.sml.hpe", "method": "mean", **values,
        }  # fmt: skip
        self.send(
            TYPES["open"],
            number(1, given["interval"]) + number(2, given["peers"]) + number(4, given["adaptive"])
            + text(5, given["checkin"]) + number(6, given["weightage"]) + text(7, given["contract"])
            + text(8, given["method"]),
        )  # fmt: skip
        kind, body = self.receive()
        if kind != TYPES["opened"]:
            raise SwarmError(f"open-session: bad response: wanted SessionResponse, got {kind}")
        check(body[1])
        self.session = body[2].decode()
        return self.session

    def sync(self, arrays: Arrays, on_merged: OnMerged, weightage: int = 1) -> tuple[int, bool]:
        """The batches until the next sync, and whether training is over."""
        answer = self.hand_over("sync", arrays, on_merged, weightage)
        return int(answer.get(4, 0)), bool(answer.get(5, 0))

    def close(self, arrays: Arrays, on_merged: OnMerged, weightage: int = 1) -> None:
        self.hand_over("close", arrays, on_merged, weightage)

    def hand_over(self, kind: str, arrays: Arrays, on_merged: OnMerged, weightage: int) -> dict[int, Any]:
        self.ask(kind, self.weights(arrays), weightage)
        return self.answered(kind, on_merged)

    def ask(self, kind: str, weights: bytes, weightage: int = 1) -> None:
        self.counts[kind] += 1
        head = text(1, self.session) + number(2, self.counts[kind]) + number(3, weightage) + number(4, 1)
        self.send(TYPES[kind], head + data(5, weights))

    def answered(self, kind: str, on_merged: OnMerged) -> dict[int, Any]:
        """Serves the SL until its answer."""
        while True:
            received, body = self.receive()
            if received == TYPES["ask"]:
                self.evaluate(kind, body, on_merged)
                continue
            if received != TYPES[kind] + 1:
                raise SwarmError(f"{kind}: bad response: got {received}")
            check(body[3])
            if body[2] != self.counts[kind]:
                raise SwarmError("bad sync seq num")
            return body

    def evaluate(self, kind: str, asked: dict[int, Any], on_merged: OnMerged) -> None:
        head = data(1, asked[1]) + number(2, asked[2]) + number(3, asked[3])
        try:
            if (asked[1].decode(), asked[2]) != (self.session, self.counts[kind]):
                raise ValueError("another session or request")
            loss, metric, epochs, total = on_merged(self.merged(asked[4]))
            self.merges += 1
        except Exception as error:
            reason = number(1, 2) + text(2, f"Loss computation failed. {error}")
            self.send(TYPES["loss"], head + data(4, reason) + real(5, -1))
            raise SwarmError(str(error)) from error
        outcome = data(4, text(2, "StatusOK"))
        self.send(
            TYPES["loss"], head + outcome + real(5, loss) + real(6, metric) + number(7, epochs) + number(8, total)
        )

    def kill(self) -> None:
        """Leaves; there is no answer."""
        why = "Swarm training is over before local training. Exit gracefully."
        self.send(KILL, text(1, self.session) + data(2, text(2, why)))

    def leave(self) -> None:
        """Closes the pipes, as the end of the process does."""
        self.request.close()
        self.response.close()

    # --- weights

    def weights(self, arrays: Arrays) -> bytes:
        """Returns them as the request states them."""
        if self.in_message:
            return b"".join(data(1, text(1, name) + data(2, nd_array(array))) for name, array in sorted(arrays.items()))
        with (self.folder / "trained_weights.pkl").open("wb", buffering=4 * 2**20) as file:
            pickle.dump(dict(arrays), file, protocol=5)
        return b"trained_weights.pkl"

    def merged(self, field: bytes) -> Arrays:
        if not self.in_message:
            with (self.folder / field.decode()).open("rb") as file:
                loaded: Arrays = pickle.load(file)  # noqa: S301 - as the original does
            return loaded
        arrays = {}
        for number_, entry in pairs(field):
            assert number_ == 1
            named = dict(pairs(entry))
            parts = dict(pairs(named[2]))
            shape = list(varints(parts.get(2, b"")))
            dtype = np.dtype(parts[1].decode().removeprefix("dtype('").removesuffix("')"))
            arrays[named[1].decode()] = np.frombuffer(parts.get(3, b""), dtype).reshape(shape)
        return arrays

    # --- messages

    def send(self, kind: int, body: bytes) -> None:
        self.request.write(header(kind, len(body), self.version) + body)
        self.request.flush()

    def receive(self) -> tuple[int, dict[int, Any]]:
        """Its type, and its fields by number. A bare Status is an error."""
        head = self.read(22)
        if head[:3] != b"\x0a\x0a\x0d" or (head[7], head[12], head[17]) != (0x15, 0x15, 0x1D):
            raise SwarmError(f"not a header: {head.hex()}")
        version, _, kind, size = (struct.unpack_from("<I", head, at)[0] for at in (3, 8, 13, 18))
        if version != 2:
            raise SwarmError(f"Mismatch in the Swarm API version: {version}")
        fields = dict(pairs(self.read(size)))
        if kind == TYPES["status"]:
            raise SwarmError(f"SL error: {fields.get(1, 0)} {fields[2].decode()}")
        return kind, fields

    def read(self, count: int) -> bytes:
        found = self.response.read(count)
        if len(found) < count:
            raise SwarmError(f"wanted: {count} bytes, got {len(found)} bytes: pipe closed?")
        return found


# --- the encoding


def header(kind: int, size: int, version: int = 2) -> bytes:
    return struct.pack("<2sBIBIBIBI", b"\x0a\x0a", 0x0D, version, 0x15, version, 0x15, kind, 0x1D, size)


def varint(value: int) -> bytes:
    if value < 0x80:
        return bytes([value])
    return bytes([value & 0x7F | 0x80]) + varint(value >> 7)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value) if value else b""


def real(field: int, value: float) -> bytes:
    return varint(field << 3 | 5) + struct.pack("<f", value) if value else b""


def data(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def text(field: int, value: str) -> bytes:
    return data(field, value.encode()) if value else b""


def nd_array(array: np.ndarray[Any, np.dtype[Any]]) -> bytes:
    shape = b"".join(varint(length) for length in array.shape)
    return text(1, repr(array.dtype)) + (data(2, shape) if shape else b"") + data(3, array.tobytes("C"))


def varints(encoded: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in encoded:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0


def pairs(message: bytes) -> Iterator[tuple[int, Any]]:
    at = 0

    def take_varint() -> int:
        nonlocal at
        start = at
        while message[at] >= 0x80:
            at += 1
        at += 1
        return next(varints(message[start:at]))

    while at < len(message):
        key = take_varint()
        if key & 7 == 0:
            yield key >> 3, take_varint()
        elif key & 7 == 5:
            yield key >> 3, struct.unpack_from("<f", message, at)[0]
            at += 4
        else:
            assert key & 7 == 2
            length = take_varint()
            yield key >> 3, message[at : at + length]
            at += length


def check(status: bytes) -> None:
    """Raises for any status but OK."""
    fields = dict(pairs(status))
    if fields.get(1, 0):
        raise SwarmError(f"SL error: {fields.get(2, b'').decode()} ({fields[1]})")


def as_tensor(array: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
    """Returns `torch.Tensor(array)`, with which that library loads: always float32.

    PyTorch takes an integer of no dimension for a size, and gives so many uninitialised values.
    """
    if array.shape == () and array.dtype.kind in "iu":
        return np.full(max(0, int(array)), np.nan, np.float32)
    return array.astype(np.float32)


# --- a training


def main() -> None:
    options = _options()
    model: Arrays = {name: np.zeros(shape, dtype) for name, dtype, shape in json.loads(options.structure)}
    noise = np.random.default_rng(options.index)
    client = Client(
        Path(os.environ["SL_REQUEST_CHANNEL"]),
        Path(os.environ["SL_RESPONSE_CHANNEL"]),
        options.folder,
        options.in_message,
    )

    def load(merged: Arrays) -> tuple[float, float, int, int]:
        if merged.keys() != model.keys():
            raise ValueError("other names")
        for name, array in merged.items():
            tensor = as_tensor(array)
            if tensor.shape != model[name].shape:
                raise ValueError(f"{name}: a tensor of shape {tensor.shape}")
            model[name][...] = tensor
        return float(np.mean([np.abs(array).mean() for array in model.values()])), 0.5, rounds, options.rounds

    rounds = 0
    client.open(peers=options.min_peers, checkin=options.checkin)
    over = False
    for rounds in range(options.rounds):
        if rounds in options.hold_at:
            if options.arrived:
                options.arrived.write_bytes(b".")
            with options.gate.open("rb", buffering=0) as gate:
                gate.read(1)
        for array in model.values():
            array += noise.integers(1, 100, array.shape).astype(array.dtype)
        interval, over = client.sync(model, load)
        assert interval >= 1 or over
        print(f"SYNC {rounds + 1}", flush=True)
        if over:
            client.kill()
            break
    if not over:
        client.close(model, load)
    print("MERGES", client.merges)
    print("DIGEST", hashlib.sha256(b"".join(model[name].tobytes() for name in sorted(model))).hexdigest(), flush=True)
    assert all(math.isfinite(float(np.sum(array))) for array in model.values())


STRUCTURE = json.dumps([["layer.weight", "float32", [16, 8]], ["layer.bias", "float32", [8]], ["steps", "int64", []]])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--index", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--min-peers", type=int, default=2)
    parser.add_argument("--checkin", default="snapshot")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--in-message", action="store_true")
    parser.add_argument("--structure", default=STRUCTURE)
    parser.add_argument("--gate", type=Path)
    parser.add_argument("--arrived", type=Path)
    parser.add_argument("--hold-at", type=int, action="append", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except SwarmError as error:
        sys.exit(f"SwarmError: {error}")
