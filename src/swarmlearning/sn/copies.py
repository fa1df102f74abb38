"""Backups of an SN: a verified copy of its chain and of what else it needs to start again, and the SN made of one.

A backup is a folder that looks like the data directory that it is a copy of, so that `swarm ledger verify`, `show` and
`swarm report` read it as it is:

    backup.json      whose it is, and its head (`Manifest`); written last
    chain.sqlite     every block, each verified before it was written
    checkpoint       the state after the last one, from which the next backup goes on
    node.json        the SN's UID and network
    sealed, objection    what the SN has signed last

The keys are not in it: they stay where their owner keeps them, or a certificate is issued anew.
"""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from swarmlearning.files import make_private, replace_file, whole_folder
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.checkpoint import is_head
from swarmlearning.ledger.fields import Count, Digest
from swarmlearning.ledger.history import BrokenChainError, Replay
from swarmlearning.node.checkpoints import BASE_FILE, Checkpoints, read_signed
from swarmlearning.node.datadir import NodeRecord, read_record, write_record
from swarmlearning.node.errors import NodeError
from swarmlearning.ordering.local import ChainWriter, extent, iterate_chain_file
from swarmlearning.ordering.protocols import OrderingError
from swarmlearning.sn.holding import OBJECTION_FILE
from swarmlearning.sn.node import CHAIN_FILE
from swarmlearning.sn.sealing import SEALED_FILE
from swarmlearning.views.names import displayed

MANIFEST = "backup.json"
SIGNED_LAST = (SEALED_FILE, OBJECTION_FILE)
STARTS = 100_000
"""A restored SN counts its starts from so many later on: it may have been started since the backup, and a number must
not come twice. The ledger lets it grow by ten times as much."""
STEP = 1000
"""Blocks between two reports of progress."""

Progress = Callable[[int], None]
"""Called now and then with the height that has been reached."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose backup it is, and the chain's head, with the hash of the state after it. `height` -1: it was begun."""

    format: int
    network: Digest
    network_name: str
    uid: str
    height: int
    hash: str
    state: str
    time_ms: Count

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """That of a backup; None where there is none. Raises `NodeError` naming the file."""
        file = folder / MANIFEST
        try:
            found = msgspec.json.decode(file.read_bytes(), type=cls)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise NodeError(f"{file}: no manifest of a backup ({error})") from error
        if found.format != 1:
            raise NodeError(f"{file}: format {found.format}; this release knows 1. Use a newer release")
        return found

    def write(self, folder: Path) -> None:
        """Replaces the file. Raises `OSError`."""
        replace_file(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(self)) + b"\n")


class BackedUp(NamedTuple):
    """The outcome: the manifest, how many blocks were there already, and how many came."""

    manifest: Manifest
    kept: int
    added: int


def back_up(source: Path, target: Path, progress: Progress = lambda height: None) -> BackedUp:
    """Copies the SN of the data directory `source`, which may be at work, into `target`; goes on with a backup there.

    Every block is verified before it is written. Raises `NodeError` or `OrderingError` naming what is wrong.
    """
    record = read_record(source)
    if not (record.uid and (source / CHAIN_FILE).is_file()):
        raise NodeError(f"{source}: no data directory of an SN that has worked (no node.json with {CHAIN_FILE})")
    earlier = Manifest.read(target) if target.exists() else None
    if earlier is None and target.exists() and any(target.iterdir()):
        raise NodeError(f"{target} is not empty, and no backup: name a new folder, or that of an earlier backup")
    if earlier is not None and (earlier.uid, earlier.network) != (record.uid, record.network):
        raise NodeError(
            f"{target} is the backup of another SN: of {earlier.uid} of network {displayed(earlier.network_name)} "
            f"({earlier.network[:16]}), not of {record.uid} of {displayed(record.network_name)} ({record.network[:16]})"
        )
    try:
        make_private(target)
        signed = {name: (source / name).read_bytes() for name in SIGNED_LAST if (source / name).is_file()}
        begun = Manifest(1, record.network, record.network_name, record.uid, -1, "", "", 0)
        if earlier is None:
            begun.write(target)
        start = _end_of(target) or _begin_at(source, target, record.network)
        chain = _copy(source / CHAIN_FILE, target / CHAIN_FILE, start, progress)
        if chain.network_id != record.network:
            raise NodeError(
                f"{source}: its chain is that of network {chain.network_id[:16]}, not {record.network[:16]}"
            )
        for name, data in signed.items():  # read before the chain, so that none is of a block beyond the next
            replace_file(target / name, data)
        write_record(target, record)
        Checkpoints(target).write(chain)
        state = chain.world.state_hash()
        done = msgspec.structs.replace(begun, height=chain.height, hash=chain.hash, state=state, time_ms=chain.time_ms)
        done.write(target)
    except OSError as error:
        raise NodeError(f"{error.filename or target}: {error.strerror}. The backup is not complete") from error
    return BackedUp(done, start.height + 1, chain.height - start.height)


def _begin_at(source: Path, target: Path, network_id: str) -> Chain:
    """The state from which a backup begins: that of the SN's base where it has given up the blocks before."""
    base = Checkpoints(source).base(network_id)
    if base is None:
        return Chain()
    replace_file(target / BASE_FILE, (source / BASE_FILE).read_bytes())
    first = min(base.hashes)
    with ChainWriter(target / CHAIN_FILE) as writer:
        for height, raw in enumerate(read_signed(source / BASE_FILE).blocks, first):
            writer.add(height, raw)
    return base


def _end_of(folder: Path) -> Chain | None:
    """The state from which a backup goes on: that of its checkpoint if it is the head of a block there, else none."""
    file = folder / CHAIN_FILE
    chain = Checkpoints(folder).read_any() if file.is_file() else None
    if chain is not None:
        head = next(iterate_chain_file(file, chain.height), b"") if chain.height in extent(file) else b""
        if is_head(chain, head):
            return chain
    return None


def _copy(source: Path, target: Path, start: Chain, progress: Progress) -> Chain:
    """Adds to the chain file `target`, which counts up to the head of `start`, what `source` has; all verified."""
    replay = Replay(start)
    if start.height >= 0:
        shared = next(iterate_chain_file(source, start.height), b"")
        if sha256(shared) != start.hash:
            raise NodeError(
                f"{source}: block {start.height} is another one than in the backup ({start.hash[:16]}): was the "
                "network restarted from an earlier block? Make a new backup in another folder"
            )
    with ChainWriter(target, after=start.height) as writer:
        for raw in iterate_chain_file(source, start.height + 1):
            try:
                replay.append(raw)
            except BrokenChainError as error:
                raise NodeError(f"{source}: {error}. `swarm sn repair` fetches it anew from the other SNs") from error
            writer.add(replay.chain.height, raw)
            if replay.chain.height % STEP == 0:
                progress(replay.chain.height)
    if replay.chain.height < 0:
        raise NodeError(f"{source}: the chain file has no blocks yet")
    return replay.chain


# --- restore --------------------------------------------------------------------------------------------------------


class Restored(NamedTuple):
    """The outcome: the chain, and the UID of the SN; empty for one that joins as a new SN."""

    chain: Chain
    uid: str


def restore(
    backup: Path, data_dir: Path, *, new_node: bool = False, progress: Progress = lambda height: None
) -> Restored:
    """Makes the data directory of an SN of a backup: of the same one, or, with its chain, of a `new_node`.

    Every block is verified again. Raises `NodeError` when something is there already, with what differs, or the backup
    is not what its manifest states; then `data_dir` is as it was.
    """
    manifest = Manifest.read(backup)
    if manifest is None:
        raise NodeError(f"{backup}: no backup (it has no {MANIFEST}); `swarm ledger backup` makes one")
    if manifest.height < 0:
        raise NodeError(f"{backup}: this backup was begun and did not end: make it again, it goes on where it was")
    require_empty(data_dir, lambda: _differences(manifest, backup, data_dir))
    try:
        with whole_folder(data_dir) as making:
            start = _begin_at(backup, making, manifest.network)
            chain = _copy(backup / CHAIN_FILE, making / CHAIN_FILE, start, progress)
            _check(manifest, chain, backup)
            Checkpoints(making).write(chain)
            record = read_record(backup)
            if new_node:
                write_record(making, NodeRecord(str(uuid.uuid4()), 0, record.network, record.network_name))
            else:
                write_record(making, msgspec.structs.replace(record, incarnation=record.incarnation + STARTS))
                for name in SIGNED_LAST:
                    if (backup / name).is_file():
                        replace_file(making / name, (backup / name).read_bytes())
    except OSError as error:
        raise NodeError(f"{error.filename or data_dir}: {error.strerror}. Nothing was restored") from error
    return Restored(chain, "" if new_node else manifest.uid)


def require_empty(data_dir: Path, differences: Callable[[], str]) -> None:
    """Raises `NodeError` when there is anything in a data directory that is to be made."""
    if data_dir.exists() and (not data_dir.is_dir() or any(data_dir.iterdir())):
        raise NodeError(
            f"{data_dir} exists already, and nothing is overwritten: {differences()}. Name a new --data-dir, or move "
            "the old one away"
        )


def _check(manifest: Manifest, chain: Chain, backup: Path) -> None:
    stated = {
        "network": (manifest.network, chain.network_id),
        "height": (manifest.height, chain.height),
        "head": (manifest.hash, chain.hash),
        "state": (manifest.state, chain.world.state_hash()),
    }
    if wrong := [f"{what} {is_} instead of {was}" for what, (was, is_) in stated.items() if was != is_]:
        raise NodeError(
            f"{backup}: its chain is not the one that was backed up: {', '.join(wrong)}. Use another backup"
        )


def _differences(manifest: Manifest, backup: Path, data_dir: Path) -> str:
    """In what the SN that is there differs from the backup."""
    try:
        record = read_record(data_dir)
        there = extent(data_dir / CHAIN_FILE)
    except (NodeError, OrderingError):
        return "it is no data directory of an SN"
    if record.network != manifest.network:
        return f"it belongs to another network, {displayed(record.network_name)} ({record.network[:16]})"
    if record.uid != manifest.uid:
        return f"it is that of another SN, {record.uid}, the backup that of {manifest.uid}"
    shared = min(there.stop - 1, manifest.height)
    try:
        one, other = (next(iterate_chain_file(folder / CHAIN_FILE, shared), b"") for folder in (data_dir, backup))
    except OrderingError as error:
        return f"it is that of this SN, and damaged: {error}"
    if one != other:
        return f"it is that of this SN with another chain: block {shared} differs"
    heights = f"it has blocks up to {there.stop - 1}, the backup up to {manifest.height}"
    return f"it is that of this SN with the same chain: {heights}"
