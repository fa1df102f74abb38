"""The scripts on a host without a container runtime: real nodes as processes, from their start to `stop-swarm`."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from support import ml, original_client
from support.ports import fixed_port
from support.tools import needs
from swarmscripts.gencert import generate

BIN = Path(__file__).parents[2] / "scripts" / "bin"
SECONDS = 120.0


class Host:
    """A user of a host: a home of its own; `certs`: certificates as `gen-cert` makes them."""

    def __init__(self, home: Path, certs: Path) -> None:
        self.home = home
        self.certs = certs
        self.api_port = str(fixed_port())

    def run(self, script: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        variables = {"SWARM_RUNTIME": "process", "XDG_STATE_HOME": str(self.home), "PYTHONPATH": ""}
        return subprocess.run(
            [sys.executable, BIN / script, *map(str, words)],
            cwd=self.home,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    def identity(self, node: str) -> list[str]:
        files = {"capath": "ca/capath", "cert": f"{node}-cert.pem", "key": f"{node}-key.pem"}
        return [word for option, file in files.items() for word in (f"--{option}", str(self.certs / file))]

    def start_sn(self) -> None:
        ports = ("--sn-api-port", self.api_port, "--sn-p2p-port", str(fixed_port()))
        words = ("--host-ip", "127.0.0.1", "--sentinel", *ports, *self.identity("sn-1"), "--ordering", "local")
        done = self.run("run-sn", "-d", "--name", "sn1", *words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("sn1: process ")

    def run_sl(self, name: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """An SL that finds the SN of its host by itself."""
        common = ("--host-ip=127.0.0.1", f"--name={name}", "--sl-fs-port", "0", *self.identity("sl-1"))
        return self.run("run-sl", *common, "--ml-entrypoint", sys.executable, *words)

    def log(self, name: str) -> str:
        return (self.home / "swarmlearning" / "scripts" / name / "log").read_text()

    def wait(self, name: str) -> str:
        """The log of a node in the background, once it has ended."""
        file = self.home / "swarmlearning" / "scripts" / name / "process.json"
        record: dict[str, Any] = json.loads(file.read_text())
        for number in (record["pid"], record["keeper"]):
            with suppress(ProcessLookupError):
                process = os.pidfd_open(number)
                try:
                    assert select.select([process], [], [], SECONDS)[0], self.log(name)
                finally:
                    os.close(process)
        return self.log(name)


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cert")
    generate(root, "1")
    return root


@pytest.fixture
def host(tmp_path: Path, certs: Path) -> Iterator[Host]:
    made = Host(tmp_path, certs)
    try:
        yield made
    finally:
        made.run("stop-swarm")


def test_a_training_by_scripts_from_start_to_stop(host: Host) -> None:
    host.start_sn()
    again = host.run("run-sn", "--name", "sn1", "--host-ip", "127.0.0.1", "--sentinel")
    assert again.returncode == 1
    assert again.stderr.startswith("run-sn: a node named sn1 runs already, as process ")

    (host.home / "model").mkdir()
    command = f"{ml.__file__} --min-peers 1 --rounds 2"
    trained = host.run_sl(
        "sl1", "--ml-cmd", command, "--ml-w", "model", "--ml-image", "user", "--ml-e", "OMP_NUM_THREADS=1"
    )

    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "DIGEST" in trained.stdout
    assert "without a container, these have no effect: --ml-image" in trained.stderr
    stopped = host.run("stop-swarm")
    assert stopped.returncode == 0
    assert stopped.stdout.splitlines() == [
        "No running Swarm Learning processes found",
        "Stopping all running Swarm Network processes",
        "No running Swarm Command Interface processes found",
        "No running Swarm Operator processes found",
    ]
    assert "SIGTERM received: this node is stopping" in host.log("sn1")
    assert "No running Swarm Network processes found" in host.run("stop-swarm", "--sn").stdout


@needs("netns")
def test_two_clients_of_the_original_on_one_host_have_a_folder_each(host: Host) -> None:
    host.start_sn()
    command = f"{original_client.__file__} --min-peers 2 --rounds 2 --folder /tmp/hpe-swarm --index"
    for index in (1, 2):
        done = host.run_sl(f"sl{index}", "-d", "--ml-cmd", f"{command} {index}")
        assert done.returncode == 0, done.stderr

    logs = [host.wait(f"sl{index}") for index in (1, 2)]

    digests = [line for log in logs for line in log.splitlines() if "DIGEST" in line]
    assert len(digests) == 2, "\n".join(logs)
    assert len(set(digests)) == 1


def test_the_training_command_is_needed(host: Host) -> None:
    done = host.run("run-sl", "--host-ip", "h", "--sn-ip", "s", "--ml-image", "image")

    assert done.returncode == 1
    assert done.stderr.startswith("run-sl: --ml-cmd: the training's command is needed")


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden"])
def test_a_name_is_a_file_name(host: Host, name: str) -> None:
    done = host.run("run-sn", "--host-ip", "h", "--sentinel", "--name", name)

    assert done.returncode == 1
    assert done.stderr.startswith(f"run-sn: --name: {name}: use letters")


def test_a_process_of_the_same_id_is_not_taken_for_the_node(host: Host) -> None:
    folder = host.home / "swarmlearning" / "scripts" / "sn"
    folder.mkdir(parents=True)
    mine = {"kind": "sn", "name": "sn", "pid": os.getpid(), "began": "1", "host": "", "api_port": ""}
    (folder / "process.json").write_text(json.dumps(mine))

    done = host.run("stop-swarm", "--sn")

    assert done.returncode == 0
    assert done.stdout == "No running Swarm Network processes found\n"


def test_a_record_that_cannot_be_read_is_named(host: Host) -> None:
    folder = host.home / "swarmlearning" / "scripts" / "sn"
    folder.mkdir(parents=True)
    (folder / "process.json").write_text("[]")

    done = host.run("stop-swarm")

    assert done.returncode == 1
    assert done.stderr.startswith(f"stop-swarm: {folder}/process.json: cannot be read")
    (folder / "process.json").unlink()
