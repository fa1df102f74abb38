"""A node's data directory: whether it can be used, who uses it, and whether what it holds is whole."""

import errno
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice, pairwise
from pathlib import Path
from typing import Final, Literal, NamedTuple

from filelock import FileLock, Timeout

from swarmlearning.cli.chainfiles import CHAIN_FILE
from swarmlearning.cli.doctor.machine import LEAST_DISK, Holder, examine_disk, holder_of_file, writing_fault
from swarmlearning.doctor.findings import Report
from swarmlearning.ledger.block import read_header
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.node.checkpoints import Checkpoints
from swarmlearning.node.datadir import NodeRecord, read_record
from swarmlearning.node.errors import NodeError
from swarmlearning.node.health import request_health
from swarmlearning.node.logfile import log_in
from swarmlearning.ordering.local import extent, iterate_chain_file
from swarmlearning.ordering.protocols import OrderingError

Kind = Literal["SN", "SL", "SWOP", ""]
AHEAD_MS: Final = 60_000
"""What a node has written is not from the future: the clock has been set back by more than this, or is wrong."""
CHAIN_SECONDS: Final = 5.0
MODELS: Final = 3
"""A round's own model, one that is fetched, and the result."""
MOST_MODELS: Final = 256


class Place(NamedTuple):
    """A data directory as it is. `chain`: the newest state that a node there has verified; `running`: a node is at work
    there, and says that it is ready."""

    path: Path
    kind: Kind
    record: NodeRecord | None
    chain: Chain | None
    holder: Holder | None
    running: bool


def examine_place(path: Path, report: Report, words: Sequence[str] = ()) -> Place:
    """What is wrong with a data directory. `words`: the command line of the node that is to run there, if known."""
    kind = kind_of(path)
    nothing = Place(path, kind, None, None, None, running=False)
    if not _is_usable(path, report):
        return nothing
    holder, running = _user(path, report, words)
    try:
        record = read_record(path)
    except NodeError as error:
        remedy = "restore the file from a copy; without it this node is a new one: then use another --data-dir"
        report.find("record-damaged", f"{path}/node.json", str(error), remedy)
        return nothing
    chain = Checkpoints(path).read(record.network) if record.network else None
    if kind == "SN" or (record.network and kind == "" and (path / "etcd").exists()):
        _examine_chain(path / CHAIN_FILE, record, report)
    _examine_clock(path, chain, report)
    if not running:
        _examine_owner(path, report)
    return Place(path, kind, record, chain, holder, running)


def kind_of(path: Path) -> Kind:
    """The kind of node that has run in a data directory; empty where that cannot be seen."""
    marks: tuple[tuple[str, Kind], ...] = (
        (CHAIN_FILE, "SN"),
        ("etcd", "SN"),
        ("models", "SL"),
        ("channel", "SL"),
        ("journal", "SWOP"),
        ("process", "SWOP"),
        ("docker", "SWOP"),
    )
    return next((kind for name, kind in marks if (path / name).exists()), "")


def _is_usable(path: Path, report: Report) -> bool:
    """Whether files can be written there; a directory that is not there yet is made by the node."""
    nearest = path
    with suppress(OSError):
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
    if not nearest.is_dir():
        text, remedy = f"{nearest} is no folder", "correct --data-dir (SWARM_DATA_DIR), or remove that file"
        report.find("not-writable", f"the data directory {path}", text, remedy)
        return False
    before = len(report.wrong)
    examine_disk(nearest, report, _needed(path))
    fault = writing_fault(nearest)
    if fault is not None and fault.errno in (errno.ENOSPC, errno.EDQUOT):
        if len(report.wrong) == before:
            text = f"nothing more can be written to {nearest}: {fault.strerror}"
            report.find("disk-full", "this machine's disk", text, "make room there, or raise the quota of its user")
    elif fault is not None:
        text = f"{nearest} cannot be written to: {fault.strerror}"
        remedy = f"give it to this node's user (chown), and mount its file system writable: {nearest}"
        report.find("not-writable", f"the data directory {path}", text, remedy)
    if nearest != path:
        report.unknown.append(f"{path} is not there: no node has run with this --data-dir yet")
        return False
    return True


def examine_folder(path: Path, what: str, option: str, report: Report) -> None:
    """Whether files can be written into another folder that a node is given, or makes."""
    nearest = next(each for each in (path, *path.parents) if each.exists())
    fault = writing_fault(nearest) if nearest.is_dir() else OSError(errno.ENOTDIR, "it is no folder")
    if fault is not None and not report.has("disk-full"):
        code = "disk-full" if fault.errno in (errno.ENOSPC, errno.EDQUOT) else "not-writable"
        text = f"nothing can be written to {nearest}: {fault.strerror}"
        report.find(code, f"{what}, {path}", text, f"make room there or correct its owner, or name another by {option}")


def _needed(path: Path) -> int:
    """Bytes that a node needs on its disk: an SL a few models of the size that it has."""
    with suppress(OSError):
        sizes = [each.stat().st_size for each in islice((path / "models").iterdir(), MOST_MODELS)]
        return max(LEAST_DISK, MODELS * max(sizes, default=0))
    return LEAST_DISK


def _user(path: Path, report: Report, words: Sequence[str]) -> tuple[Holder | None, bool]:
    """The process that has the directory, and whether it is a node that is ready."""
    file = path / "lock"
    if not file.exists():
        return None, False
    try:
        lock = FileLock(file)
        lock.acquire(blocking=False)
        lock.release()
        return None, False
    except Timeout:
        pass
    except OSError as error:
        report.find(
            "not-writable",
            f"the data directory {path}",
            f"{file} cannot be locked: {error.strerror}",
            "give the directory to this node's user, on a file system that has locks",
        )
        return None, False
    holder = holder_of_file(file)
    try:
        ready = bool(request_health(path).get("ready"))
        reason = "which is not ready yet"
    except NodeError as error:
        ready, reason = False, str(error)
    named = str(holder) if holder else "another process"
    if holder is not None and holder.stopped:
        text = f"{named} has this data directory, and is stopped (SIGSTOP, Ctrl-Z or a debugger)"
        remedy = f"let it go on: kill -CONT {holder.pid}"
        report.find("frozen", "this node's process", text, remedy)
    elif not ready and not words and holder is not None:
        text = f"{named} has this data directory, and does not answer: {reason}"
        remedy = f"look at its log ({log_in(path)}); if it stays so, end it (kill {holder.pid}) and start it again"
        report.find("frozen", "this node's process", text, remedy)
    elif words and not _is_same(holder, words):
        text = f"{named} uses it already"
        remedy = "end that process, or give this node a --data-dir of its own: two nodes never share one"
        report.find("in-use", f"the data directory {path}", text, remedy)
    elif ready:
        report.fine.append(f"this node runs: {named} is ready")
    return holder, ready


def _is_same(holder: Holder | None, words: Sequence[str]) -> bool:
    """True if that process was started by this command line: it has all its options, whatever its script is."""
    options = words[: words.index("--")] if "--" in words else words
    return holder is not None and set(options) <= set(holder.command)


def _examine_chain(file: Path, record: NodeRecord, report: Report) -> None:
    if not file.exists():
        if record.network:
            text = f"{file} is gone, and this node belongs to network {record.network[:16]}"
            remedy = f"restore it; where other SNs have the chain: swarm sn repair --data-dir {file.parent}"
            report.find("chain-gone", "this SN's chain", text, remedy)
        return
    remedy = f"fetch it from the other SNs: swarm sn repair --data-dir {file.parent} (a lone SN: restore a copy)"
    end = time.monotonic() + CHAIN_SECONDS
    try:
        count = _linked(iterate_chain_file(file, extent(file).start), end)
    except (OrderingError, MalformedError) as error:
        report.find("chain-damaged", "this SN's chain", str(error).partition(". `swarm")[0], remedy)
        return
    report.fine.append(f"chain {file}: {count} blocks, each follows the one before")


def _linked(blocks: Iterable[bytes], end: float) -> int:
    """The number of blocks looked at until `end`. Raises `MalformedError` for one that does not follow its
    predecessor."""
    count = 1
    for before, raw in pairwise(blocks):
        header = read_header(raw)
        if header.previous != sha256(before):
            raise MalformedError(f"block {header.height} does not follow the one before it: one of them is altered")
        count += 1
        if time.monotonic() > end:
            break
    return count


def _examine_clock(path: Path, chain: Chain | None, report: Report) -> None:
    """Whether something here is from the future."""
    now_ms = time.time_ns() // 1_000_000
    newest, what = chain.time_ms if chain else 0, "the newest block of the ledger that this node has"
    for name in ("node.json", "checkpoint", "node.log", CHAIN_FILE):
        with suppress(OSError):
            changed = int((path / name).stat().st_mtime * 1000)
            if changed > newest:
                newest, what = changed, f"{path / name}"
    if newest > now_ms + AHEAD_MS:
        seconds = (newest - now_ms) // 1000
        text = f"is behind: {what} is {seconds} s newer than the clock says it is now"
        report.find("clock", "this machine's clock", text, "set it right (NTP: timedatectl set-ntp true)")


def _examine_owner(path: Path, report: Report) -> None:
    """Files of another user than the directory's, as a start by root leaves them behind."""
    try:
        owner = path.stat().st_uid
        foreign = [each for each in sorted(path.iterdir()) if each.lstat().st_uid != owner]
    except OSError as error:
        report.unknown.append(f"the owners of the files in {path}: {error.strerror}")
        return
    if foreign and owner != 0:
        text = f"{foreign[0].name} and {len(foreign) - 1} more there belong to another user than the directory"
        remedy = f"give all of it to the node's user: chown -R --reference={path} {path}"
        report.find("not-writable", f"the data directory {path}", text, remedy)
