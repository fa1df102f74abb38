"""The story by PROCESS: pairs are local processes, in environments that a build task makes."""

import shutil
import sys
from pathlib import Path

from operate.story import SITES, Means
from support.swarm import ML

SCRIPTS = (ML, ML.with_name("original_client.py"))
STEPS = ("FROM python:3.11", "RUN pip install numpy")


def processes(folder: Path) -> Means:
    """`folder`: where the SWOPs' folders lie; the scripts are put there too."""
    shared = folder / "scripts"
    shared.mkdir()
    for script in SCRIPTS:
        shutil.copy(script, shared)

    def left(host: int) -> list[str]:
        attempts = folder / f"SWOP-{host}" / "data" / "process" / "attempts"
        return sorted(path.name for path in attempts.iterdir())

    return Means(
        build_steps=STEPS,
        outcome="environment",
        profile={},
        environments={host: {} for host in SITES},
        python=lambda client: sys.executable,
        shared=shared,
        left=left,
    )
