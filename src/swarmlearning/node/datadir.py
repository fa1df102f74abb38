"""A node's data directory: its identity across restarts, and the lock that keeps out a second process.

`node.json` holds the UID (made once), the incarnation (raised by every start) and the hash of the network's genesis
with the network's name (pinned at the first contact, or expected from the start where an operator names it), and the
SNs' addresses, for a start while the SN that an operator named is gone. A lock file keeps a second process out.
"""

import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from filelock import FileLock, Timeout

from swarmlearning.files import replace_file
from swarmlearning.ledger.fields import is_uuid
from swarmlearning.node.errors import NodeError

FILE = "node.json"
MAX_SNS = 64
"""Addresses of SNs that are kept."""


class InUseError(NodeError):
    """Another process has the data directory."""


class NodeRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `node.json` holds; without a node ever started there, nothing."""

    uid: str
    incarnation: int
    network: str
    network_name: str
    sns: tuple[str, ...] = ()


_NOTHING = NodeRecord(uid="", incarnation=0, network="", network_name="")


class DataDirectory:
    """Use as a context manager: the lock is held inside."""

    def __init__(self, path: Path, network_id: str = "", uid: str = "") -> None:
        """Makes the directory when missing; `network_id`: the only network to accept, where it is known before the
        first contact; `uid`: this node's UID, where whoever starts it has chosen one. Raises `NodeError` when the
        directory cannot be used."""
        self.path = path
        if uid and not is_uuid(uid):
            raise NodeError(f"{uid!r} was given to this node as its UID: that has to be a UUID")
        self._given = uid
        self._expected = network_id
        self._file = path / FILE
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise NodeError(f"{path}: cannot make the data directory: {error.strerror}") from error
        self._lock = FileLock(path / "lock")
        self._record = _NOTHING

    def __enter__(self) -> Self:
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise InUseError(
                f"{self.path}: another process of this node is running; stop it, or give this one another --data-dir"
            ) from error
        except OSError as error:
            raise NodeError(f"{self.path}: cannot lock the data directory: {error.strerror}") from error
        known = _read(self._file)
        if self._expected and known.network and known.network != self._expected:
            self._lock.release()
            raise NodeError(
                f"--network-id names network {self._expected}, but this node belongs to network "
                f"{known.network_name!r}, {known.network}: {self._how_to_leave}"
            )
        if self._given and known.uid not in ("", self._given):
            self._lock.release()
            raise NodeError(
                f"{self.path} is the data directory of node {known.uid}, and this one is to be {self._given}: use "
                "another --data-dir"
            )
        uid = known.uid or self._given or str(uuid.uuid4())
        self._write(msgspec.structs.replace(known, uid=uid, incarnation=known.incarnation + 1))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    @property
    def uid(self) -> str:
        """This node's UID."""
        return self._record.uid

    @property
    def incarnation(self) -> int:
        """The number of this start of the node, from 1."""
        return self._record.incarnation

    @property
    def network(self) -> str:
        """The pinned genesis hash, empty before the first contact."""
        return self._record.network

    @property
    def sns(self) -> tuple[str, ...]:
        """The addresses of the network's SNs when this node ran last."""
        return self._record.sns

    def remember(self, sns: Sequence[str]) -> None:
        """Keeps the addresses of the network's SNs. Raises `NodeError` when the file cannot be written."""
        kept = tuple(sns[:MAX_SNS])
        if kept != self._record.sns:
            self._write(msgspec.structs.replace(self._record, sns=kept))

    def require(self, network: str, name: str) -> None:
        """Raises `NodeError` when this node belongs to another network than this one, or is to join another one."""
        if self.network and self.network != network:
            raise NodeError(
                f"this node belongs to network {self._record.network_name!r}, {self.network}, but found network "
                f"{name!r}, {network}: connect to an SN of its own network, or {self._how_to_leave}"
            )
        if self._expected and self._expected != network:
            raise NodeError(
                f"--network-id names network {self._expected}, but found network {name!r}, {network}: connect to an "
                "SN of the one named, or correct the option (`swarm sn` and `swarm status` print a network's ID)"
            )

    def pin(self, network: str, name: str) -> None:
        """Pins the network. Raises `NodeError` as `require` does."""
        self.require(network, name)
        if not self.network:
            self._write(msgspec.structs.replace(self._record, network=network, network_name=name))

    @property
    def _how_to_leave(self) -> str:
        return f"use another --data-dir; where the old network is gone for good, delete {self._file}, which pins it"

    def _write(self, record: NodeRecord) -> None:
        """Writes atomically and durably: an incarnation must never be used twice."""
        write_record(self.path, record)
        self._record = record


def uid_of(path: Path) -> str:
    """The UID of the node that has run in this data directory, empty if none has. Raises `NodeError`."""
    return read_record(path).uid


def read_record(path: Path) -> NodeRecord:
    """What the data directory of a node says of it. Raises `NodeError`."""
    return _read(path / FILE)


def write_record(path: Path, record: NodeRecord) -> None:
    """Replaces that of a data directory in which no node is at work. Raises `NodeError`."""
    try:
        replace_file(path / FILE, msgspec.json.encode(record))
    except OSError as error:
        raise NodeError(f"{path / FILE}: cannot be written: {error.strerror}") from error


def _read(file: Path) -> NodeRecord:
    """What the file holds; a record without UID if there is none. Raises `NodeError`."""
    try:
        record = msgspec.json.decode(file.read_bytes(), type=NodeRecord)
    except FileNotFoundError:
        return _NOTHING
    except (OSError, msgspec.DecodeError) as error:
        raise NodeError(f"{file}: cannot be read ({error}); restore it, or use another --data-dir") from error
    if not is_uuid(record.uid):
        raise NodeError(f"{file}: {record.uid!r} is no UUID; restore the file, or use another --data-dir")
    return record
