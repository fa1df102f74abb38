"""Runs a benchmark as a user does."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from support.processes import nodes_interpreter

TESTS = Path(__file__).parents[1]
BENCH = TESTS.parent / "bench"
LIMIT_SECONDS = 400.0


def run_script(script: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`bench/SCRIPT` with these options, and these variables beside the present ones, to its end.

    It is forked; what it starts and measures are programs of their own.
    """
    variables = os.environ | environment
    with TemporaryDirectory() as folder:
        command = [nodes_interpreter(Path(folder)), str(BENCH / script), *options]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False, env=variables
        )


def run_with_support(script: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same for a benchmark that uses `support` too: a program of its own."""
    variables = os.environ | {"PYTHONPATH": str(TESTS)} | environment
    command = [sys.executable, str(BENCH / script), *options]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=2 * LIMIT_SECONDS, check=False, env=variables
    )


def names_in(script: str) -> dict[str, Any]:
    """What a module of benchmarks defines that imports none of the others."""
    return runpy.run_path(str(BENCH / script))
