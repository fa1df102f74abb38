"""Starts Python programs without the seconds of CPU time in which each would import its modules.

    tests ── request ─▶ server ── fork ─▶ watcher ── fork ─▶ `swarm sn …` or a script
      ▲                                      │
      └────────── pid, then exit code ───────┘

The server has imported all that its programs need, and forks. Process group, environment, working directory,
descriptors, signals, network and mounts of a program are as if it had been started as one; it ends with whoever has
requested it. The server ends with the process that started it.

Programs that others start (the nodes of `swarm run`, its scripts) request theirs through `interpreter`, a command that
is used like `python`: `standin.py` runs in the program's place, and ends as it does.
"""

import ctypes
import fcntl
import gc
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

COMMANDS = "swarmlearning.cli."
SWARM = f"{COMMANDS}main"
SWARM_WORDS = f'"-P -m {COMMANDS}"* | "-m {COMMANDS}"*'
"""How the arguments of an interpreter begin that runs a swarm command, as a pattern of the shell."""
NODES = """
import swarmlearning.cli.main, swarmlearning.cli.run, swarmlearning.cli.sn, swarmlearning.cli.sl
import swarmlearning.sn.node, swarmlearning.sn.api.app, swarmlearning.sl.node, swarmlearning.bridge.bridge
import swarmlearning.cli.swop, swarmlearning.swop.node, swarmlearning.cli.ui, swarmlearning.ui.serving
import argparse, numpy, swarmlearning.client.pace, swarmlearning.client.session
"""
"""Imports what the commands need that tests start, and `ml.py`."""

LARGEST_REQUEST = 128 * 1024
MOST_DESCRIPTORS = 32
STAND_IN = Path(__file__).with_name("standin.py")
ABOVE_ALL = 256
"""No program inherits a descriptor with such a number."""
HERE = Path("/proc/thread-self/ns/net")
"""The network of the thread that starts a program."""
CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x80000


class Request(msgspec.Struct):
    """A program to start: `python ARGUMENTS`, of which a swarm command or a script can be forked.

    It inherits a descriptor by each number in `descriptors`; without 0 its standard input is empty. Those that are sent
    after them are of the namespaces that it runs in, where they are not the server's. `interpreter`: the
    `sys.executable` of a swarm command, which starts nodes and scripts by it; that of the server when empty. `etc`: a
    folder of files that it sees in place of those in /etc, if any.
    """

    arguments: list[str]
    environment: dict[str, str]
    directory: str
    descriptors: list[int]
    umask: int
    interpreter: str = ""
    etc: str = ""


class Forked:
    """A program that the server has started; as much of `subprocess.Popen` as tests use."""

    def __init__(self, arguments: Sequence[str], answers: socket.socket) -> None:
        self._arguments = arguments
        self._answers = answers
        pid = answers.recv(16)
        assert pid, "the server that starts programs has ended: its error is above"
        self.pid = int(pid)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Returns its exit code, as `subprocess` gives it; None while it runs."""
        return self._ended_within(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end; returns its exit code. Raises `subprocess.TimeoutExpired`."""
        code = self._ended_within(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self._arguments, timeout or 0.0)
        return code

    def _ended_within(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._answers], [], [], timeout)[0]:
            self.returncode = int(self._answers.recv(16))
            self._answers.close()
        return self.returncode


class Server:
    """A server that has run the code `imports`, for Linux only: found in all networks, and by all users."""

    def __init__(self, environment: Mapping[str, str], imports: str = NODES) -> None:
        place = Path(tempfile.mkdtemp(prefix="swarm-fork-", dir="/tmp"), "socket")
        self.address = os.fsencode(place)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(self.address)
            listener.listen(64)
            place.chmod(0o777)
            place.parent.chmod(0o711)
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(listener.fileno()), imports],
                stdin=subprocess.PIPE,  # the server ends when nobody can write to it any more
                stdout=subprocess.DEVNULL,
                env=environment,
                pass_fds=[listener.fileno()],
                process_group=0,  # no signal from the terminal ends it before the programs have been stopped
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60.0)

    def can_start(self, changes: Mapping[str, str]) -> bool:
        """False for what is settled when an interpreter starts: its own variables."""
        return not any(name.startswith("PYTHON") for name in changes)

    def start(self, request: Request, descriptors: Sequence[int], network: Path = HERE) -> Forked:
        """Starts a program; `descriptors` are those of this process that it gets by the numbers in the request."""
        answers = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        answers.connect(self.address)
        with network.open() as entered:
            socket.send_fds(answers, [msgspec.json.encode(request)], [*descriptors, entered.fileno()])
        return Forked(request.arguments, answers)

    def interpreter(self, path: Path) -> Path:
        """Makes a command at `path` that is used like `python`; returns that path.

        Swarm commands and scripts are forked by this server, and everything else is run by Python itself.
        """
        forked, python = self._stand_in(), shlex.quote(sys.executable)
        _program(path, f'case "$*" in\n{SWARM_WORDS} | [!-]*) {forked} "$0" "$@" ;;\nesac\nexec {python} "$@"')
        return path

    def scripts(self, path: Path) -> None:
        """Makes a command at `path` that is used like `python`: this server forks scripts, and nothing else."""
        forked, python = self._stand_in(), shlex.quote(sys.executable)
        _program(path, f'case "$1" in\n[!-]*) {forked} "" "$@" ;;\nesac\nexec {python} "$@"')

    def commands(self, folder: Path) -> Path:
        """Makes a folder with the command `swarm`, which is forked too; returns the folder."""
        folder.mkdir()
        own, forked, python = folder / "swarm-python", self._stand_in(), shlex.quote(sys.executable)
        _program(own, f'case "$*" in\n{SWARM_WORDS}) {forked} "$0" "$@" ;;\nesac\nexec {python} "$@"')
        _program(folder / "swarm", f'{forked} {shlex.quote(str(own))} -m {SWARM} "$@"')
        return folder

    def _stand_in(self) -> str:
        """The command line of a stand-in, without the interpreter and arguments of its program."""
        return f"exec {shlex.quote(sys.executable)} -I -S {shlex.quote(str(STAND_IN))} {self.address.hex()}"


def _program(path: Path, script: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(f"#!/bin/sh\n{script}\n")
    new.chmod(0o700)
    new.replace(path)  # at once: a shell may just have begun to read the one that is there


# --- the server -----------------------------------------------------------------------------------------------------


def serve(listener: socket.socket, imports: str) -> None:
    """Forks a program for each request. Returns in these programs only, ready to run."""
    exec(imports, {})
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the watchers
    while True:
        if sys.stdin.fileno() in select.select([sys.stdin.fileno(), listener.fileno()], [], [])[0]:
            address = Path(os.fsdecode(listener.getsockname()))
            address.unlink()
            address.parent.rmdir()
            os._exit(0)
        answers, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            message, descriptors, _, _ = socket.recv_fds(answers, LARGEST_REQUEST, MOST_DESCRIPTORS)
            if (pid := os.fork()) == 0:
                answers.close()
                _become(msgspec.json.decode(message, type=Request), descriptors)
                return
            _watch(pid, answers, descriptors)
        answers.close()


def _watch(pid: int, answers: socket.socket, unused: Sequence[int]) -> None:
    """Reports a program's process and, once it has ended, its exit code; then ends."""
    for descriptor in unused:
        os.close(descriptor)
    os.setpgid(pid, pid)  # here too: whoever knows its pid may signal its group
    ended = os.pidfd_open(pid)
    with suppress(BrokenPipeError, ConnectionResetError):  # whoever has requested it has ended
        answers.send(b"%d" % pid)
        if ended not in select.select([ended, answers.fileno()], [], [])[0]:
            os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        answers.send(b"%d" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(request: Request, received: Sequence[int]) -> None:
    os.setpgid(0, 0)
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, ABOVE_ALL) for descriptor in received]
    for descriptor in received:
        os.close(descriptor)
    for descriptor in high[len(request.descriptors) :]:
        _enter(descriptor)
    if request.etc:
        _see(Path(request.etc))
    for descriptor, number in zip(high, request.descriptors, strict=False):
        os.dup2(descriptor, number)  # inheritable
        os.close(descriptor)
    # those of the server know of other files
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(request.environment)
    os.umask(request.umask)
    os.chdir(request.directory)
    sys.argv = request.arguments[1:] if request.arguments[0] == "-P" else request.arguments
    if request.interpreter and sys.argv[:2] == ["-m", SWARM]:
        sys.executable = request.interpreter


def _enter(namespace: int) -> None:
    """Goes where another process is, of which this descriptor is a namespace, and closes that."""
    own = (Path(f"/proc/self/ns/{kind}").stat() for kind in ("net", "mnt"))
    if not any(os.path.samestat(os.fstat(namespace), each) for each in own):
        _must(_libc().setns(namespace, 0), "entering a namespace")
    os.close(namespace)


def _see(etc: Path) -> None:
    """Sees the files of this folder in place of those in /etc, as `ip netns exec` lets its programs do."""
    libc = _libc()
    _must(libc.unshare(CLONE_NEWNS), "a mount namespace")
    _must(libc.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None), "mounting for this process alone")
    for file in etc.iterdir():
        _must(libc.mount(bytes(file), bytes(Path("/etc", file.name)), None, MS_BIND, None), f"mounting {file}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _must(status: int, what: str) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def run() -> None:
    """Runs the program that `sys.argv` names: the command `swarm`, another module or a script."""
    if sys.argv[:2] == ["-m", SWARM]:
        from swarmlearning.cli.main import main

        sys.argv[:2] = ["swarm"]
        main()
    elif sys.argv[0] == "-m":
        module = sys.argv[1]
        del sys.argv[0]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(sys.argv[0]).parent)
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
    run()
