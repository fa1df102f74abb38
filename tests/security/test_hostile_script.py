"""A script of another user, started by PROCESS and by DOCKER, against the privacy lock of the site that it runs at."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import hostile_site, ml
from support.certs import make_workspace
from support.containers import PYTHON, PYTHON_IMAGE, Podman, python_environment, python_podman
from support.hostile_site import ATTEMPTS
from support.pairs import ended_well
from support.ports import fixed_port
from support.processes import Processes
from support.swarm import Swarm
from support.swops import in_containers, only, operations
from support.tools import lacks, needs
from swarmlearning.ledger.bodies import Privacy
from swarmlearning.privacy.record import Record
from swarmlearning.swop.composing import Contact
from swarmlearning.swop.managing import Attempt, Pair
from swarmlearning.swop.process.manager import ProcessManager
from swarmlearning.swop.profile import IdentityFile, NodeDefinition, Profile
from swarmlearning.taskfiles.definition import MakeUserContainer, RunSwarm, SharedContent

ATTEMPT = Attempt("taskrunner", 1, 1, "train", "0" * 64)
MOUNTED = Path("/python-of-test")
UIDS = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")
NORM = 0.5
ROUNDS = 3
OWN = ("--rounds", str(ROUNDS), "--min-peers", "2", "--index")


@pytest.fixture
def swarm(processes: Processes, tmp_path: Path) -> Swarm:
    return Swarm(processes, tmp_path)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as made:
        yield made


@pytest.fixture
def engine() -> Iterator[Podman]:
    if reason := lacks("podman"):
        pytest.skip(reason)
    with python_podman() as made:
        yield made


@pytest.fixture
def root() -> Iterator[Path]:
    """The manager's folder, which other users can reach."""
    with tempfile.TemporaryDirectory(prefix="swarm-pairs-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def node(swarm: Swarm, index: int, policy: Path | None = None) -> NodeDefinition:
    identity = swarm.identities[f"SL-{index + 1}"]
    files = (
        IdentityFile("CERT", "BIND", str(identity.cert_path), "/cert.pem"),
        IdentityFile("KEY", "BIND", str(identity.key_path), "/key.pem"),
        IdentityFile("CAPATH", "BIND", str(identity.cert_path.parent / "ca" / "capath"), "/ca"),
    )
    return NodeDefinition(
        index,
        files,
        sl_host_ip="127.0.0.1",
        sl_port=fixed_port(),
        user=str(54321 + index),
        privacy_policy=str(policy) if policy else None,
    )


def locked(folder: Path) -> Path:
    """A policy in a folder where everybody may look, and root alone may write."""
    policy = folder / "privacy" / "policy.yaml"
    policy.parent.mkdir(mode=0o755)
    policy.write_text(f"norm: {NORM}")
    policy.chmod(0o600)
    return policy


def record_of(policy: Path) -> Path:
    """Where the lock with this policy has the record of what was given."""
    return policy.with_name(f"{policy.name}.given.jsonl")


def assert_lock_held(swarm: Swarm, said: str, policy: Path, uid: str) -> None:
    """The script of this SL has achieved nothing, and what it handed over was clipped and recorded."""
    assert "BROKE" not in said
    assert said.count("HELD ") == len(ATTEMPTS)
    assert policy.read_text() == f"norm: {NORM}"
    given = [line for line in Record(record_of(policy)).lines() if line.norm == NORM]
    assert len(given) >= ROUNDS
    training = swarm.training(swarm.chain())
    assert training.result is not None
    entry = training.result.closed.submissions[uid]
    assert entry.privacy == Privacy(NORM)
    assert entry.digest in {line.result for line in given}


def task(path: str, *words: str | Path) -> RunSwarm:
    shared = (SharedContent(sys.base_prefix, str(MOUNTED), "BIND"),)
    entrypoint = MOUNTED / "bin" / Path(os.path.realpath(sys.executable)).name
    return RunSwarm(" ".join(map(str, (path, *words))), str(entrypoint), "/tmp", (), None, shared)


@needs("root")
async def test_a_hostile_script_of_another_user_gets_around_the_lock_in_no_way(swarm: Swarm, root: Path) -> None:
    swarm.start_sn()
    host, _, port = swarm.address.rpartition(":")
    sn = {"SN_NODE_IP": host, "SN_API_SERVER_PORT": port}
    policy = locked(root)
    profile = Profile("group", "taskrunner", "PROCESS", "", (node(swarm, 0, policy), node(swarm, 1)))
    manager = ProcessManager(root / "process", profile, Contact(host))
    await manager.check()
    scripts = (
        task(hostile_site.__file__, swarm.identities["SL-1"].key_path, policy, record_of(policy), "../data", *OWN, "1"),
        task(ml.__file__, *OWN, "2"),
    )
    variables = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        for one, script, uid in zip(profile.nodes, scripts, UIDS, strict=True):
            await manager.start(ATTEMPT, Pair(one, script, "", uid, sn, variables))
        async with asyncio.timeout(120):
            said, _ = [await ended_well(manager, ATTEMPT, index) for index in (0, 1)]
    finally:
        await manager.clean(ATTEMPT.key)
    assert_lock_held(swarm, said, policy, UIDS[0])


@needs("podman")
def test_a_hostile_script_in_a_container_gets_around_the_lock_in_no_way(
    processes: Processes, engine: Podman, tmp_path: Path
) -> None:
    swarm = Swarm(processes, tmp_path, make_workspace(tmp_path / "cert", ["SN-1", "SL-1", "SL-2", "SWOP-1", "SWCI-1"]))
    swarm.start_sn()
    policy = locked(tmp_path)
    key = swarm.identities["SL-1"].key_path  # mounted for the SL at the same path
    hostile = f"{hostile_site.__file__} {key} {policy} {record_of(policy)} sl"
    words = f"-c 'exec {PYTHON} $(eval echo \\$ML_$SITE) {' '.join(OWN)} $SITE'"
    environment = {**python_environment(), "ML_1": hostile, "ML_2": ml.__file__}
    with operations(swarm) as ops:
        swop = ops.start("SWOP-1", ["SL-1", "SL-2"], nodes=[{"privacypolicy": str(policy)}], **in_containers(engine))
        ops.task("build", MakeUserContainer((f"FROM {PYTHON_IMAGE}",)), outcome="user-env")
        ops.task("train", RunSwarm(words, "/bin/sh", "/tmp", tuple(environment.items())), "build")
        ops.assign("build", 1)
        assert ops.over(1).state == "COMPLETE", swop.output
        ops.reset()
        ops.assign("train", 2)
        done = ops.over(2)
    (log,) = (tmp_path / "SWOP-1" / "data").rglob("0/ml.log")
    said = log.read_text()
    assert done.state == "COMPLETE", said
    assert "HELD opens the data directory: Permission denied" in said
    assert_lock_held(swarm, said, policy, only(done).reports[0].uid)
