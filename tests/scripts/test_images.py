"""The images, built from this tree, and a training in containers of them that the scripts start and end."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import images, ml, original_client
from support.containers import Podman, podman
from support.tools import needs
from swarmscripts import VERSION
from swarmscripts.gencert import generate

BIN = Path(__file__).parents[2] / "scripts" / "bin"
SECONDS = 150.0
NETWORK = "swarm"
USER, ML_USER = "1001:1001", "1002:1002"
"""Whom nodes and trainings run as; neither is the images' user."""
pytestmark = [needs("podman"), needs("etcd")]


@pytest.fixture(scope="module")
def engine() -> Iterator[Podman]:
    with podman(images=images.provide()) as made:
        yield made


class Host:
    """A user of a host with podman, in a folder with certificates; containers get addresses of one network."""

    def __init__(self, engine: Podman, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        generate(folder / "cert", "1")
        for key in (folder / "cert").rglob("*key.pem"):
            os.chown(key, *map(int, USER.split(":")))
        engine.run("network", "create", NETWORK)
        (network,) = json.loads(engine.run("network", "inspect", NETWORK))
        self._subnet = network["subnets"][0]["subnet"].rpartition(".")[0]
        path = f"{images.program(engine, folder / 'bin')}:{os.environ['PATH']}"
        self._variables = {**os.environ, "PATH": path, "SWARM_RUNTIME": "podman", "XDG_STATE_HOME": str(folder)}

    def address(self, number: int) -> str:
        return f"{self._subnet}.{number}"

    def run(self, script: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, BIN / script, *map(str, words)],
            cwd=self.folder,
            env=self._variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    def identity(self, node: str) -> tuple[str, ...]:
        return "--capath", "cert/ca/capath", "--cert", f"cert/{node}-cert.pem", "--key", f"cert/{node}-key.pem"

    def start(self, script: str, name: str, number: int, node: str, *words: str | Path) -> str:
        """Starts a node in the background; returns its container's ID."""
        address = self.address(number)
        own = ("--name", name, "--network", NETWORK, "--ip", address, "--host-ip", address, "--user", USER)
        done = self.run(script, "-d", *own, *self.identity(node), *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[0]

    def wait(self, name: str) -> str:
        """The log of a container that ends well."""
        done = subprocess.run(
            self.engine.command("wait", name), env=self._variables, capture_output=True, text=True, timeout=SECONDS
        )
        shown = subprocess.run(
            self.engine.command("logs", name), env=self._variables, capture_output=True, text=True, timeout=SECONDS
        )
        log = shown.stdout + shown.stderr
        assert done.stdout.strip() == "0", log
        return log


def test_two_sites_train_in_containers_each_with_another_client(engine: Podman, tmp_path: Path) -> None:
    host = Host(engine, tmp_path)
    host.start("run-sn", "sn1", 10, "sn-1", "--sentinel")
    tests = Path(ml.__file__).parent
    clients = {
        1: f"{tests / 'ml.py'} --min-peers 2 --rounds 2 --index 1",
        2: f"{tests / Path(original_client.__file__).name} --folder /tmp/hpe-swarm --min-peers 2 --rounds 2 --index 2",
    }
    for index, command in clients.items():
        image = ("--ml-image", f"swarmlearning/user:{VERSION}", "--ml-name", f"ml{index}", "--ml-d")
        training = (*image, "--ml-user", ML_USER)
        more = ("--ml-v", f"{tests}:{tests}", "--ml-entrypoint", "python3", "--ml-cmd", command)
        host.start("run-sl", f"sl{index}", 10 + index, "sl-1", "--sn-ip", host.address(10), *training, *more)

    logs = [host.wait(f"ml{index}") for index in clients]

    digests = {line for log in logs for line in log.splitlines() if line.startswith("DIGEST")}
    assert len(digests) == 1, "\n".join(logs)
    for index in clients:
        assert "swarm.mlApp" in host.wait(f"sl{index}")
    assert json.loads(engine.run("exec", "sn1", "swarm", "health"))["ready"] is True
    (tmp_path / "usr").mkdir()
    script = f"EXIT ON FAILURE\nwait for ip {host.address(10)}\ncreate context c with ip {host.address(10)}\n"
    (tmp_path / "usr" / "init").write_text(f"{script}switch context c\nlist nodes\nEXIT\n")
    words = ("--network", NETWORK, "--usr-dir", "usr", "--init-script-name", "init", *host.identity("swci-1"))
    operated = host.run("run-swci", *words)
    assert operated.returncode == 0, operated.stdout + operated.stderr
    assert "CONTEXT CREATED : c" in operated.stdout
    assert host.address(10) in operated.stdout.partition("list nodes")[2]
    assert engine.run("exec", "sn1", "cat", "/tmp/container_info_file").split()[1] == f"swarmlearning/sn:{VERSION}"
    stopped = host.run("stop-swarm")
    assert stopped.returncode == 0, stopped.stderr
    assert stopped.stdout.splitlines()[:4] == [
        "No running Swarm Learning containers found",
        "Removing all Swarm Learning containers",
        "Stopping all running Swarm Network containers",
        "Removing all Swarm Network containers",
    ]
    assert sorted(engine.run("ps", "--all", "--format", "{{.Names}}").split()) == ["ml1", "ml2"]


@pytest.mark.parametrize("kind", ["sn", "sl", "swop", "swci"])
def test_an_image_runs_its_node_as_a_user_without_rights(engine: Podman, kind: str) -> None:
    image = f"localhost/swarmlearning/{kind}:{VERSION}"
    (found,) = json.loads(engine.run("image", "inspect", image))
    assert found["Config"]["User"] == "swarm"
    assert found["Config"]["Entrypoint"] == ["swarm", kind]
    shown = engine.run(
        "run", "--rm", "--entrypoint", "sh", image, "-c", "id -u; ls -d $SWARM_DATA_DIR; swarm --version"
    )
    assert shown.splitlines() == ["58000", "/platform/swarm/SMLNODE", f"swarm {VERSION}"]


def test_the_image_of_a_license_server_takes_its_options(engine: Podman) -> None:
    image = f"localhost/swarmlearning/license:{VERSION}"
    (found,) = json.loads(engine.run("image", "inspect", image))
    assert (found["Config"]["User"], found["Config"]["Entrypoint"]) == ("swarm", ["swarm", "license", "serve"])
    assert "--issuer" in engine.run("run", "--rm", image, "--help")


def test_the_image_of_sls_composes_the_budget_of_a_privacy_lock(engine: Podman) -> None:
    code = (
        "from swarmlearning.privacy.accounting import composed_epsilon; print(round(composed_epsilon([1.0], 1e-5), 2))"
    )
    image = f"localhost/swarmlearning/sl:{VERSION}"
    assert engine.run("run", "--rm", "--entrypoint", "python3", image, "-c", code) == "4.38"


def test_the_image_for_training_has_the_client_and_nothing_of_a_node(engine: Podman) -> None:
    code = "import swarmlearning.client.base, importlib.util as u; print(u.find_spec('swarmlearning.sl'))"
    assert engine.run("run", "--rm", f"localhost/swarmlearning/user:{VERSION}", "python3", "-c", code) == "None"
