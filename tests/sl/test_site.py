"""What an SL says of its script: whether it is stopped, and whether it has the GPU that it was told to use."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from swarmlearning.sl.site import gpu_of_process, state_of_process


@contextmanager
def process(**variables: str) -> Iterator[psutil.Process]:
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=variables,
    ) as started:
        assert started.stdout is not None
        started.stdout.readline()
        try:
            yield psutil.Process(started.pid)
        finally:
            started.kill()


def test_a_process_that_was_stopped_is_told_from_one_that_runs() -> None:
    with process() as script:
        assert state_of_process(script.pid) == "running"
        script.suspend()
        os.waitid(os.P_PID, script.pid, os.WSTOPPED | os.WNOWAIT)
        assert state_of_process(script.pid) == "stopped"
    assert state_of_process(script.pid) == ""
    assert state_of_process(0) == ""


@pytest.mark.parametrize(
    ("variables", "there", "expected"),
    [
        ({}, False, ""),
        ({"CUDA_VISIBLE_DEVICES": "0"}, False, "missing"),
        ({"CUDA_VISIBLE_DEVICES": ""}, False, ""),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, True, "hidden"),
        ({}, True, "unused"),
    ],
)
def test_a_gpu_is_missing_hidden_or_unused(
    variables: dict[str, str], there: bool, expected: str, tmp_path: Path
) -> None:
    if there:
        (tmp_path / "nvidia0").touch()
    with process(**variables) as script:
        assert gpu_of_process(script.pid, tmp_path) == expected
