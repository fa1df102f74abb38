"""`uninstall`: ends all nodes of this host, and removes the images and what an installation has put beside this."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from swarmscripts import VERSION, stop
from swarmscripts.errors import ScriptError
from swarmscripts.runtime import find_runtime

INSTALLED = ("docs", "examples", "scripts", "lib", "README.md")
USAGE = """Usage: uninstall [--help]

Ends all nodes of this host, removes the images, and of the folder of this installation: docs, examples, scripts, lib
and README.md."""


def run(words: Sequence[str]) -> int:
    """Returns the exit status."""
    if words:
        print(USAGE, file=sys.stdout if list(words) == ["--help"] else sys.stderr)
        return 0 if list(words) == ["--help"] else 1
    try:
        return uninstall(Path(__file__).resolve().parents[3])
    except ScriptError as error:
        print(f"uninstall: {error}", file=sys.stderr)
        return 1


def uninstall(folder: Path) -> int:
    """Removes the installation in `folder`; the exit status. Raises `ScriptError` for a checkout of the sources."""
    if (folder / ".git").exists() or (folder / "pyproject.toml").exists():
        raise ScriptError(f"{folder} has the sources of this product and is no installation: nothing was removed")
    stop.stop(list(stop.TITLES), keep=False, sudo=False)
    if runtime := find_runtime(os.environ):
        for kind in stop.TITLES:
            image = f"swarmlearning/{kind}:{VERSION}"
            if runtime.output("image", "ls", "--quiet", image):
                runtime.output("image", "rm", "--force", image)
    for name in INSTALLED:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return 0
