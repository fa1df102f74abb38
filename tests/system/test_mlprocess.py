"""The training command beside an SL: its exit status, and that nothing of it is left."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from swarmlearning.node.errors import NodeError
from swarmlearning.sl import mlprocess
from swarmlearning.sl.mlprocess import run_ml


def script(text: str) -> list[str]:
    return [sys.executable, "-c", text]


async def test_a_training_command_gets_its_channel_and_its_exit_status_is_returned() -> None:
    check = "import os, sys; sys.exit(7 if os.environ['SWARM_CHANNEL'] == '/there/ml.sock' else 1)"
    assert await run_ml(script(check), Path("/there/ml.sock")) == 7
    assert await run_ml(script(""), Path("ml.sock")) == 0


async def test_a_training_command_killed_by_a_signal_has_the_status_that_shells_give(
    caplog: pytest.LogCaptureFixture,
) -> None:
    status = await run_ml(script("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"), Path("ml.sock"))
    assert status == 128 + 9
    assert "The training command has failed: killed by SIGKILL" in caplog.text


async def test_a_training_command_that_does_not_exist_is_named() -> None:
    with pytest.raises(NodeError, match="cannot start the training command '/no/such/program': No such file"):
        await run_ml(["/no/such/program"], Path("ml.sock"))


@pytest.mark.parametrize("deaf", [False, True])
async def test_cancelling_ends_the_training_command_and_all_that_it_has_started(
    tmp_path: Path, deaf: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child of the command holds the pipe open for as long as it runs; so does a command that ignores SIGTERM."""
    monkeypatch.setattr(mlprocess, "STOP_SECONDS", 0.2 if deaf else 60.0)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = f"""
import signal, subprocess, sys
if {deaf}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
pipe = open({str(pipe)!r}, "wb", buffering=0)
child = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', end='', flush=True); signal.pause()"
subprocess.Popen([sys.executable, "-c", child], stdout=pipe)
signal.pause()
"""
    work = asyncio.create_task(run_ml(script(text), Path("ml.sock")))
    with await asyncio.to_thread(pipe.open, "rb", 0) as reader:
        assert await asyncio.to_thread(reader.read, 2) == b"up"
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        assert await asyncio.to_thread(reader.read) == b""  # the end: nobody holds it any more


async def test_cancelling_just_as_the_training_command_ends_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process group is gone when it is to be stopped."""
    kill = os.kill

    def gone(group: int, number: int) -> None:
        with suppress(ProcessLookupError):
            kill(group, 9)
        raise ProcessLookupError

    monkeypatch.setattr(os, "killpg", gone)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    work = asyncio.create_task(run_ml(script(f"import signal; open({str(pipe)!r}, 'wb'); signal.pause()"), Path("x")))
    with await asyncio.to_thread(pipe.open, "rb", 0):
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work


UP = "import signal; pipe = open({pipe!r}, 'wb', 0); pipe.write(b'up'); signal.pause()"

DOUBLE_FORK = """
import os, signal, sys, time
if os.fork():
    signal.pause()
os.setsid()
if os.fork():
    os._exit(0)
os.setpgid(0, 0)
exec(sys.argv[1])
"""

RANKS = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], start_new_session=True)"


@pytest.mark.parametrize(
    "wrapper",
    [
        [],
        ["bash", "-c", '"$@"; true', "run.sh"],
        ["bash", "-c", 'setsid "$@" & wait', "run.sh"],
        [sys.executable, "-c", RANKS],
        [sys.executable, "-c", DOUBLE_FORK],
    ],
    ids=["python", "bash", "setsid", "launcher-of-ranks", "double-fork"],
)
async def test_no_process_of_a_training_command_outlives_an_sl_that_is_killed(
    wrapper: list[str], tmp_path: Path
) -> None:
    """Whoever holds the pipe open is alive."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = UP.format(pipe=str(pipe))
    runs_text = not wrapper or wrapper[0] == "bash"
    command = [*wrapper, *(script(text) if runs_text else [text])]
    run = f"asyncio.run(run_ml({command!r}, pathlib.Path('ml.sock')))"
    sl = f"import asyncio, pathlib; from swarmlearning.sl.mlprocess import run_ml; {run}"
    process = await asyncio.create_subprocess_exec(*script(sl))
    with await asyncio.to_thread(pipe.open, "rb", 0) as reader:
        assert await asyncio.to_thread(reader.read, 2) == b"up"
        process.kill()
        assert await asyncio.to_thread(reader.read) == b""  # the end: nobody holds it any more
    await process.wait()


async def test_processes_that_a_training_command_leaves_behind_end_with_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    leaves = f'setsid {sys.executable} -c "$1" & head -c 2 {pipe}; exit 3'
    work = asyncio.create_task(run_ml(["bash", "-c", leaves, "run.sh", UP.format(pipe=str(pipe))], Path("ml.sock")))
    with await asyncio.to_thread(pipe.open, "rb", 0) as reader:
        assert await work == 3
        assert await asyncio.to_thread(reader.read) == b""  # the end: nobody holds it any more


async def test_exit_status_127_of_a_training_command_is_not_mistaken_for_a_failure_to_start() -> None:
    assert await run_ml(["sh", "-c", "exit 127"], Path("ml.sock")) == 127
