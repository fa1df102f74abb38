"""This machine: room on a disk, memory, whether a port is free, and which process holds a file or port."""

import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from swarmlearning.address import join
from swarmlearning.doctor.findings import Report
from swarmlearning.views.names import displayed
from swarmlearning.views.sizes import size_text

MB: Final = 10**6
LEAST_DISK: Final = 64 * MB
"""Bytes: with less a node cannot keep its log, its checkpoint and a new block."""
LEAST_MEMORY: Final = 128 * MB
LONGEST_COMMAND: Final = 200


class Holder(NamedTuple):
    """A process that has something open."""

    pid: int
    command: tuple[str, ...]
    stopped: bool

    def __str__(self) -> str:
        shown = displayed(" ".join(self.command), LONGEST_COMMAND)
        return f"process {self.pid} ({shown})" if shown else f"process {self.pid}"


def holder_of_port(port: int) -> Holder | None:
    """The process that listens on a port of this machine; None where that cannot be seen, or nobody does."""
    with suppress(psutil.Error, OSError):
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and getattr(found.laddr, "port", 0) == port and found.pid:
                return _holder(found.pid)
    return None


def holder_of_file(path: Path) -> Holder | None:
    """The process that has locked a file; None where that cannot be seen, or nobody has."""
    with suppress(OSError, ValueError, psutil.Error):
        inode = path.stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if "->" not in fields and int(fields[5].rpartition(":")[2]) == inode and int(fields[4]) > 0:
                return _holder(int(fields[4]))
    return None


def _holder(pid: int) -> Holder:
    process = psutil.Process(pid)
    return Holder(pid, tuple(process.cmdline()), process.status() in (psutil.STATUS_STOPPED, "tracing-stop"))


def examine_memory(report: Report, needed: int = LEAST_MEMORY) -> None:
    """Whether this machine has memory for a node that needs so many bytes."""
    free = psutil.virtual_memory().available
    if free >= needed:
        report.fine.append(f"memory: {size_text(free)} free")
        return
    report.find(
        "memory-low",
        "this machine",
        f"has {size_text(free)} of memory left, and this node needs {size_text(needed)}",
        "end what uses it, or give the machine more; the kernel ends a process when there is none left",
    )


def examine_disk(folder: Path, report: Report, needed: int = LEAST_DISK) -> None:
    """Whether the file system of a folder takes new files, of so many bytes."""
    try:
        usage, inodes = shutil.disk_usage(folder), os.statvfs(folder)
    except OSError as error:
        report.unknown.append(f"the room on the disk of {folder}: {error.strerror}")
        return
    if inodes.f_files and not inodes.f_favail:
        text = f"the file system of {folder} takes no more files: all its {inodes.f_files} inodes are in use"
        report.find("disk-full", "this machine's disk", text, "remove files that are not needed")
    elif usage.free < min(LEAST_DISK, max(needed, usage.total // 10)):
        text = f"the file system of {folder} is full: {size_text(usage.free)} of {size_text(usage.total)} are free"
        remedy = "remove what is not needed, or give the file system more room; then start the node again"
        report.find("disk-full", "this machine's disk", text, remedy)
    elif usage.free < needed:
        text = f"the file system of {folder} has {size_text(usage.free)} left, and this node needs {size_text(needed)}"
        report.find("disk-low", "this machine's disk", text, "make room there, or move --data-dir to a larger disk")
    else:
        report.fine.append(f"disk of {folder}: {size_text(usage.free)} of {size_text(usage.total)} free")


def writing_fault(folder: Path) -> OSError | None:
    """Why nothing can be written into a folder, None where it can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"swarm doctor\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def examine_port(host: str, port: int, what: str, option: str, report: Report) -> Holder | None:
    """Whether a node can listen on a port; returns who does already. `what`: the service, `option`: what names it."""
    at = f"{what} on {join(host, port)}"
    for family, address in _addresses(host, port):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
                probe.listen(1)
            except OSError as error:
                return _unbound(error, at, port, option, report)
    report.fine.append(f"{at}: the port is free")
    return None


def _addresses(host: str, port: int) -> Iterator[tuple[int, tuple[object, ...]]]:
    with suppress(OSError, UnicodeError):
        for family, _, _, _, address in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[:1]:
            yield family, address


def _unbound(error: OSError, at: str, port: int, option: str, report: Report) -> Holder | None:
    if error.errno == errno.EADDRINUSE:
        holder = holder_of_port(port)
        by = f"process {holder.pid} listens there" if holder else "somebody listens there (run as root to see who)"
        remedy = f"end that process, or give this node another port ({option})"
        what = f": {holder}" if holder else ""
        report.find("port-taken", f"port {port} of this machine", f"{by}, so there is no {at}{what}", remedy)
        return holder
    if error.errno == errno.EADDRNOTAVAIL:
        text, remedy = f"cannot serve its {at}: that is no address of this machine", "choose one by --bind-ip"
        report.find("address-not-here", "this node's address", text, remedy)
    elif error.errno == errno.EACCES:
        text = f"cannot serve its {at}: ports below 1024 are for root"
        report.find("port-taken", f"port {port} of this machine", text, f"choose another port ({option})")
    else:
        text = f"cannot serve its {at}: {error.strerror}"
        report.find("address-not-here", "this node's address", text, "choose an address of this machine by --bind-ip")
    return None
