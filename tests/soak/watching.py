"""What the processes of a soak hold, read from /proc and the disk: memory, descriptors, CPU time, bytes of files."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

MEGABYTE = 10**6


class Sample(msgspec.Struct, frozen=True):
    """One look, `at_s` seconds after the beginning.

    `memory_mb` (without clean pages of files), `descriptors` and `cpu_s` are by process: a spared node (`SL-1`), and
    its children (`SL-1 script`). `disk_mb`: of all data directories, without the chains; `chain_mb`: of SN-1's chain
    file. `answer_ms`: SN-1's answer to a request for its state. `load`: the machine's average of a minute.
    """

    at_s: float
    memory_mb: dict[str, float]
    descriptors: dict[str, int]
    cpu_s: dict[str, float]
    disk_mb: dict[str, float]
    chain_mb: float
    height: int
    answer_ms: float
    load: float


def family(name: str, pid: int) -> Iterator[tuple[str, psutil.Process]]:
    """A node's process and those that it has started, each with a name."""
    with suppress(psutil.NoSuchProcess):
        node = psutil.Process(pid)
        yield name, node
        for child in node.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                yield f"{name} {_role(child)}", child


def own_mb(process: psutil.Process) -> float:
    """Resident memory that is not a clean page of some file."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines() if line.startswith("Rss"))
    return sum(int(fields[name].removesuffix("kB")) for name in ("RssAnon", "RssShmem")) * 1024 / MEGABYTE


def bytes_of(folder: Path, without: Iterable[str] = ()) -> int:
    """Bytes of all files in a folder, each file once however many names it has, without those of some names."""
    left_out, seen, total = frozenset(without), set[int](), 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # removed meanwhile
                state = Path(root, name).lstat()
                if stat.S_ISREG(state.st_mode) and name not in left_out and state.st_ino not in seen:
                    seen.add(state.st_ino)
                    total += state.st_blocks * 512
    return total


def _role(process: psutil.Process) -> str:
    words = process.cmdline()
    if any(word.endswith("ml.py") for word in words):
        return "script"
    return "etcd" if process.name() == "etcd" else "keeper"
