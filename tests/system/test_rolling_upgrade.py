"""A network of an older release is upgraded node by node during a training, SNs first, and no round is lost."""

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from support.processes import Process, Processes
from support.release import Release
from support.sns import Network
from support.swarm import Gate, assert_complete, has_models
from support.tools import needs
from swarmlearning.cli.chaos.report import lost_rounds
from swarmlearning.ledger.history import rounds

pytestmark = needs("etcd")

OLD = "before-16"
"""The code before protocols were stated, heartbeats had vitals and nodes timed their rounds."""
SITES = 2
NODES = ("SL-2", "SN-3", "SN-2", "SN-1", "SL-1")
"""In the order in which they are upgraded, one in each round: SNs before SLs, but for a site that is too early."""


class Upgraded:
    """The hosts of a network whose nodes are of the old release until they are upgraded."""

    def __init__(self, old: Release) -> None:
        self._old = old
        self.new = set[str]()

    def address(self, host: int) -> str:
        return "127.0.0.1"

    def command(self, host: int) -> Sequence[str]:
        return () if f"SN-{host}" in self.new else self._old.command


def test_a_network_is_upgraded_node_by_node_in_a_training_without_a_lost_round(
    processes: Processes, tmp_path: Path, gate: Gate
) -> None:
    old = Release(OLD, tmp_path / "old")
    assert _release_of(old.command) == str(tmp_path / "old")
    hosts = Upgraded(old)
    net = Network(processes, tmp_path, hosts)
    net.found(3)
    nodes: dict[str, Process] = {f"SN-{number}": sn for number, sn in net.sns.items()}
    sls = {index: _sl(net, index, old.command) for index in range(1, SITES + 1)}
    ml = ("--rounds", str(len(NODES) + 1), "--min-peers", str(SITES))
    held = [word for number in range(1, len(NODES) + 1) for word in ("--hold-at", str(number))]
    scripts = [  # a client of the old release, later with an SL of the new one; one of the new with an SL of the old
        _train(net, 1, sls[1], [*ml, *held, "--gate", str(gate.path)], old),
        _train(net, 2, sls[2], ml, None),
    ]
    for number, name in enumerate(NODES, start=1):
        net.until_training(1, has_models(SITES - 1, number))  # site 1 is at work, the other's model is in
        kind, _, index = name.partition("-")
        (nodes[name] if kind == "SN" else sls[int(index)]).stop()
        hosts.new.add(name)
        if kind == "SN":
            assert net.start(int(index), through=0 if index == "1" else 1).ready
            net.until_status(int(index), lambda status: bool(status["votes"]))
        else:
            assert _sl(net, int(index), ()).ready
        gate.let()
    assert_complete(scripts)
    net.assert_one_chain(1, 2, 3)
    walked = net.verified(1)
    contributed = Counter(record.number for record in rounds(walked) for _ in record.contributed)
    assert contributed == dict.fromkeys(range(len(NODES) + 2), SITES)  # the last is the end of training
    assert lost_rounds(walked) == 0
    net.kill_sns()


def _sl(net: Network, index: int, command: Sequence[str]) -> Process:
    """An SL without a script, of the release that `command` runs."""
    options = net.sl_options(index, sn_api_port=str(net.ports[1 + index % 3]))
    return net.processes.node(f"SL-{index}", "sl", options, within=command)


def _train(net: Network, index: int, sl: Process, words: Sequence[str], release: Release | None) -> Process:
    """A script beside a running SL, with the client of a release."""
    script = (sys.executable, *map(str, net.script(index, words)[1:]))
    channel = {"SWARM_CHANNEL": sl.ready["channel"]}
    return net.processes.start(
        f"ML-{index}", *script, environment={**channel, **(release.environment if release else {})}
    )


def _release_of(command: Sequence[str]) -> str:
    """The folder from which a command imports us."""
    code = "import swarmlearning, pathlib; print(pathlib.Path(swarmlearning.__file__).parents[1])"
    done = subprocess.run([*command, sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()
