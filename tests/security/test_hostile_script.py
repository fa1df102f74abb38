"""A script of another user, started by PROCESS, against the privacy lock of the site that it runs at."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import hostile_site, ml
from support.hostile_site import ATTEMPTS
from support.pairs import ended_well
from support.ports import fixed_port
from support.processes import Processes
from support.swarm import Swarm
from support.tools import needs
from swarmlearning.ledger.bodies import Privacy
from swarmlearning.privacy.record import Record
from swarmlearning.swop.composing import Contact
from swarmlearning.swop.managing import Attempt, Pair
from swarmlearning.swop.process.manager import ProcessManager
from swarmlearning.swop.profile import IdentityFile, NodeDefinition, Profile
from swarmlearning.taskfiles.definition import RunSwarm, SharedContent

ATTEMPT = Attempt("taskrunner", 1, 1, "train", "0" * 64)
PYTHON = Path("/python-of-test")
UIDS = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")
NORM = 0.5
ROUNDS = 3


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[Swarm]:
    with Processes(tmp_path) as processes:
        yield Swarm(processes, tmp_path)


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


def task(path: str, *words: str | Path) -> RunSwarm:
    shared = (SharedContent(sys.base_prefix, str(PYTHON), "BIND"),)
    entrypoint = PYTHON / "bin" / Path(os.path.realpath(sys.executable)).name
    return RunSwarm(" ".join(map(str, (path, *words))), str(entrypoint), "/tmp", (), None, shared)


@needs("root")
async def test_a_hostile_script_of_another_user_gets_around_the_lock_in_no_way(swarm: Swarm, root: Path) -> None:
    swarm.start_sn()
    host, _, port = swarm.address.rpartition(":")
    policy = root / "privacy" / "policy.yaml"
    policy.parent.mkdir(mode=0o755)  # where everybody may look, and root alone may write
    policy.write_text(f"norm: {NORM}")
    policy.chmod(0o600)
    record = policy.with_name(f"{policy.name}.given.jsonl")
    profile = Profile("group", "taskrunner", "PROCESS", "", (node(swarm, 0, policy), node(swarm, 1)))
    manager = ProcessManager(root / "process", profile, Contact(host, host, int(port)))
    await manager.check()
    own = ("--rounds", str(ROUNDS), "--min-peers", "2", "--index")
    scripts = (
        task(hostile_site.__file__, swarm.identities["SL-1"].key_path, policy, record, *own, "1"),
        task(ml.__file__, *own, "2"),
    )
    variables = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        for one, script, uid in zip(profile.nodes, scripts, UIDS, strict=True):
            await manager.start(ATTEMPT, Pair(one, script, "", uid, {}, variables))
        async with asyncio.timeout(120):
            said, _ = [await ended_well(manager, ATTEMPT, index) for index in (0, 1)]
    finally:
        await manager.clean(ATTEMPT.key)
    assert "BROKE" not in said
    assert said.count("HELD ") == len(ATTEMPTS)
    assert policy.read_text() == f"norm: {NORM}"
    given = [line for line in Record(record).lines() if line.norm == NORM]
    assert len(given) >= ROUNDS
    training = swarm.training(swarm.chain())
    assert training.result is not None
    entry = training.result.closed.submissions[UIDS[0]]
    assert entry.privacy == Privacy(NORM)
    assert entry.digest in {line.result for line in given}
