"""Containers for tests: Debian's podman with storage of its own, behind its Docker-compatible socket.

No image is pulled: root file systems are imported, one with busybox alone, or whatever a test assembles.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from support.fixtures import SECONDS
from swarmlearning.orphans import dying_with_this_process

REPOSITORY: Final = Path(__file__).resolve().parents[2]
PYTHON: Final = Path(sys.executable).resolve()
CLEANERS: Final = 20
PYTHON_IMAGE: Final = "localhost/python:latest"
BUSYBOX: Final = "localhost/busybox:latest"
_CONFIGURATION: Final = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "bridge"
log_driver = "k8s-file"
volumes = {volumes}
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{folder}/tmp"
[network]
network_backend = "cni"
network_config_dir = "{folder}/networks"
"""
_REGISTRIES: Final = """
unqualified-search-registries = []
[[registry]]
location = "127.0.0.1"
insecure = true
"""


class Podman:
    """An engine with images, containers, volumes and networks of its own, all below `folder`; `settings`: its
    variables."""

    def __init__(
        self,
        folder: Path,
        driver: str,
        mounted: Iterable[Path] = (),
        within: Sequence[str] = (),
        images: Path | None = None,
    ) -> None:
        """`mounted`: folders of this machine that each container sees, and cannot change; `within`: a command that runs
        the engine's service in its place, such as on a host with a network of its own; `images`: the storage of another
        engine, whose images this one has too."""
        self._within = within
        self.folder = folder
        self.socket = folder / "podman.sock"
        self._storage = ["--root", self.storage, "--runroot", folder / "run", "--storage-driver", driver]
        if images is not None:
            self._storage += ["--storage-opt", f"{driver}.imagestore={images}"]
        volumes = json.dumps([f"{path}:{path}:ro" for path in mounted])
        (folder / "containers.conf").write_text(_CONFIGURATION.format(folder=folder, volumes=volumes))
        (folder / "registries.conf").write_text(_REGISTRIES)
        (folder / "auth.json").write_text("{}")
        (folder / "networks").mkdir(exist_ok=True)
        self.settings = {
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
            "REGISTRY_AUTH_FILE": str(folder / "auth.json"),
        }
        self._environment = {**os.environ, **self.settings}

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables by which a client of Docker's finds this engine."""
        return {"DOCKER_HOST": f"unix://{self.socket}"}

    def command(self, *words: str | Path) -> list[str]:
        """The command line of `podman` with this storage."""
        return [str(word) for word in ("podman", *self._storage, *words)]

    @property
    def storage(self) -> Path:
        """Where its images and containers lie."""
        return self.folder / "root"

    def run(self, *words: str | Path) -> str:
        """The output of a command of podman's, which has to succeed."""
        done = subprocess.run(
            self.command(*words), env=self._environment, capture_output=True, text=True, timeout=SECONDS
        )
        assert done.returncode == 0, f"podman {' '.join(map(str, words))}: {done.stderr}"
        return done.stdout.strip()

    def import_tree(self, tree: Path, name: str) -> None:
        """Makes an image of a root file system."""
        with subprocess.Popen(["tar", "-C", tree, "-c", "."], stdout=subprocess.PIPE) as packed:
            words = self.command("import", "--quiet", "-", name)
            subprocess.run(words, env=self._environment, stdin=packed.stdout, capture_output=True, check=True)
        assert packed.returncode == 0

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serves the socket inside the block; requests wait while it starts. Containers go on after the block."""
        self.socket.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener, (self.folder / "service.log").open("ab") as log:
            listener.bind(str(self.socket))
            listener.listen()
            handed = f'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&{listener.fileno()}'  # as systemd does
            service = subprocess.Popen(
                [*self._within, "bash", "-c", handed, "bash", *self.command("system", "service", "--time", "0")],
                cwd=self.socket.parent,  # where conmon notes that a container was out of memory
                env=self._environment,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
                preexec_fn=dying_with_this_process(),
            )
        try:
            yield
        finally:
            service.terminate()
            service.wait(SECONDS)

    def remove(self) -> None:
        """Ends all containers, and removes all there is."""
        for _ in range(CLEANERS):  # each container that ends has a process that cleans up after it, and writes files
            words = self.command("system", "reset", "--force")
            if subprocess.run(words, env=self._environment, capture_output=True, timeout=SECONDS).returncode == 0:
                return
        self.run("system", "reset", "--force")


@contextmanager
def podman(mounted: Iterable[Path] = (), within: Sequence[str] = (), images: Path | None = None) -> Iterator[Podman]:
    """An engine at work, with the image `BUSYBOX`; everything is gone after the block. Options: see `Podman`."""
    with tempfile.TemporaryDirectory(prefix="podman-", dir="/tmp") as folder:  # sockets need short paths
        engine = Podman(Path(folder), storage_driver(), mounted, within, images)
        try:
            engine.import_tree(busybox_tree(Path(folder)), BUSYBOX)
            with engine.serving():
                yield engine
        finally:
            engine.remove()


@cache
def storage_driver() -> str:
    """`overlay` where this user can mount that, else `vfs`, which copies whole images for each container."""
    with tempfile.TemporaryDirectory(prefix="overlay-", dir="/tmp") as folder:
        parts = [Path(folder, name) for name in ("lower", "upper", "work", "merged")]
        for part in parts:
            part.mkdir()
        options = "lowerdir={},upperdir={},workdir={}".format(*parts)
        mount = f"mount -t overlay overlay -o {options} {parts[3]}"
        tried = subprocess.run(["unshare", "--mount", "sh", "-c", mount], capture_output=True)
        return "overlay" if tried.returncode == 0 else "vfs"


def busybox_tree(folder: Path) -> Path:
    """A root file system with busybox's commands, made in this folder."""
    tree = folder / "busybox"
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp"):
        (tree / name).mkdir(parents=True)
    (tree / "tmp").chmod(0o1777)
    shutil.copy2("/bin/busybox", tree / "bin" / "busybox")
    names = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in set(names) - {"busybox"}:
        (tree / "bin" / name).symlink_to("busybox")
    return tree


# --- this machine's Python


def python_folders() -> list[Path]:
    """What a container needs of this machine to run its Python, with the packages and the code of the tests."""
    packages = [Path(entry).resolve() for entry in sys.path if entry.endswith("site-packages")]
    needed = [Path("/usr/lib"), Path("/usr/lib64"), Path(sys.base_prefix), Path(sys.prefix), *packages, REPOSITORY]
    found = sorted({path for path in needed if path.is_dir()})
    return [path for path in found if not any(path != other and path.is_relative_to(other) for other in found)]


def python_tree(folder: Path) -> Path:
    """A root file system for these folders, in which `swarm` is the command; it has nothing of them in it."""
    tree = busybox_tree(folder)
    for name in ("lib", "lib64"):
        (tree / name).symlink_to(f"usr/{name}")
    for path in (*python_folders(), Path("/usr/lib"), Path("/usr/lib64")):
        (tree / path.relative_to("/")).mkdir(parents=True, exist_ok=True)
    program = "from swarmlearning.cli.main import main; main()"
    (tree / "bin" / "swarm").write_text(f"#!/bin/sh\nexec {PYTHON} -c '{program}' \"$@\"\n")
    (tree / "bin" / "swarm").chmod(0o755)
    return tree


@contextmanager
def python_podman() -> Iterator[Podman]:
    """An engine with the image `PYTHON_IMAGE`, in which this machine's Python and `swarm` run."""
    with podman(python_folders()) as engine:
        with tempfile.TemporaryDirectory(prefix="image-") as folder:
            engine.import_tree(python_tree(Path(folder)), PYTHON_IMAGE)
        yield engine


def python_environment() -> dict[str, str]:
    """The variables with which that Python finds the packages and the code of the tests."""
    return {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry), "PYTHONDONTWRITEBYTECODE": "1"}
