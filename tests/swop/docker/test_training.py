"""Pairs in containers train: SLs of ours, a script with our client, and one with the original's protocol alone."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import ml, original_client
from support.containers import PYTHON, PYTHON_IMAGE, Podman, python_environment, python_podman
from support.ports import fixed_port
from support.processes import Processes
from support.swarm import Swarm
from support.tools import lacks, needs
from swarmlearning.address import split
from swarmlearning.swop.docker.settings import User
from swarmlearning.swop.managing import Pair, PairState
from swarmlearning.swop.profile import IdentityFile, NodeDefinition, Profile
from swarmlearning.taskfiles.definition import RunSwarm
from swop.docker.stand import ATTEMPT, Stand

pytestmark = needs("podman")


@pytest.fixture
def python() -> Iterator[Podman]:
    """An engine in whose containers this machine's Python runs."""
    if reason := lacks("podman"):
        pytest.skip(reason)
    with python_podman() as engine:
        yield engine


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[Swarm]:
    with Processes(tmp_path) as processes:
        yield Swarm(processes, tmp_path)


def node(swarm: Swarm, index: int) -> NodeDefinition:
    identity = swarm.identities[f"SL-{index + 1}"]
    capath = identity.cert_path.parent / "ca" / "capath"
    return NodeDefinition(
        index,
        identity=(
            IdentityFile("KEY", "BIND", str(identity.key_path), "/swarm/key.pem"),
            IdentityFile("CERT", "BIND", str(identity.cert_path), "/swarm/cert.pem"),
            IdentityFile("CAPATH", "BIND", str(capath), "/swarm/capath"),
        ),
        sl_port=fixed_port(),
    )


def pair(swarm: Swarm, definition: NodeDefinition, script: str, *options: str) -> Pair:
    host, port = split(swarm.address)
    words = f"{script} --index {definition.index + 1} --rounds 3 --min-peers 2 {' '.join(options)}"
    return Pair(
        node=definition,
        run=RunSwarm(command=words, entrypoint=str(PYTHON), working_dir="/tmp"),
        base=PYTHON_IMAGE,
        sl_uid=f"00000000-0000-4000-8000-00000000000{definition.index}",
        sl_environment={
            "SN_NODE_IP": host,
            "SN_API_SERVER_PORT": str(port),
            "SL_UID": f"00000000-0000-4000-8000-00000000000{definition.index}",
            **python_environment(),
        },
        ml_environment=python_environment(),
    )


async def test_both_clients_train_in_containers_as_another_user_than_their_sls(
    swarm: Swarm, python: Podman, tmp_path: Path
) -> None:
    swarm.start_sn()
    nodes = tuple(node(swarm, index) for index in range(2))
    stand = Stand(python, tmp_path / "containers")
    stand.profile = Profile("group", "taskrunner", "DOCKER", "host", nodes)
    await stand.killed(sl_image=PYTHON_IMAGE, sl_user=User(0, 0))
    async with stand.at_work():
        await stand.manager.start(ATTEMPT, pair(swarm, nodes[0], ml.__file__))
        original = pair(swarm, nodes[1], original_client.__file__, "--folder", "/tmp/hpe-swarm")
        await stand.manager.start(ATTEMPT, original)
        ends = await asyncio.gather(stand.ended(index=0), stand.ended(index=1))
        assert list(ends) == [PairState(0, 0)] * 2, [stand.output(part, index=1) for part in ("sl", "ml")]
        for index in range(2):
            await stand.manager.stop(ATTEMPT, index)
    digests = [line for index in range(2) for line in stand.output("ml", index=index).splitlines() if "DIGEST" in line]
    assert len(digests) == 2
    assert len(set(digests)) == 1
    training = swarm.training(swarm.chain())
    assert training.over
    assert set(training.members) == {f"00000000-0000-4000-8000-00000000000{index}" for index in range(2)}
