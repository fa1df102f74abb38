"""Commands that tests start by forking behave as programs that they start."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from support.namespaces import Namespaces
from support.processes import COMMAND, Processes, nodes_interpreter, script_interpreter
from support.swarm import Swarm
from support.tools import needs


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as running:
        yield running


@pytest.mark.parametrize("environment", [{}, {"PYTHONUTF8": "1"}], ids=["forked", "as a program"])
def test_a_command_writes_to_its_log_and_its_exit_code_is_returned(
    processes: Processes, environment: dict[str, str]
) -> None:
    process = processes.start("version", *COMMAND, "--version", environment=environment)
    assert process.wait() == 0
    assert process.output.startswith("swarm 0.")
    assert processes.start("mistaken", *COMMAND, "no-such-command", environment=environment).wait() == 2


def test_a_forked_node_has_a_process_group_and_a_working_directory_of_its_own(
    processes: Processes, tmp_path: Path
) -> None:
    sn = Swarm(processes, tmp_path).start_sn()
    assert sn.ready["api"].startswith("127.0.0.1:")  # on the descriptor that it was given
    assert os.getpgid(sn.pid) == sn.pid
    assert Path(f"/proc/{sn.pid}/cwd").readlink() == tmp_path
    assert sn.running
    sn.kill()
    assert sn.wait() == -signal.SIGKILL
    assert not sn.running


def test_a_forked_node_that_ends_before_it_is_ready_is_noticed_at_once(processes: Processes) -> None:
    node = processes.node("SN", "sn", {"environment": "none"})
    with pytest.raises(AssertionError, match=r"(?s)SN has ended before it was ready.*No such option: --env"):
        assert node.ready


def test_a_forked_command_has_the_environment_given_and_no_other(processes: Processes) -> None:
    nowhere = {"HOME": ""}
    process = processes.start("SL", *COMMAND, "model", "list", environment=nowhere)
    assert process.wait() == 1
    assert "HOME is not set" in process.output


@needs("netns")
def test_a_node_on_a_host_is_forked_in_the_network_of_that_host_and_sees_its_names(
    processes: Processes, tmp_path: Path
) -> None:
    with Namespaces(1, {"there.example": 1}) as hosts:
        sn = Swarm(processes, tmp_path).start_sn(within=hosts.command(1), host_ip=hosts.address(1))
        assert sn.ready["api"].startswith(hosts.address(1))
        assert os.getpgid(sn.pid) == sn.pid
        own = Path(f"/proc/{sn.pid}")
        assert own.joinpath("cmdline").read_bytes().split(b"\0")[2].endswith(b"forking.py")
        assert own.joinpath("ns/net").stat() == Path("/run/netns", hosts.name(1)).stat()
        assert "there.example" in own.joinpath("root/etc/hosts").read_text()
        assert "there.example" not in Path("/etc/hosts").read_text()
        sn.kill()


@pytest.fixture
def python(tmp_path: Path) -> Iterator[str]:
    """A command used like Python, whose scripts have imported `fractions` before they begin."""
    with script_interpreter(tmp_path, "import fractions", {}) as command:
        yield command


def test_a_forked_script_has_the_arguments_files_and_folder_it_is_started_with_and_its_exit_code_is_returned(
    python: str, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\n"
        "os.write(int(sys.argv[2]), b'inherited')\n"
        "print('fractions' in sys.modules, __name__, sys.argv[1], os.getcwd(), os.environ['GIVEN'], sys.stdin.read())\n"
        "print('an error', file=sys.stderr)\n"
        "os.close(os.open('made', os.O_CREAT, 0o666))\n"
        "sys.exit(3)\n"
    )
    folder = tmp_path / "there"
    folder.mkdir()
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as inherited:
        ran = subprocess.run(
            [python, script, "an argument", str(writer)],
            input="typed",
            env={**os.environ, "GIVEN": "value"},
            cwd=folder,
            pass_fds=[writer],
            umask=0o077,
            capture_output=True,
            text=True,
            timeout=60,
        )
        os.close(writer)
        assert inherited.read() == b"inherited"
    forked = sys.platform == "linux"
    assert ran.stdout == f"{forked} __main__ an argument {folder} value typed\n"
    assert ran.stderr == "an error\n"
    assert ran.returncode == 3
    assert stat.S_IMODE((folder / "made").stat().st_mode) == 0o600


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_to_the_stand_in_of_a_forked_script_ends_the_script(
    python: str, tmp_path: Path, number: signal.Signals, wait_until_gone: Callable[[Iterable[int]], None]
) -> None:
    script = tmp_path / "script.py"
    script.write_text("import os, signal\nprint(os.getpid(), flush=True)\nsignal.pause()\n")
    with subprocess.Popen([python, script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.send_signal(number)
        assert process.wait(60) == -number
    wait_until_gone([pid])


@needs("netns")
def test_a_forked_script_has_the_network_and_the_mounts_of_whoever_starts_it(python: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import os\nprint(*(os.readlink(f'/proc/self/ns/{kind}') for kind in ('net', 'mnt')))\n")
    ours = [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("net", "mnt")]
    here = subprocess.run([python, script], capture_output=True, text=True, check=True).stdout.split()
    there = [
        "unshare",
        "--net",
        "--mount",
        "sh",
        "-c",
        f"readlink /proc/self/ns/net /proc/self/ns/mnt; {python} {script}",
    ]
    both = subprocess.run(there, capture_output=True, text=True, check=True).stdout.split()
    assert here == ours
    assert both[:2] == both[2:]
    assert not {*both} & {*ours}


def test_other_python_commands_run_in_python_itself(python: str) -> None:
    code = "import sys; print('fractions' in sys.modules)"
    assert subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux nodes are forked")
def test_a_forked_swarm_run_starts_its_nodes_by_forking_too(tmp_path: Path) -> None:
    command: list[str | Path] = [
        nodes_interpreter(tmp_path),
        *COMMAND[1:],
        "run",
        "-n",
        "2",
        "--no-live",
        "--runs-dir",
        tmp_path / "runs",
    ]
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}  # a Python that starts would list its imports
    ran = subprocess.run(
        [*command, "--", sys.executable, "-c", "pass"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert "none has taken part in the swarm" in ran.stderr
    logs = [path.read_text() for path in (tmp_path / "runs" / "latest" / "logs").glob("S[LN]-?.log")]
    assert len(logs) == 3
    assert not any("import time:" in log for log in logs)
