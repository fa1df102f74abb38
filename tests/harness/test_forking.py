"""Commands that tests start by forking behave as programs that they start."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.processes import COMMAND, Processes
from support.swarm import Swarm


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
