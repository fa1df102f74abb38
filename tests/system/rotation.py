"""The long form of `test_rotation.py`, which `make security` runs: minutes."""

import shutil
from datetime import UTC, datetime, timedelta

from support.certs import expired, not_yet_valid, stranger
from support.rotating import Rotating
from support.sns import Network
from support.swarm import Gate
from support.tools import needs
from swarmlearning.identity.workspace import Workspace

pytestmark = needs("etcd")

HOLDS = (2, 15, 30)
LIFE = timedelta(seconds=150)
"""Of the first certificates: the swarm is in training by then, also on a machine under load."""


def spoil(net: Network) -> None:
    """Puts something that cannot be used in the place of each node's files: a fault of another kind for each."""
    folder = net.directory / "cert"
    workspace = Workspace(folder)
    expired(folder, "SN-1")
    not_yet_valid(folder, "SN-2")
    workspace.key("SN-3").write_bytes(b"")
    foreign = stranger(folder, "SL-1")
    shutil.copy(foreign.cert_path, workspace.certificate("SL-1"))
    shutil.copy(foreign.key_path, workspace.key("SL-1"))
    workspace.certificate("SL-2").write_bytes(workspace.certificate("SL-2").read_bytes()[:200])
    shutil.copy(workspace.key("SL-4"), workspace.key("SL-3"))
    workspace.certificate("SL-4").unlink()


def test_certificates_are_replaced_again_and_again_while_rounds_go_on_with_files_at_fault_in_between(
    net: Network, gate: Gate
) -> None:
    swarm = Rotating(net, gate, rounds=HOLDS[-1] + 5, hold_at=HOLDS)
    for held in HOLDS:
        swarm.until_held(held)
        gate.let()
        spoil(net)
        swarm.hang_up_in_vain()
        swarm.replace_all()
        swarm.hang_up()
        swarm.until_registered()
    swarm.assert_no_round_was_lost()


def test_a_swarm_whose_first_certificates_expire_in_a_training_loses_no_round(net: Network, gate: Gate) -> None:
    """Connections that were made with them, among them those of etcd, are made anew."""
    ends = datetime.now(UTC) + LIFE
    swarm = Rotating(net, gate, rounds=12, hold_at=(1, 2), ends=ends)
    swarm.until_held(1)
    swarm.replace_all()
    swarm.until_registered()
    net.until_status(1, lambda status: datetime.now(UTC) > ends + timedelta(seconds=2))
    gate.let()
    swarm.until_held(2)
    gate.let()
    swarm.assert_no_round_was_lost()
