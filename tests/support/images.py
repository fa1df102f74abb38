"""The images of this tree, built by podman on a base of Debian packages, and a `podman` for the scripts that has them.

What has been built is kept in `.tools/images`, under the digest of all that it was made from.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import bundle
import images
from support import rootfs
from support.containers import Podman

BASE: Final = "localhost/base:latest"
NAMES: Final = tuple(f"swarmlearning/{target}:{bundle.version()}" for target in images.TARGETS)
KEPT: Final = bundle.ROOT / ".tools" / "images"
BUILD_SECONDS: Final = 600


def provide(engine: Podman) -> None:
    """Puts all images into this engine, in some 80 s where they have to be built. Needs network then, as pip is set up
    on this machine."""
    with tempfile.TemporaryDirectory(prefix="bundle-") as made:
        context = Path(made, "bundle")
        bundle.make(context)
        key = hashlib.sha256((context / bundle.SUMS).read_bytes() + Path(rootfs.__file__).read_bytes()).hexdigest()
        archive = KEPT / f"{key}.tar"
        if archive.exists():
            engine.run("load", "--quiet", "--input", archive)
            return
        _build(engine, context, rootfs.python_tree(Path(made, "tree")))
    KEPT.mkdir(parents=True, exist_ok=True)
    for outdated in KEPT.iterdir():
        outdated.unlink()
    engine.run("save", "--quiet", "--multi-image-archive", "--output", archive.with_suffix(".part"), *NAMES)
    archive.with_suffix(".part").rename(archive)


def program(engine: Podman, folder: Path) -> Path:
    """A folder with the program `podman`, which works with this engine's storage."""
    folder.mkdir()
    exports = "".join(f"export {name}='{value}'\n" for name, value in engine.settings.items())
    words = " ".join(engine.command()).removeprefix("podman ")
    wrapper = folder / "podman"
    wrapper.write_text(f'#!/bin/sh\n{exports}exec /usr/bin/podman {words} "$@"\n')
    wrapper.chmod(0o755)
    return folder


def _build(engine: Podman, context: Path, tree: Path) -> None:
    engine.import_tree(tree, BASE)
    with tempfile.NamedTemporaryFile("w", prefix="pip-") as configuration:
        settings = _pip_settings()
        configuration.write("[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
        configuration.flush()
        shared = [f"{configuration.name}:/etc/pip.conf:ro", *(f"{path}:{path}:ro" for path in _paths(settings))]
        options = ["--isolation", "chroot", "--network", "host", "--pull-never"]
        options += [word for mount in shared for word in ("--volume", mount)]
        for target in images.TARGETS:
            command = engine.command(*images.build_command(["podman"], target, context, BASE)[1:])
            at = command.index("build") + 1
            done = subprocess.run(
                [*command[:at], *options, *command[at:]],
                env={**os.environ, **engine.settings},
                capture_output=True,
                text=True,
                timeout=BUILD_SECONDS,
            )
            assert done.returncode == 0, f"{target}: {done.stdout[-3000:]}{done.stderr[-3000:]}"


def _pip_settings() -> dict[str, str]:
    """How pip finds packages on this machine, from its files and variables."""
    shown = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    return dict(re.findall(r"^\S+?\.([a-z-]+)='(.*)'$", shown, re.MULTILINE))


def _paths(settings: dict[str, str]) -> set[str]:
    """The folders and files of this machine that the settings name: of a local index all that lies beside it."""
    found = set()
    for word in " ".join(settings.values()).split():
        path = Path(word.removeprefix("file://"))
        with suppress(OSError):
            if path.is_absolute() and path.exists():
                found.add(str(path.parent if path.name == "simple" else path))
    return found
