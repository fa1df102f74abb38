"""Pairs that the resource manager PROCESS starts: SL and script train as different users, with either client."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import ml, original_client
from support.pairs import ended_well
from support.ports import fixed_port
from support.swarm import Swarm
from support.tools import needs
from swarmlearning.swop.composing import Contact
from swarmlearning.swop.managing import Attempt, Pair
from swarmlearning.swop.process.manager import ProcessManager
from swarmlearning.swop.profile import IdentityFile, NodeDefinition, Profile
from swarmlearning.taskfiles.definition import RunSwarm, SharedContent

ATTEMPT = Attempt("taskrunner", 1, 1, "train", "0" * 64)
PYTHON = Path("/python-of-test")
"""Where scripts see the tests' interpreter, which other users may be unable to reach at its place."""
UIDS = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")


@pytest.fixture
def root() -> Iterator[Path]:
    """The manager's folder, which other users can reach."""
    with tempfile.TemporaryDirectory(prefix="swarm-pairs-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "process"


def node(swarm: Swarm, index: int, user: str) -> NodeDefinition:
    identity = swarm.identities[f"SL-{index + 1}"]
    files = (
        IdentityFile("CERT", "BIND", str(identity.cert_path), "/cert.pem"),
        IdentityFile("KEY", "BIND", str(identity.key_path), "/key.pem"),
        IdentityFile("CAPATH", "BIND", str(identity.cert_path.parent / "ca" / "capath"), "/ca"),
    )
    return NodeDefinition(index, files, sl_host_ip="127.0.0.1", sl_port=fixed_port(), user=user)


def script(path: str, arguments: str) -> RunSwarm:
    shared = (SharedContent(sys.base_prefix, str(PYTHON), "BIND"),)
    entrypoint = PYTHON / "bin" / Path(os.path.realpath(sys.executable)).name
    return RunSwarm(f"{path} {arguments}", str(entrypoint), "/tmp", (), None, shared)


@needs("root")
async def test_pairs_of_other_users_train_with_either_client(swarm: Swarm, root: Path) -> None:
    swarm.start_sn()
    host, _, port = swarm.address.rpartition(":")
    sn = {"SN_NODE_IP": host, "SN_API_SERVER_PORT": port}
    profile = Profile("group", "taskrunner", "PROCESS", "", (node(swarm, 0, "54321"), node(swarm, 1, "54322")))
    manager = ProcessManager(root, profile, Contact(host))
    await manager.check()
    tasks = (
        script(ml.__file__, "--index 1 --rounds 3 --min-peers 2"),
        script(original_client.__file__, "--index 2 --rounds 3 --folder /tmp/hpe-swarm"),
    )
    variables = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        for one, task, uid in zip(profile.nodes, tasks, UIDS, strict=True):
            await manager.start(ATTEMPT, Pair(one, task, "", uid, sn, variables))
        async with asyncio.timeout(120):
            digests = {(await ended_well(manager, ATTEMPT, index)).rpartition("DIGEST ")[2] for index in (0, 1)}
        assert len(digests) == 1
        training = swarm.training(swarm.chain())
        assert set(training.members) == set(UIDS)
        assert {member.contributed for member in training.members.values()} == {training.rounds}
    finally:
        await manager.clean(ATTEMPT.key)
