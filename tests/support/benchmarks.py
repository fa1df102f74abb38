"""Runs a benchmark as a user does."""

import os
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench"
LIMIT_SECONDS = 110.0


def run_script(script: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`bench/SCRIPT` with these options, and these variables beside the present ones, to its end."""
    command = [sys.executable, str(BENCH / script), *options]
    variables = os.environ | environment
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False, env=variables)
