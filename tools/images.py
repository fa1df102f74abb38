"""Builds the images from the bundle: `python tools/images.py docker|podman [BASE]`."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bundle import ROOT, version

TARGETS = ("sn", "sl", "swop", "swci", "slm-ui", "license", "user")


def build_command(engine: Sequence[str], target: str, context: Path, base: str = "") -> list[str]:
    """The command that builds one image, in Docker's format: others have no health checks."""
    command = [*engine, "build", "--target", target, "--tag", f"swarmlearning/{target}:{version()}"]
    if Path(engine[0]).name == "podman":
        command += ["--format", "docker", "--layers"]
    if base:
        command += ["--build-arg", f"BASE={base}"]
    return [*command, "--file", str(context / "images" / "Dockerfile"), str(context)]


def main() -> int:
    """Builds all; returns the exit status of the first that fails."""
    engine, base = [*sys.argv[1:], ""][:2]
    for target in TARGETS:
        command = build_command([engine], target, ROOT / "dist" / f"swarmlearning-{version()}", base)
        if status := subprocess.run(command).returncode:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
