"""An older release of the nodes and of the client, as its wheels install it, beside the one that is tested.

The wheels lie in the repository (`tests/system/releases/`, 1 MB). To build them from their commit would need the whole
history, which a shallow clone or a source archive lacks, and the build backend, which only a registry has: then the
test would be skipped exactly where nobody looks. What they depend on is shared with this interpreter.
"""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

WHEELS = Path(__file__).parents[1] / "system" / "releases"


class Release:
    """Installed into `folder`, from the wheels of this name; nothing is downloaded."""

    def __init__(self, name: str, folder: Path) -> None:
        wheels = sorted((WHEELS / name).glob("*.whl"))
        assert len(wheels) == 2, f"{WHEELS / name} has the wheels of the nodes and of the client: {wheels}"
        pip = (
            sys.executable,
            "-m",
            "pip",
            "--quiet",
            "--disable-pip-version-check",
            "install",
            "--no-index",
            "--no-deps",
        )
        done = subprocess.run([*pip, "--no-compile", "--target", folder, *wheels], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self._folder = folder

    @property
    def environment(self) -> Mapping[str, str]:
        """With it a Python finds this release before any other."""
        return {"PYTHONPATH": str(self._folder)}

    @property
    def command(self) -> Sequence[str]:
        """The prefix with which a command of this interpreter, and all that it starts, is one of this release."""
        return ("env", *(f"{name}={value}" for name, value in self.environment.items()))
