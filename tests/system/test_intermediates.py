"""The organisation of a swarm in training gets other intermediate authorities under its root: nothing is restarted."""

import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.certs import DAYS, make_workspace
from support.crafted_certs import craft
from support.processes import Processes
from support.swarm import Gate, Swarm, assert_complete, has_models
from swarmlearning.identity.ca import KeyPair, issue
from swarmlearning.identity.certificates import to_pem
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network

NODES = ("SN-1", "SL-1", "SL-2")
NOW = datetime.now(UTC)


def authority(name: str, by: KeyPair | None = None, like: KeyPair | None = None) -> KeyPair:
    key = like.key if like else None
    return craft(f"CN={name}", by, begin=NOW - timedelta(days=1), end=NOW + timedelta(days=DAYS), key=key)


def write(workspace: Workspace, node: str, pair: KeyPair, intermediate: KeyPair) -> str:
    """Puts a certificate with its intermediate one in the place of a node's; returns both (PEM)."""
    workspace.save_node(node, pair)
    path, bundle = workspace.certificate(node), to_pem(pair.certificate) + to_pem(intermediate.certificate)
    path.with_suffix(".new").write_text(bundle)
    path.with_suffix(".new").replace(path)
    return bundle


def test_nodes_go_over_to_another_intermediate_authority_and_to_a_renewed_certificate_of_theirs(
    processes: Processes, tmp_path: Path, gate: Gate
) -> None:
    root = authority("CA-1")
    first, second = authority("sub 1", root), authority("sub 2", root)
    renewed = authority("sub 1", root, like=first)
    make_workspace(tmp_path / "cert", [], root)
    workspace = Workspace(tmp_path / "cert")
    own = {node: issue(first, node, [], ["127.0.0.1"], DAYS) for node in NODES}
    for node in NODES:
        write(workspace, node, own[node], first)
    swarm = Swarm(processes, tmp_path, {node: workspace.identity(node) for node in NODES})
    started = [swarm.start_sn()]
    ml = ("--rounds", "3", "--min-peers", "2")
    started += [swarm.start_sl(1, *ml), swarm.start_sl(2, *ml, "--hold-at", "1", "--gate", str(gate.path))]
    swarm.until(has_models(1, 1))
    wanted = {
        *(write(workspace, node, issue(second, node, [], ["127.0.0.1"], DAYS), second) for node in ("SN-1", "SL-1")),
        write(workspace, "SL-2", own["SL-2"], renewed),
    }
    for process in started:
        os.kill(process.pid, signal.SIGHUP)

    def registered(chain: Chain) -> bool:
        known = (network.certificate(chain.world, node.certificate) for node in network.nodes(chain.world))
        return {each.pem for each in known if each} == wanted

    swarm.until_chain(registered)
    gate.let()
    assert_complete(started[1:])
    assert [each.incarnation for each in network.nodes(swarm.chain().world)] == [1, 1, 1]
