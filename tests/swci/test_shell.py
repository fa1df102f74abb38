"""`swarm swci` as a process: scripts, exit codes, and the shell on a terminal."""

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from support.certs import make_workspace
from support.ports import fixed_port
from support.processes import COMMAND, Process, Processes
from support.swarm import identity_options
from swarmlearning.identity.identity import Identity
from swarmlearning.swci.output import Line
from swarmlearning.swci.session import Session
from swarmlearning.swci.shell import Screen

SECONDS = 60.0
CURSOR = "\x1b[1;1R"
"""What a terminal answers when the shell asks where the cursor is."""


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return make_workspace(tmp_path / "cert", ["SWCI-1"])["SWCI-1"]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as started:
        yield started


def words(tmp_path: Path, identity: Identity, *more: str | Path) -> list[str | Path]:
    options = {"data-dir": tmp_path / "home", **identity_options(identity)}
    return [*COMMAND, "swci", *more, *(word for name, value in options.items() for word in (f"--{name}", value))]


def swci(
    processes: Processes,
    tmp_path: Path,
    identity: Identity,
    script: str,
    name: str = "swci-init",
    environment: dict[str, str] | None = None,
) -> Process:
    """Runs a script of the user directory to its end."""
    folder = tmp_path / "usr"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(script)
    command = words(tmp_path, identity, "--usr-dir", folder)
    started = processes.start("swci", *command, environment=environment)
    started.wait(SECONDS)
    return started


def test_a_script_that_ends_with_exit_ends_with_0_whatever_failed(
    processes: Processes, tmp_path: Path, identity: Identity
) -> None:
    done = swci(processes, tmp_path, identity, "LIST NODES\nEXIT\nPWD\n")
    assert done.wait() == 0
    assert "##               SWARM LEARNING SWCI NODE               ##\n" in done.output
    assert "\nSWCI:0 > LIST NODES\nERROR : no context is in use" in done.output
    assert done.output.endswith("\nSWCI:1 > EXIT\n")


def test_a_failure_with_exit_on_failure_ends_with_1(processes: Processes, tmp_path: Path, identity: Identity) -> None:
    script = "EXIT ON FAILURE\nLIST NODES\nEXIT\n"
    done = swci(processes, tmp_path, identity, script, "start", {"SWCI_STARTUP_SCRIPT": "start"})
    assert done.wait() == 1
    assert "SWCI:2 >" not in done.output


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_without_exit_the_input_follows_the_script(kind: str, tmp_path: Path, identity: Identity) -> None:
    folder, typed = tmp_path / "usr", tmp_path / "typed"
    folder.mkdir()
    (folder / "swci-init").write_text("PWD\n")
    typed.write_text("\x1b[2J\nPWD")
    command = words(tmp_path, identity, "--usr-dir", folder)
    with typed.open() as file:
        given = {"input": typed.read_text()} if kind == "pipe" else {"stdin": file}
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, **given)
    assert done.returncode == 0
    shown = done.stdout.split("\n", 3)[3]
    assert shown.startswith(f"SWCI:0 > PWD\n    {folder}\n")
    assert shown.endswith(f"SWCI:2 > PWD\n    {folder}\n")
    assert "ERROR : column 1: \\x1b[2J is no command" in shown


@pytest.mark.parametrize("script", ["SLEEP 1000\n", "PWD\n"], ids=["in a command", "while it reads"])
def test_ctrl_c_in_a_script_ends_with_130(script: str, tmp_path: Path, identity: Identity) -> None:
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr" / "swci-init").write_text(script)
    command = words(tmp_path, identity, "--usr-dir", tmp_path / "usr")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        assert started.stdout
        assert started.stderr
        while b"SLEEP" not in (line := started.stdout.readline()) and b"/usr" not in line:
            assert line
        started.send_signal(signal.SIGINT)
        assert started.wait(SECONDS) == 130
        assert b"Traceback" not in started.stderr.read()


@pytest.mark.parametrize(
    ("more", "environment", "message"),
    [
        (("--usr-dir", "nowhere"), {}, "--usr-dir: nowhere: bad path"),
        (("--init-script-name", "x"), {}, "a script lies in the user directory: give --usr-dir"),
        (("--usr-dir", ".", "--init-script-name", "x"), {}, "--init-script-name: x: bad file"),
        ((), {"SWCI_MODE": "GUI"}, "SWCI_MODE=GUI: "),
        ((), {"SWCI_RUN_TASK_MAX_WAIT_TIME": "soon"}, "SWCI_RUN_TASK_MAX_WAIT_TIME"),
    ],
)
def test_options_that_cannot_be_end_with_one_message(
    processes: Processes,
    tmp_path: Path,
    identity: Identity,
    more: tuple[str, ...],
    environment: dict[str, str],
    message: str,
) -> None:
    done = processes.start("swci", *words(tmp_path, identity, *more), environment=environment)
    assert done.wait(SECONDS) == 1
    assert message in done.output
    assert "Traceback" not in done.output


class Terminal:
    """SWCI on a terminal of its own."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.pid, self._end = pty.fork()
        self._shown = b""
        if self.pid == 0:  # the child becomes SWCI
            os.environ.update(TERM="xterm", COLUMNS="80", LINES="24")
            os.chdir(folder)
            os.execv(sys.executable, command)

    def type(self, keys: str) -> None:
        os.write(self._end, keys.encode())

    def until(self, text: str) -> None:
        """Waits until this text is shown, after what was waited for before."""
        deadline = time.monotonic() + SECONDS
        while text not in (plain := re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._shown.decode(errors="replace"))):
            assert select.select([self._end], [], [], max(0.0, deadline - time.monotonic()))[0], plain
            self._shown += os.read(self._end, 4096)
        self._shown = plain.partition(text)[2].encode()

    def end(self) -> int:
        """Its exit status, once it has ended."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        """Hangs up, which ends SWCI."""
        os.close(self._end)


def test_on_a_terminal_words_are_completed_and_commands_interrupted(tmp_path: Path, identity: Identity) -> None:
    terminal = Terminal([os.fspath(word) for word in words(tmp_path, identity)], tmp_path)
    try:
        terminal.until("SWARM LEARNING SWCI NODE")
        terminal.until("SWCI:0 >")
        terminal.type(CURSOR)
        terminal.type(f"WAIT FOR IP 127.0.0.1 {fixed_port()}\r")
        terminal.until("    #")
        terminal.type("\x03")
        terminal.until("ERROR : interrupted")
        terminal.until("SWCI:1 >")
        terminal.type(CURSOR)
        terminal.type("EXIT ON FAI\t")
        terminal.until("EXIT ON FAILURE")
        terminal.type("\r")
        terminal.until("IS TURNED ON")
        terminal.until("SWCI:2 >")
        terminal.type(f"{CURSOR}PWD nothing\r")
        terminal.until("ERROR : ")
        assert terminal.end() == 1
    finally:
        terminal.close()
    history = tmp_path / "home" / "history"
    assert "+EXIT ON FAILURE\n" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600


def test_marks_stand_in_one_line_and_notes_are_for_terminals() -> None:
    lines = [Line("one"), Line("#", "mark"), Line("#", "mark"), Line("two"), Line("note", "note"), Line("#", "mark")]
    for notes, note in ((False, ""), (True, "    note\n")):
        stream = io.StringIO()
        screen = Screen(cast(Session, None), stream, notes=notes)
        for each in lines:
            screen.show(each)
        screen.end_marks()
        assert stream.getvalue() == f"    one\n    ##\n    two\n{note}    #\n"
