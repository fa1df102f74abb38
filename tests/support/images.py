"""The images of this tree, built by podman on a base of Debian packages, and a `podman` for the scripts that has them.

They stay in `.tools/images`, with the layers that the next build can use again.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import bundle
import images
from support import rootfs
from support.containers import Podman, storage_driver
from support.tools import lacks

STORE: Final = bundle.ROOT / ".tools" / "images"
BUILD_SECONDS: Final = 600
STAGES: Final = ("packages", "client-packages")
"""What is built only where requirements have changed."""


def provide() -> Path:
    """The storage of an engine with all images: see `Podman`. They are built where the tree has changed.

    Needs network then, as pip is set up on this machine, if requirements have changed too.
    """
    STORE.mkdir(parents=True, exist_ok=True)
    engine = Podman(STORE, storage_driver())
    with (STORE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sources, seen = _sources(), STORE / "sources"
        if not seen.exists() or seen.read_text() != sources:
            _provide(engine)
            seen.write_text(sources)
    return engine.storage


def _provide(engine: Podman) -> None:
    with tempfile.TemporaryDirectory(prefix="bundle-") as made:
        context = Path(made, "bundle")
        bundle.make(context)
        contents, built = _contents(context), STORE / "built"
        if not built.exists() or built.read_text() != contents:
            built.unlink(missing_ok=True)
            _build(engine, context, Path(made, "tree"))
            built.write_text(contents)


def program(engine: Podman, folder: Path) -> Path:
    """A folder with the program `podman`, which works with this engine's storage."""
    folder.mkdir()
    exports = "".join(f"export {name}='{value}'\n" for name, value in engine.settings.items())
    words = " ".join(engine.command()).removeprefix("podman ")
    wrapper = folder / "podman"
    wrapper.write_text(f'#!/bin/sh\n{exports}exec /usr/bin/podman {words} "$@"\n')
    wrapper.chmod(0o755)
    return folder


def _sources() -> str:
    """The checksum of all that a bundle for images is made from: nothing has to be made to see that it is the same."""
    names = ("src", "packaging", "tools/bundle.py", "tools/images.py", "pyproject.toml", "README.md", "LICENSE")
    places = [Path(rootfs.__file__), *(bundle.ROOT / name for name in names)]
    places += [Path(program) for name in ("etcd", "etcdctl") if (program := shutil.which(name))]
    files = [path for place in places for path in ([place] if place.is_file() else sorted(place.rglob("*")))]
    sums = (f"{bundle.digest(path)} {path}" for path in files if path.is_file() and "__pycache__" not in path.parts)
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()


def _contents(context: Path) -> str:
    """The checksums of what images are made from."""
    lines = (context / bundle.SUMS).read_text().splitlines()
    used = ("bin/", "images/", "requirements", "wheels/")
    return "\n".join(line for line in lines if line.split("  ")[1].startswith(used))


def _build(engine: Podman, context: Path, tree: Path) -> None:
    base = f"localhost/base:{hashlib.sha256(Path(rootfs.__file__).read_bytes()).hexdigest()[:16]}"
    if base not in engine.run("images", "--format", "{{.Repository}}:{{.Tag}}").split():
        engine.import_tree(rootfs.python_tree(tree), base)
    with tempfile.NamedTemporaryFile("w", prefix="pip-") as configuration:
        settings = _pip_settings()
        configuration.write("[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
        configuration.flush()
        shared = [f"{configuration.name}:/etc/pip.conf:ro", *(f"{path}:{path}:ro" for path in _paths(settings))]
        options = ["--isolation", "chroot", "--network", "host", "--pull-never"]
        options += [word for mount in shared for word in ("--volume", mount)]
        for target in (*STAGES, *images.TARGETS):
            command = engine.command(*images.build_command(["podman"], target, context, base)[1:])
            at = command.index("build") + 1
            done = subprocess.run(
                [*command[:at], *options, *command[at:]],
                env={**os.environ, **engine.settings},
                capture_output=True,
                text=True,
                timeout=BUILD_SECONDS,
            )
            assert done.returncode == 0, f"{target}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    engine.run("image", "prune", "--force")


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


if __name__ == "__main__" and lacks("podman") is None:
    provide()
