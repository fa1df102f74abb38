"""Runs a benchmark as a user does."""

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from support.processes import nodes_interpreter

BENCH = Path(__file__).parents[2] / "bench"
LIMIT_SECONDS = 110.0


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
