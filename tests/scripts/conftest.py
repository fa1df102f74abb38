"""A container runtime that records what it is asked for, in place of docker or podman."""

import socket
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "data" / "scripts"

SCRIPT = """#!/bin/sh
{{ for word in "$@"; do printf '%s\\037' "$word"; done; echo; }} >> '{folder}/calls'
case "$1 $2 $3" in
"container create --help") cat '{help}' ;;
"container create "*)
    case "$*" in *refused-image*) echo 'no such image' >&2; exit 125 ;; esac
    echo "id-$(grep '^container.create' '{folder}/calls' | grep -c -v -e --help)" ;;
"container inspect "*) echo sha256:1234 ;;
"container ls "*) cat '{folder}/running' 2>/dev/null || true ;;
"container wait "*) echo 3 ;;
"container exec "*) echo 172.17.0.5 ;;
"container cp "*) cp "$3" '{folder}/information' ;;
"info --format "*) echo "unix://{folder}/podman.sock" ;;
esac
"""


class FakeRuntime:
    """What it was asked for; `running`: the IDs that it lists."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def calls(self) -> list[list[str]]:
        file = self._folder / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line.removesuffix("\x1f").split("\x1f") for line in lines]

    @property
    def created(self) -> list[list[str]]:
        """The arguments of each `container create`."""
        return [call[2:] for call in self.calls if call[:2] == ["container", "create"] and call[2:] != ["--help"]]

    @property
    def information(self) -> str:
        """The file that was copied into the container last."""
        return (self._folder / "information").read_text()

    def list_running(self, *identifiers: str) -> None:
        (self._folder / "running").write_text("\n".join(identifiers))


Run = Callable[[Sequence[str]], int]


def options_of(arguments: Sequence[str], name: str) -> list[str]:
    """The values of `--name value` among the arguments of `create`."""
    return [value for option, value in pairwise(arguments) if option == f"--{name}"]


def one_created(docker: FakeRuntime, run: Run, line: str) -> list[str]:
    assert run([*line.split(), "-d"]) == 0
    (created,) = docker.created
    return created


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], FakeRuntime]:
    """Makes a runtime of this name the only one of the host."""

    def make(name: str) -> FakeRuntime:
        monkeypatch.setattr("swarmscripts.sl.PROTECTED_FIFOS", tmp_path / "as-on-most-hosts")
        folder = tmp_path / "runtime"
        (folder / "bin").mkdir(parents=True)
        program = folder / "bin" / name
        program.write_text(SCRIPT.format(folder=folder, help=DATA / f"{name}-create.txt"))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
        monkeypatch.setenv("SWARM_RUNTIME", name)
        monkeypatch.setattr("os.isatty", lambda _descriptor: False)
        return FakeRuntime(folder)

    return make


@pytest.fixture
def docker(install: Callable[[str], FakeRuntime]) -> FakeRuntime:
    return install("docker")


@pytest.fixture
def unix_socket(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        yield path
