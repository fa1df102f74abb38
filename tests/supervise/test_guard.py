"""The guard: what a killed launcher leaves behind ends, and nothing else does."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from swarmlearning.supervise import guard

WaitUntilGone = Callable[[Iterable[int]], None]

WAIT = "import signal; signal.pause()"
GUARD = [sys.executable, "-I", "-S", guard.__file__]

# Starts the guard and a process with a child of its own, tells their PIDs, and waits to be killed.
LAUNCHER = f"""
import os, signal, subprocess, sys
from swarmlearning.supervise import guard
reader, writer = os.pipe()
watching = subprocess.Popen({GUARD!r}, stdin=reader, start_new_session=True)
os.close(reader)
child = "import os, subprocess, sys; c = subprocess.Popen([sys.executable, '-c', {WAIT!r}]); " + (
    "print(os.getpid(), c.pid, flush=True); c.wait()"
)
process = subprocess.Popen(
    guard.announced([sys.executable, "-c", child]), stdin=writer, stdout=subprocess.PIPE, process_group=0, text=True
)
print(watching.pid, process.stdout.readline(), flush=True)
signal.pause()
"""


@contextmanager
def started(*command: str, **options: Any) -> Iterator["subprocess.Popen[Any]"]:
    """A process in a group of its own, that does not outlive the block whatever happens in it."""
    with subprocess.Popen(command, process_group=0, **options) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_a_killed_launcher_leaves_no_process_behind(wait_until_gone: WaitUntilGone) -> None:
    with started(sys.executable, "-c", LAUNCHER, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        watching, child, grandchild = map(int, launcher.stdout.readline().split())
        launcher.kill()
    wait_until_gone([child, grandchild, watching])


def test_a_process_group_reported_as_ended_is_left_alone() -> None:
    with started(sys.executable, "-c", WAIT) as other:
        subprocess.run(GUARD, input=f"+{other.pid}\n-{other.pid}\n", text=True, check=True, timeout=150)
        assert other.poll() is None
        subprocess.run(GUARD, input=f"+{other.pid}\n", text=True, check=True, timeout=150)
        assert other.wait(60) == -signal.SIGTERM


def test_signals_do_not_end_the_guard() -> None:
    code = """
import os, signal, sys
from swarmlearning.supervise import guard
class Input:
    def __iter__(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        return iter([])
sys.stdin = Input()
guard.main()
print("reached the end")
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=150)
    assert shown.stdout == "reached the end\n", shown.stderr


def test_the_guard_kills_a_process_that_ignores_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "GRACE_SECONDS", 0.05)
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    with started(sys.executable, "-c", stubborn, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        guard.end([process.pid])
        assert process.wait(60) == -signal.SIGKILL


def test_a_process_announces_itself_to_the_guard_and_does_not_keep_the_pipe() -> None:
    reader, writer = os.pipe()
    with started(*guard.announced([sys.executable, "-c", WAIT]), stdin=writer) as process:
        os.close(writer)
        with os.fdopen(reader) as pipe:
            assert pipe.read() == f"+{process.pid}\n"  # the end of file comes while the process still runs
        assert process.poll() is None


def test_a_guarded_command_keeps_its_arguments_and_gets_no_input() -> None:
    words = ["two words", "$HOME", "it's", "", "*", "-n"]
    show = "import sys; print(sys.argv[1:], sys.stdin.read())"
    reader, writer = os.pipe()
    shown = subprocess.run(
        guard.announced([sys.executable, "-c", show, *words]), stdin=writer, capture_output=True, text=True, timeout=150
    )
    os.close(reader)
    os.close(writer)
    assert shown.stdout == f"{words} \n"


def test_the_guard_needs_nothing_but_the_standard_library() -> None:
    """It starts in milliseconds, and works where the package's dependencies are broken."""
    code = f"import runpy, sys; runpy.run_path({guard.__file__!r}); print(sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert "swarmlearning" not in shown.stdout
    assert "asyncio" not in shown.stdout
