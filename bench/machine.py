"""Requirements of a benchmark on its machine, and the way in which it is run there."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import psutil

from swarmlearning.ordering.etcd.binary import HOW_TO_INSTALL, check_version, find_binary
from swarmlearning.ordering.protocols import OrderingError
from swarmlearning.supervise.processes import RunError

MEGABYTE = 10**6
RUNS = Path(__file__).parent.parent / "runs"

T = TypeVar("T")


class Failed(Exception):
    """A benchmark could not be measured; the message says why."""


def run_benchmark(name: str, measure: Callable[[Path], Coroutine[Any, Any, T]]) -> T:
    """Runs `measure` in a folder of its own, which is removed afterwards, and returns what it measured.

    Ends this process with one line to say why when it fails.
    """
    try:
        return run_apart(measure)
    except Failed as error:
        sys.exit(f"{name}: {error}")


def run_apart(measure: Callable[[Path], Coroutine[Any, Any, T]]) -> T:
    """The same for one of several measurements: raises `Failed`."""
    failures: list[BaseException] = []
    RUNS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=RUNS) as folder:
        try:
            return asyncio.run(measure(Path(folder)))
        except* (RunError, TimeoutError, KeyboardInterrupt) as group:
            failures.append(group)
    raise Failed(reason(failures[0]))


def reason(failure: BaseException) -> str:
    """Why something has failed, in a line or more: of several reasons the first."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return str(failure) or type(failure).__name__


def require_etcd(name: str) -> None:
    """Ends this process with status 2, and one line to say what to do, when there is no etcd that can be used."""
    try:
        binary = find_binary(os.environ)
        if binary is None:
            raise OrderingError(f"etcd is not in PATH: {HOW_TO_INSTALL}")
        asyncio.run(check_version(binary))
    except OrderingError as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)


def busy_seconds() -> float:
    """CPU time of the whole machine that was not idle, so far."""
    times: dict[str, float] = psutil.cpu_times()._asdict()
    return sum(times[kind] for kind in ("user", "nice", "system", "irq", "softirq", "steal") if kind in times)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, user and system."""
    spent = psutil.Process(pid).cpu_times()
    return spent.user + spent.system


def peak_bytes(pid: int) -> int:
    """The largest resident memory of a process so far."""
    return _status(pid, "VmHWM") or resident_bytes(pid)


def own_bytes(pid: int) -> int:
    """Resident memory of a process that is not a clean page of some file."""
    return _status(pid, "RssAnon") + _status(pid, "RssShmem") or resident_bytes(pid)


def _status(pid: int, field: str) -> int:
    """Bytes in a field of Linux' `/proc/PID/status`; 0 elsewhere."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(fields[field].removesuffix("kB")) * 1024


def resident_bytes(pid: int) -> int:
    """Resident memory of a process now."""
    return int(psutil.Process(pid).memory_info().rss)
