"""Starts `swarm` commands without the second of CPU time in which each would import its modules.

    tests ── request ─▶ server ── fork ─▶ watcher ── fork ─▶ `swarm sn …`
      ▲                                      │
      └────────── pid, then exit code ───────┘

The server has imported all that nodes need, and forks. Process group, environment, working directory, descriptors and
signals of a command are as if the test had started it as a program. The server ends with the process that started it.
"""

import gc
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import msgspec

IMPORTED = ("cli.main", "cli.sn", "cli.sl", "sn.node", "sn.api.app", "sl.node", "bridge.bridge", "node.settings")
LARGEST_REQUEST = 128 * 1024


class Request(msgspec.Struct):
    """A command to start: `swarm ARGUMENTS`. It inherits a descriptor by the number `inherited`, if not 0."""

    arguments: list[str]
    environment: dict[str, str]
    directory: str
    inherited: int


class Forked:
    """A command that the server has started; as much of `subprocess.Popen` as tests use."""

    def __init__(self, arguments: Sequence[str], answers: socket.socket) -> None:
        self._arguments = arguments
        self._answers = answers
        pid = answers.recv(16)
        assert pid, "the server that starts `swarm` commands has ended: its error is above"
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
    """The server of this process, started when the first command is."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._requests, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._network = _network()
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(there.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=environment,
                pass_fds=[there.fileno()],
                process_group=0,  # no signal from the terminal ends it before the commands have been stopped
            )

    def can_start(self, changes: Mapping[str, str]) -> bool:
        """False for what is settled when an interpreter starts: its own variables and its network namespace."""
        return not any(name.startswith("PYTHON") for name in changes) and self._network == _network()

    def start(self, request: Request, log: int) -> Forked:
        """Starts a command that writes to the descriptor `log`."""
        answers, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with there:
            handed_over = [log, there.fileno(), *([request.inherited] if request.inherited else [])]
            socket.send_fds(self._requests, [msgspec.json.encode(request)], handed_over)
        return Forked(request.arguments, answers)


def _network() -> Path | None:
    """The network namespace of this thread, None where there are none."""
    namespace = Path("/proc/thread-self/ns/net")
    return namespace.readlink() if namespace.is_symlink() else None


# --- the server -----------------------------------------------------------------------------------------------------


def serve(requests: socket.socket) -> None:
    """Forks a command for each request. Returns in these commands only, ready to run."""
    for module in IMPORTED:
        import_module(f"swarmlearning.{module}")
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the watchers
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, LARGEST_REQUEST, 3)
        if not message:
            sys.exit()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            log, answers, *inherited = descriptors
            if (pid := os.fork()) == 0:
                _become(msgspec.json.decode(message, type=Request), log, answers, inherited)
                return
            _watch(pid, answers, [log, *inherited])
        for descriptor in descriptors:
            os.close(descriptor)


def _watch(pid: int, answers: int, unused: Sequence[int]) -> None:
    """Reports a command's process and, once it has ended, its exit code; then ends."""
    for descriptor in unused:
        os.close(descriptor)
    os.setpgid(pid, pid)  # here too: whoever knows its pid may signal its group
    with suppress(BrokenPipeError):  # whoever has started it has ended
        os.write(answers, b"%d" % pid)
        _, status = os.waitpid(pid, 0)
        os.write(answers, b"%d" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(request: Request, log: int, answers: int, inherited: Sequence[int]) -> None:
    os.setpgid(0, 0)
    for standard in (1, 2):
        os.dup2(log, standard)
    for descriptor in (log, answers):
        os.close(descriptor)
    for descriptor in inherited:
        if descriptor != request.inherited:
            os.dup2(descriptor, request.inherited)
            os.close(descriptor)
        os.set_inheritable(request.inherited, True)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.directory)
    sys.argv = ["swarm", *request.arguments]


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
    from swarmlearning.cli.main import main

    main()
