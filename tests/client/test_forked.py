"""A process that a script forks has no part in its session: the SL node knows when the script itself is gone."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fake_sl import FakeSL
from swarmlearning.channel.messages import Kill, Open, Sync

BEGINNING = """
import os, sys
import numpy as np
from support.callbacks import ArrayCallback
callback = ArrayCallback(syncFrequency=1, minPeers=1, model={"w": np.zeros(3)})
callback.on_train_begin()
"""
A_CHILD_THAT_LIVES_ON = """
if os.fork():
    os._exit(1)
print("CHILD", os.getpid(), flush=True)
sys.stdin.read()
"""
A_CHILD_THAT_TRAINS_ON = """
if os.fork():
    os._exit(0)
sys.stdin.readline()
callback.on_batch_end()
print("trained", flush=True)
callback.on_train_end()
"""
A_CHILD_BESIDE_IT = """
read, write = os.pipe()
if not os.fork():
    os.read(read, 1)
    os._exit(0)
callback.on_batch_end()
callback.on_train_end()
os.write(write, b"1")
print("trained", flush=True)
"""


def start(sl: FakeSL, script: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", BEGINNING + script],
        env={"PYTHONPATH": ":".join(sys.path), "SWARM_CHANNEL": str(sl.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def sl(tmp_path: Path) -> Iterator[FakeSL]:
    with FakeSL(tmp_path, returns=1) as sl:
        yield sl


def test_the_sl_notices_that_a_script_has_ended_although_a_forked_process_lives_on(tmp_path: Path) -> None:
    with FakeSL(tmp_path) as sl, start(sl, A_CHILD_THAT_LIVES_ON) as started:
        sl.wait_until_left()
        assert started.wait(60) == 1
        assert started.stdout is not None
        [child] = next(line.split()[1:] for line in started.stdout if line.startswith("CHILD"))
        os.kill(int(child), 0)  # it is there: what it waits for comes at the end of this block
        assert sl.of(Kill) == []


def test_a_forked_process_that_trains_on_after_the_script_has_ended_opens_the_session_again(sl: FakeSL) -> None:
    with start(sl, A_CHILD_THAT_TRAINS_ON) as started:
        assert started.wait(60) == 0
        assert sl.hung_up.wait(60)
        output, _ = started.communicate("go on\n", timeout=150)
    assert "trained" in output
    assert (len(sl.of(Open)), sl.of(Open)[1].holds) == (2, "merged-0")


def test_a_forked_process_does_not_disturb_the_session_of_its_script(tmp_path: Path) -> None:
    with FakeSL(tmp_path) as sl, start(sl, A_CHILD_BESIDE_IT) as started:
        output, _ = started.communicate(timeout=150)
        assert "trained" in output
        assert (len(sl.of(Open)), len(sl.of(Sync))) == (1, 2)
