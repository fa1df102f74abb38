"""Real processes for tests: `python -m swarmlearning.cli.main …` and scripts beside it, all ended with the test.

Nothing here polls: that a process is ready is read from a pipe, that it has ended is waited for, always with a
deadline. Each writes to a log file of its own.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import psutil

from support.examples import imports
from support.forking import HERE, Forked, Request, Server
from support.namespaces import etc_of

START_SECONDS = 150.0
END_SECONDS = 150.0
"""Deadlines for a machine under heavy load; nothing comes near them otherwise."""
STOP_SECONDS = 15.0

UMASK = os.umask(0)
os.umask(UMASK)

COMMAND = (sys.executable, "-m", "swarmlearning.cli.main")


class Process:
    """A started process, the leader of its process group. A node reports on `pipe` that it is ready."""

    def __init__(
        self, name: str, log: Path, popen: "subprocess.Popen[bytes] | Forked", pipe: int | None = None
    ) -> None:
        self.name = name
        self.log = log
        self._popen = popen
        self._pipe = pipe
        self._ready: dict[str, str] = {}
        self._frozen: list[psutil.Process] = []

    @property
    def ready(self) -> dict[str, str]:
        """Waits until a node reports that it is ready and returns its facts. Fails if it ends before."""
        if self._pipe is not None:
            line = _read_to_the_end(self._pipe, START_SECONDS)
            self.close()
            assert line, f"{self.name} has ended before it was ready\n{self.output}"
            self._ready = msgspec.json.decode(line, type=dict[str, str])
        return self._ready

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    @property
    def has_failed(self) -> bool:
        """Whether it has ended by itself, with another status than 0."""
        return (self._popen.poll() or 0) > 0

    @property
    def output(self) -> str:
        """Everything it has written so far, standard output and error."""
        return self.log.read_text(errors="replace")

    def wait(self, seconds: float = END_SECONDS) -> int:
        """Its exit code, once it has ended."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} has not ended after {seconds:.0f} s\n{self.output}") from None

    def complaint(self) -> str:
        """The one message it ends with: waits for exit code 1, and for no traceback in its log."""
        assert self.wait() == 1, self.output
        assert "Traceback" not in self.output, self.output
        messages = [line for line in self.output.splitlines() if line.startswith("swarm s")]
        assert len(messages) == 1, self.output
        return messages[0]

    def signal(self, number: signal.Signals) -> None:
        """To the whole process group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def stop(self) -> None:
        """As an operator does, by SIGTERM: it ends in good order."""
        self.signal(signal.SIGTERM)
        assert self.wait() == 0, self.output

    def kill(self) -> None:
        """As a power failure would end it: nothing of it runs when this returns."""
        self.signal(signal.SIGKILL)
        self._popen.wait()

    def freeze(self) -> None:
        """Stops it (SIGSTOP) with all that it has started, as a machine that hangs: connections stay open."""
        process = psutil.Process(self.pid)
        self._frozen = [process, *process.children(recursive=True)]
        for one in self._frozen:
            one.suspend()

    def thaw(self) -> None:
        """Lets all that is frozen go on."""
        for one in self._frozen:
            one.resume()
        self._frozen = []

    def close(self) -> None:
        """Closes the pipe."""
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None


class Processes:
    """Use as a context manager: whatever ends the block ends all processes. They work and log in `directory`.

    `variables`: of the environment of all that is started from now on.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.variables: dict[str, str] = {}
        self._started: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = [process for process in self._started if process.running]
        for process in reversed(left):
            process.signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in left:
            with suppress(AssertionError):
                process.wait(max(0.0, deadline - time.monotonic()))
        for process in self._started:
            process.kill()
            process.close()
        if error is not None:
            for process in self._started:
                print(f"\n===== {process.name} =====\n{process.output}")

    @property
    def started(self) -> Sequence[Process]:
        """All of them, those that have ended too."""
        return self._started

    def start(self, name: str, *command: str | Path, environment: Mapping[str, str] | None = None) -> Process:
        """Starts a command in a process group of its own; a second one of that name writes to the same log."""
        return self._start(name, command, environment or {}, None, ())

    def node(
        self,
        name: str,
        kind: str,
        options: Mapping[str, str | Path],
        flags: Sequence[str] = (),
        ml: Sequence[str | Path] = (),
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> Process:
        """Starts `swarm KIND --OPTION VALUE … FLAGS [-- ML]`; `within` is a command that runs another in its place."""
        reader, writer = os.pipe()
        words = [word for option, value in options.items() for word in (f"--{option}", value)]
        command = [*within, *COMMAND, kind, *words, *flags, "--ready-fd", str(writer), *(("--", *ml) if ml else ())]
        try:
            return self._start(name, command, environment or {}, reader, (writer,))
        finally:
            os.close(writer)

    def _start(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        pipe: int | None,
        keep_open: Sequence[int],
    ) -> Process:
        log = self._directory / f"{name}.log"
        environment = {**self.variables, **environment}
        words = [os.fspath(word) for word in command]
        host, own = _on_host(words)
        popen: subprocess.Popen[bytes] | Forked
        with log.open("ab") as file:
            if own[: len(COMMAND)] == list(COMMAND) and sys.platform == "linux" and nodes().can_start(environment):
                request = Request(
                    arguments=own[1:],
                    environment=_environment(environment),
                    directory=os.fspath(self._directory),
                    descriptors=[1, 2, *keep_open],
                    umask=UMASK,
                    interpreter=self._interpreter(own[len(COMMAND) :]),
                    etc=etc_of(host) if host else "",
                )
                network = Path("/run/netns", host) if host else HERE
                popen = nodes().start(request, [file.fileno(), file.fileno(), *keep_open], network)
            else:
                popen = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    cwd=self._directory,
                    env=_environment(environment),
                    pass_fds=keep_open,
                    process_group=0,
                )
        process = Process(name, log, popen, pipe)
        self._started.append(process)
        return process

    def _interpreter(self, words: Sequence[str]) -> str:
        """By which a forked command starts others: those of a SWOP are SLs above all, which are forked too."""
        return nodes_interpreter(self._directory) if words[:1] == ["swop"] else ""


@cache
def nodes() -> Server:
    """The server that forks all nodes of this process' tests."""
    return Server(_environment({}))


def nodes_interpreter(folder: Path) -> str:
    """Returns a command that is used like `python`, and forks swarm commands and the scripts of their sites.

    For commands that start nodes by themselves. It is made in this folder; Python itself where there is no forking.
    """
    return str(nodes().interpreter(folder / "swarm-python")) if sys.platform == "linux" else sys.executable


@cache
def torch_scripts() -> Server:
    """The server that forks scripts of this process' tests which train with PyTorch, as that example does which imports
    most: ten seconds of CPU time for each of them otherwise."""
    return Server(_environment({}), f"{imports('fashion_mnist')}\nimport torchmetrics")


def torch_interpreter(path: Path) -> str:
    """Returns a command that is used like `python`, and forks scripts that train with PyTorch; it is made at this path,
    Python itself where there is no forking."""
    if sys.platform != "linux":
        return sys.executable
    torch_scripts().scripts(path)
    return str(path)


def forked_commands(folder: Path, *, torch: bool = False) -> Path | None:
    """Makes a folder with the command `swarm` for terminals: it is forked, in whatever network it is typed, and forks
    the nodes that it starts. `torch`: so are scripts that train with PyTorch. None where there is no forking."""
    if sys.platform != "linux":
        return None
    nodes().commands(folder)
    for name in ("python", "python3") if torch else ():
        torch_interpreter(folder / name)
    return folder


@contextmanager
def script_interpreter(folder: Path, imports: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Yields the same for scripts that begin with the code `imports`, which is run once for all of them."""
    if sys.platform == "linux":
        with Server(_environment(environment), imports) as server:
            yield str(server.interpreter(folder / "script-python"))
    else:
        yield sys.executable


def _on_host(words: list[str]) -> tuple[str, list[str]]:
    """The network namespace in which `ip netns exec` runs a command, empty where it does not, and that command."""
    return (words[3], words[4:]) if words[:3] == ["ip", "netns", "exec"] else ("", words)


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    """This process' environment without what is about swarms or proxies, so that a user's own settings change no test.

    Without PYTHONUNBUFFERED too: an unbuffered `print` writes its line in parts, and an SL and its script write to
    one log, so that a line of one could stand within a line of the other.
    """
    own = ("SWARM_", "SL_", "SN_", "PYTHONUNBUFFERED")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(own) and not name.lower().endswith("_proxy")
    }
    return kept | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | dict(changes)


def _read_to_the_end(descriptor: int, seconds: float) -> bytes:
    deadline, line = time.monotonic() + seconds, b""
    while select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(descriptor, 65536)
        if not part:
            return line
        line += part
    raise AssertionError(f"a process was not ready after {seconds:.0f} s")
