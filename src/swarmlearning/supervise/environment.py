"""The environment of programs that are started: the `python` that they find."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path


def search_path(inherited: Mapping[str, str]) -> str:
    """PATH with the folder of this interpreter at its head, so that `python` is the one beside `swarm`; as it is where
    another environment is active (a virtual one, or one of conda's other than its base)."""
    path = inherited.get("PATH", os.defpath)
    conda = "" if inherited.get("CONDA_DEFAULT_ENV") == "base" else inherited.get("CONDA_PREFIX", "")
    active = inherited.get("VIRTUAL_ENV") or conda
    if active and Path(active).resolve() != Path(sys.prefix).resolve():
        return path
    return os.pathsep.join([str(Path(sys.executable).parent), *([path] if path else [])])
