"""`swarmLogCollector`: the logs of this host's containers, and what is known of them, as one archive without secrets.

On a host without a container runtime the nodes are processes: then `swarm logs collect` collects their folders.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from swarmscripts import processes, records
from swarmscripts.errors import ScriptError
from swarmscripts.redaction import REMOVED, is_secret, redacted
from swarmscripts.runtime import Runtime, find_runtime

USAGE = """Usage: swarmLogCollector "<DOCKER_HUB>" "workspace=<dir>" | "mlimage=<image>"

Puts the logs of the containers of this host, running or not, into logs/swarm_logs_<host>_<time>.tar.gz of this
installation, without secrets; archives made before are removed.

  <DOCKER_HUB>       what comes before the name of the nodes' images, such as swarmlearning
  workspace=<dir>    the example's folder: its task definitions name the user's image
  mlimage=<image>    the user's image"""

NODES = {"sn": "SN", "swop": "SWOP", "sl": "SL"}
UI = ("slm-ui", "slm-postgres")
MOST_LINES = 100_000
"""Of a container's log, the newest."""
MOST_BYTES = 64 * 2**20
SECONDS = 60.0
"""The time that a program has to say what it knows."""
HOST = (
    ("date",),
    ("id",),
    ("lsb_release", "-a"),
    ("uname", "-a"),
    ("df", "-h"),
    ("nvidia-smi",),
    ("pip", "list"),
)
_OUTCOME = re.compile(r"^\s*Outcome\s*:\s*[\"']?([^\s\"'#]+)", re.MULTILINE)
_MAKES_IMAGE = re.compile(r"^\s*TaskType\s*:\s*[\"']?MAKE_USER_CONTAINER\b", re.MULTILINE)


def run(words: Sequence[str]) -> int:
    """Returns the exit status."""
    if list(words) == ["--help"]:
        print(USAGE)
        return 0
    hub, source = [*words, "", ""][:2]
    if not hub:
        print("ERROR: DOCKER HUB ARGUMENT IS EMPTY..Exiting!!", file=sys.stderr)
    elif not source.startswith(("workspace=", "mlimage=")) or source.endswith("="):
        print("ERROR: Either mlimage or workspace should be passed..Exiting!!", file=sys.stderr)
    else:
        try:
            return collect(hub, source, Path(__file__).absolute().parents[3] / "logs")
        except ScriptError as error:
            print(f"swarmLogCollector: {error}", file=sys.stderr)
    return 1


def collect(hub: str, source: str, logs: Path) -> int:
    """Makes the archive in the folder `logs`; the exit status. Raises `ScriptError`."""
    kind, _, named = source.partition("=")
    workspace = Path(named) if kind == "workspace" else None
    if workspace is not None and not workspace.is_dir():
        raise ScriptError(f"workspace={named}: there is no such folder")
    name = f"swarm_logs_{re.sub(r'[^A-Za-z0-9._-]', '-', platform.node())}_{time.strftime('%Y%m%d%H%M%S')}"
    runtime = find_runtime(os.environ)
    try:
        logs.mkdir(exist_ok=True)
        for older in logs.glob("swarm_logs_*"):
            older.unlink()
        archive = logs / f"{name}.tar.gz"
        if runtime is None:
            return _of_processes(archive)
        with tempfile.TemporaryDirectory(dir=logs) as place:
            folder = Path(place, name)
            folder.mkdir()
            _Collection(runtime, hub, folder).make(workspace, "" if workspace else named)
            with tarfile.open(archive, "w:gz") as tar:
                tar.add(folder, name)
            archive.chmod(0o600)
    except OSError as error:
        raise ScriptError(f"{error.filename or logs}: {error.strerror}") from error
    print(f"Log collection completed: {archive}")
    return 0


def _of_processes(archive: Path) -> int:
    """Collects the folders of the nodes that run, or ran, as processes of this host."""
    if not any(records.records()):
        raise ScriptError(f"neither docker nor podman is on the PATH, and {records.root()} has no record of a node")
    command = [processes.swarm(), "logs", "collect", str(records.root()), "--output", str(archive)]
    return subprocess.run(command).returncode


class _Collection:
    """What is collected into a folder."""

    def __init__(self, runtime: Runtime, hub: str, folder: Path) -> None:
        self._runtime = runtime
        self._hub = hub.rstrip("/")
        self._folder = folder

    def make(self, workspace: Path | None, image: str) -> None:
        """All of it; `image`: the user's, where no workspace names it."""
        if workspace is not None:
            image = self._copy(workspace)
        self._write("out.log", "".join(self._host(image)))
        for kind, title in NODES.items():
            found = sum(self._of_image(f"{self._hub}/{kind}:{tag}", tag, kind) for tag in self._tags(kind))
            if not found:
                print(f"-ERROR: No active {title} container exists in this host!!", file=sys.stderr)
        user = self._containers(image, "user_{}.log", "ml_inspect_{}.log") if image else 0
        if not user:
            print("-ERROR: No active User container exists in this host!!", file=sys.stderr)
        for name in UI:
            plain = name.replace("-", "_")
            for tag in self._tags(name):
                self._containers(f"{self._hub}/{name}:{tag}", f"{plain}_{{}}.log", f"{plain}_inspect_{{}}.log")

    def _copy(self, workspace: Path) -> str:
        """Copies task definitions and SWOPs' profiles; returns the user's image, empty where no task makes one."""
        image = ""
        for file in sorted((*workspace.glob("swci/taskdefs/*.yaml"), *workspace.glob("swop/*.yaml"))):
            text = file.read_text(errors="replace")
            self._write(file.name, redacted(text))
            if _MAKES_IMAGE.search(text) and (found := _OUTCOME.search(text)):
                image = image or found[1]
        return image

    def _tags(self, kind: str) -> list[str]:
        """The tags of this kind's images on this host."""
        try:
            listed = self._runtime.output("image", "ls", "--format", "{{.Tag}}", f"{self._hub}/{kind}")
        except ScriptError as error:
            print(f"-ERROR: {error}", file=sys.stderr)
            return []
        return sorted({tag for tag in listed.split() if tag != "<none>"})

    def _of_image(self, image: str, tag: str, kind: str) -> int:
        return self._containers(image, f"{kind}_{tag}_{{}}.log", f"{kind}_inspect_{tag}_{{}}.log")

    def _containers(self, image: str, log: str, inspected: str) -> int:
        """Writes log and description of each container of an image; how many there are."""
        try:
            found = self._runtime.containers_of(image, "--all")
        except ScriptError as error:
            print(f"-ERROR: {error}", file=sys.stderr)
            return 0
        for number, container in enumerate(found, start=1):
            lines = ("container", "logs", "--timestamps", "--tail", str(MOST_LINES), container)
            self._write(log.format(number), redacted(_said(*self._runtime.command, *lines)))
            description = _said(*self._runtime.command, "container", "inspect", container)
            self._write(inspected.format(number), _described(description))
        return len(found)

    def _host(self, image: str) -> Iterator[str]:
        """What is known of this host, command by command."""
        engine: tuple[tuple[str, ...], ...] = (
            ("version",),
            ("info",),
            ("container", "ls", "--all", "--no-trunc"),
            ("image", "ls", "--digests"),
            *((("image", "inspect", image),) if image else ()),
        )
        for command in (*HOST, *((*self._runtime.command, *words) for words in engine)):
            yield f"$ {' '.join(command)}\n{redacted(_said(*command))}\n"

    def _write(self, name: str, text: str) -> None:
        safe = re.sub(r"[^A-Za-z0-9._-]", "-", name)
        (self._folder / safe).write_text(text, errors="backslashreplace")


def _described(text: str) -> str:
    """A container's description: JSON, in which environment and command line are lists of words."""
    try:
        return json.dumps(_cleaned(json.loads(text)), indent=2) + "\n"
    except (ValueError, RecursionError):
        return redacted(text)


def _cleaned(value: Any, before: str = "") -> Any:
    """The same without secrets; `before`: the name or word before it."""
    if isinstance(value, str):
        hidden = is_secret(before) or (before.startswith("-") and is_secret(before.lstrip("-")))
        return REMOVED if hidden and value else redacted(value)
    if isinstance(value, dict):
        return {name: _cleaned(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [_cleaned(each, str(word)) for word, each in zip(["", *value], value)]  # noqa: B905 - of two lengths
    return value


def _said(*command: str) -> str:
    """What a program prints, both streams, at most `MOST_BYTES`; why there is nothing, where it cannot be run."""
    if not shutil.which(command[0]):
        return f"{command[0]} is not on this host\n"
    with tempfile.TemporaryFile() as output:
        try:
            status = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, timeout=SECONDS
            ).returncode
        except subprocess.TimeoutExpired:
            status = -1
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - MOST_BYTES))
        text = output.read().decode(errors="replace")
    ended = {0: "", -1: f"\n[it has not ended within {SECONDS:.0f} s]\n"}.get(status, f"\n[exit status {status}]\n")
    return f"{text}{ended}"
