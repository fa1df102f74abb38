"""A crash leaves a report, and the last line of the log says where; a signal writes all stacks to a file."""

import re
import signal
import sys
from pathlib import Path

import pytest

from support.certs import make_workspace
from support.processes import Process, Processes
from support.swarm import identity_options
from swarmlearning.node.crashes import KEPT, Crashes, reports

PROGRAM = r"""
import asyncio, faulthandler, logging, os, signal, sys, threading
import swarmlearning.sn.node as node
from swarmlearning.cli.main import main
from swarmlearning.node.errors import NodeError

async def run(self, report_ready):
    logging.getLogger("swarm.SN").info("what was said last, password=%s", os.environ["CANARY_TOKEN"])
    async def waits_for_long():
        await asyncio.Event().wait()
    def falls(where=""):
        if where: return int("of native code " + os.environ["CANARY_TOKEN"])
        raise ValueError("of native code " + os.environ["CANARY_TOKEN"])
    kind = os.environ["KIND"]
    if kind == "error": falls()
    if kind == "expected": raise NodeError("no disk: make room")
    if kind == "fault": faulthandler._sigsegv()
    if kind == "beside":
        thread = threading.Thread(target=falls, args=("thread",), name="worker"); thread.start(); thread.join()
        for _ in range(3): asyncio.get_running_loop().call_soon(falls)
    if kind == "stacks":
        waiting = asyncio.create_task(waits_for_long(), name="the-one-that-waits")
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGUSR1)
        print("AT ONCE", "in run\n" in open(os.environ["STACKS"]).read(), flush=True)  # as where the loop is stuck
    for _ in range(100):
        await asyncio.sleep(0)

node._Sn.run = run
main()
"""
CANARY = "Canary-c0ffee-17"


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | Path]:
    return identity_options(make_workspace(tmp_path_factory.mktemp("cert"), ["SN-1"])["SN-1"])


def start(processes: Processes, kind: str, directory: Path, identity: dict[str, str | Path]) -> Process:
    options = {"host-ip": "127.0.0.1", "ordering": "local", "data-dir": directory, **identity}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    environment = {"KIND": kind, "CANARY_TOKEN": CANARY, "STACKS": str(directory / "stacks.txt")}
    return processes.start(f"SN-{kind}", sys.executable, "-c", PROGRAM, "sn", *words, environment=environment)


def test_a_crash_leaves_a_report_that_the_last_line_names(
    processes: Processes, tmp_path: Path, identity: dict[str, str | Path]
) -> None:
    node = start(processes, "error", tmp_path, identity)
    assert node.wait() == 1
    (report,) = reports(tmp_path)
    what = "This node ends: an error that nobody expected: ValueError: of native code [removed]"
    kept = (tmp_path / "node.log").read_text()
    for log in (node.output, kept):
        assert log.count("in falls") == 1, log
        assert log.splitlines()[-1].endswith(f" : CRITICAL : {what}. The report is {report}")
    text = report.read_text()
    assert text.startswith(f"{what}\n\nNode      SN SN-1, process ")
    assert "in falls\n" in text
    assert re.search(r"^Versions  swarmlearning .*, Python 3", text, re.MULTILINE)
    assert ": INFO : what was said last, password=[removed]" in text
    assert CANARY not in text + node.output + kept
    assert report.stat().st_mode & 0o077 == 0


def test_errors_beside_the_work_are_reported_once_and_do_not_end_the_node(
    processes: Processes, tmp_path: Path, identity: dict[str, str | Path]
) -> None:
    node = start(processes, "beside", tmp_path, identity)
    assert node.wait() == 0, node.output
    found = reports(tmp_path)
    assert [path.read_text().partition("expected")[0] for path in found] == [
        "Thread worker of this node has ended by an error that nobody ",
        "This node goes on after an error that nobody ",
    ]
    assert all("of native code [removed]" in path.read_text() for path in found)
    assert [f"The report is {path}\n" in node.output for path in found] == [True, True]


def test_a_fault_in_native_code_is_reported_by_the_next_start(
    processes: Processes, tmp_path: Path, identity: dict[str, str | Path]
) -> None:
    assert start(processes, "fault", tmp_path, identity).wait() == -signal.SIGSEGV
    assert reports(tmp_path) == []
    node = start(processes, "expected", tmp_path, identity)
    assert node.wait() == 1
    (report,) = reports(tmp_path)
    assert "Fatal Python error: Segmentation fault" in report.read_text()
    assert f"has died of a fault in native code; the report is {report}" in node.output
    assert node.output.endswith("swarm sn: no disk: make room\n"), "an error that says what to do is no crash"


def test_a_signal_writes_the_stacks_of_threads_and_tasks(
    processes: Processes, tmp_path: Path, identity: dict[str, str | Path]
) -> None:
    stacks = tmp_path / "stacks.txt"
    node = start(processes, "stacks", tmp_path, identity)
    assert node.wait() == 0, node.output
    text = stacks.read_text()
    assert "AT ONCE True" in node.output, text
    waiting = r"task the-one-that-waits\n  File .*, in waits_for_long\n  File .*, in wait\n.*\n  awaiting Fut"
    assert re.search(waiting, text), text
    count = text.count("\ntask ")
    assert f"SIGUSR1 received: the stacks of all threads and {count} tasks are in {stacks}" in node.output


def test_only_the_newest_reports_are_kept(tmp_path: Path) -> None:
    logged = Crashes(tmp_path, "SN SN-1")
    for number in range(KEPT + 5):
        with pytest.raises(ZeroDivisionError) as caught:
            eval(compile(f"{chr(10) * number}1/0", "place", "eval"))
        assert logged.report(caught.value)
        assert logged.report(caught.value)
    assert len(reports(tmp_path)) == KEPT
    assert not logged.report(KeyboardInterrupt())
