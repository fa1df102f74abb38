"""One SWCI script drives a whole training: three hosts with an SN and a SWOP each, and four pairs of SL and script.

The fourth pair's script has the original's client, in place of ours. A script's folder is shared content of the task;
what each pair is to run stands in its private data.
"""

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from operate.identifying import Identities
from operate.licensing import Licensing, wanted
from support.checks import Check
from support.processes import Process
from support.shells import Shell
from support.sns import Network
from support.swarm import PAUSE, SECONDS, Gate, identity_options
from support.swops import Operations, operations
from swarmlearning.choices import DEFAULT_CONTRACT as CONTRACT
from swarmlearning.choices import DEFAULT_TASKRUNNER as RUNNER
from swarmlearning.identity.spiffe import fetch
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.taskrunner import Taskrunner
from swarmlearning.license.features import Feature

SITES: Mapping[int, Sequence[str]] = {1: ["SL-1", "SL-2"], 2: ["SL-3"], 3: ["SL-4"]}
"""The SLs of each host's SWOP."""
PAIRS, KILLED = 4, 1
"""How many pairs there are; the host whose SWOP is killed."""
ROUNDS = 3
ORIGINAL = "SL-4"
PRIVATE, SHARED = "/private", "/scripts"
"""Where scripts find the data of their pair, and what all have."""

NO_TOKEN = "acquireLicense: 304: The request for tokens with capacity 1 is not available to issue for feature : "

INIT = f"""\
EXIT ON FAILURE
wait for ip ADDRESS PORT
create context test with ip ADDRESS PORT
switch context test
cd /platform/swarm/usr/
create task from build.yaml
finalize task build
create task from train.yaml
finalize task train
RESET TASKRUNNER {RUNNER}
"""


OPERATOR = "SWCI-1"
NODES = [
    *(f"{kind}-{host}" for host in SITES for kind in ("SN", "SWOP")),
    *(sl for sls in SITES.values() for sl in sls),
]


class Means(NamedTuple):
    """What differs between resource managers.

    `profile`: entries of every profile; `environments`: those of SWOPs by host; `python`: the command of a pair's
    Python by its client, `ours` or `original`; `shared`: a folder with `ml.py` and `original_client.py`, in which the
    scripts' gate is made; `left`: what is left on a host by its number after a reset, which has to be nothing;
    `sl_user`: the user and group ID by which SLs run, which own their keys; None for this process's own.
    """

    build_steps: Sequence[str]
    outcome: str
    profile: Mapping[str, Any]
    environments: Mapping[int, Mapping[str, str]]
    python: Callable[[str], str]
    shared: Path
    left: Callable[[int], Sequence[str]]
    sl_user: int | None = None


def tell(net: Network, means: Means, check: Check) -> None:
    """Runs it all."""
    with Identities() as identities:
        net.identities |= identities.issue(net, [*NODES, OPERATOR])
        if means.sl_user is not None:
            for sl in (sl for sls in SITES.values() for sl in sls):
                os.chown(net.identities[sl].key_path, means.sl_user, means.sl_user)
        if licensing := wanted(net, identities):
            means = means._replace(profile={**means.profile, "apls": licensing.apls})
        _tell(net, means, check, identities, licensing)


def _tell(net: Network, means: Means, check: Check, identities: Identities, licensing: Licensing | None) -> None:
    with check("three SNs of three hosts found a network with etcd"):
        net.found(3)
    gate = Gate(means.shared / "gate")
    with operations(net) as ops:
        with check("three SWOPs listen, each through the SN of its host"):
            make_private(net, means)
            swops = {host: start_swop(ops, net, means, host) for host in SITES}
        usr = write_files(net, means)
        options = {"usr-dir": usr, "data-dir": net.directory / "swci", **identity_options(net.identities[OPERATOR])}
        options |= licensing.options if licensing else {}
        with Shell(options, net.hosts.command(1)) as shell:
            build(shell, check)
            train(shell, net, check)
            read_logs(shell, check)
            if identities.by_agents:
                rotate(net, identities, check)
            if licensing:
                lose_the_license_server(shell, licensing, check)
            with check("a SWOP that is killed while its pairs train finds them again, and starts none twice"):
                before = means.left(KILLED)
                swops[KILLED].kill()
                ops.until(lambda runner: any(peer.state == "lost" for peer in runner.peers))
                start_swop(ops, net, means, KILLED)
                ops.until(all_run)
                assert means.left(KILLED) == before
            end(shell, net, gate, check)
            with check("the scripts of all four pairs have ended with the same model"):
                digests = [line for host in SITES for line in digest_lines(net, host)]
                assert (len(digests), len(set(digests))) == (PAIRS, 1), digests
            if licensing:
                with check("the secondary has taken back the tokens of all four SLs"):
                    assert licensing.given_back()[str(Feature.SL.value)] == PAIRS
            reset(shell, ops, means, check)
    gate.close()


def rotate(net: Network, identities: Identities, check: Check) -> None:
    with check(
        "SNs, SWOPs, SLs (SPIFFE_SOCKETPATH of their profile) and SWCI have their identities from SPIFFE agents, and "
        "follow these to certificates by a new root"
    ):
        identities.rotate()
        given = {name: fetch(net.identities[name].cert_path) for name in (*NODES, OPERATOR)}
        wanted = {new.thumbprint for new in given.values()}
        for name, new in given.items():  # this process trusts the new root, before the ledger has it
            net.identities[name] = replace(net.identities[name], anchors=new.anchors, bundles=new.bundles)

        def registered(chain: Chain) -> bool:
            return wanted <= {known.certificate for known in network.nodes(chain.world)}

        net.until_chain(registered)
        net.identities.update(given)


def build(shell: Shell, check: Check) -> None:
    with check("the script makes contexts and tasks, and LIST NODES shows three SNs and three SWOPs"):
        nodes = shell.does("LIST NODES")
        assert [len(re.findall(rf"(?m)^    {kind} ", nodes)) for kind in ("SENTINEL", "SN", "SWOP")] == [1, 2, 3], nodes
    with check("the build task is carried out by all three SWOPs"):
        shell.does(f"ASSIGN TASK build TO {RUNNER} WITH 3 PEERS")
        assert "TASK_STATE : COMPLETE" in shell.does(f"WAIT FOR TASKRUNNER {RUNNER}")
        assert "COMPLETED PEERS : 3" in shell.does(f"GET TASKRUNNER STATUS {RUNNER}")
    shell.does(f"RESET TASKRUNNER {RUNNER}")


def train(shell: Shell, net: Network, check: Check) -> None:
    with check("the run task starts four pairs, which train together"):
        shell.does(f"ASSIGN TASK train TO {RUNNER} WITH {PAIRS} PEERS")
        net.until_training(2, lambda training: training.rounds >= ROUNDS - 1)
    with check("PERFDATA shows four pairs while they train"):
        rows = shell.does(f"PERFDATA {CONTRACT}").splitlines()[1:]
        assert len(rows) == PAIRS, rows
        assert "ACTIVE PEERS : 4" in shell.does(f"GET TASKRUNNER STATUS {RUNNER}")
        assert len(re.findall(r"(?m)^    SL ", shell.does("LIST NODES"))) == PAIRS


def read_logs(shell: Shell, check: Check) -> None:
    with check("LOGS shows what a SWOP of each host logs, and what its pair's SL and script have printed"):
        for index in range(len(SITES)):
            peer = f"LOGS TASKRUNNER {RUNNER} PEER {index}"
            for part, text in {"": "API-Server is UP!", " SL 0": "Opening session", " ML 0": "SYNC 1"}.items():
                assert text in shell.does(peer + part), shell.transcript


def lose_the_license_server(shell: Shell, licensing: Licensing, check: Check) -> None:
    with check("each SN, SWOP and SL, and SWCI, has a token of the license server that profile or variables name"):
        expected = {Feature.SN: len(SITES), Feature.SWOP: len(SITES), Feature.SL: PAIRS, Feature.SWCI: 1}
        assert licensing.lent() == {str(feature.value): count for feature, count in expected.items()}
    with check("a second contract and taskrunner are refused without their tokens"):
        shell.does("EXIT ON FAILURE OFF")
        for kind, feature in (("CONTRACT", Feature.TRAINING_CONTRACTS), ("TASKRUNNER", Feature.TASKRUNNERS)):
            shell.begin(f"CREATE {kind} more")
            shell.until(f"ERROR : the network refuses it: {NO_TOKEN}{feature.versioned}")
            shell.finish()
        shell.does("EXIT ON FAILURE ON")
    with check("the license server is killed: the training goes on, and who starts from now on has the secondary"):
        licensing.kill_primary()


def end(shell: Shell, net: Network, gate: Gate, check: Check) -> None:
    with check("the run task is complete once all scripts have ended, that with the original's client too"):
        shell.begin(f"WAIT FOR TASKRUNNER {RUNNER}")
        gate.let(PAIRS)
        assert "TASK_STATE : COMPLETE" in shell.finish()
        states = [shell.does(f"GET TASKRUNNER PEER STATUS {RUNNER} {index}") for index in range(len(SITES))]
        assert "".join(states).count("STATUS : COMPLETE , ") == PAIRS, states
    with check("the contract is completed, by all four pairs"):
        assert "CONTRACT STATE : COMPLETED" in shell.does(f"GET CONTRACT STATUS {CONTRACT}")
        assert len(net.until(lambda training: training.over).members) == PAIRS


def reset(shell: Shell, ops: Operations, means: Means, check: Check) -> None:
    with check("resets leave the taskrunner idle, the contract empty, and nothing of the pairs on any host"):
        shell.does(f"RESET TASKRUNNER {RUNNER}")
        shell.does(f"RESET CONTRACT {CONTRACT}")
        assert "CONTRACT STATE : UNINITIALIZED" in shell.does(f"GET CONTRACT STATUS {CONTRACT}")
        assert "TASK_STATE : IDLE" in shell.does(f"GET TASKRUNNER STATUS {RUNNER}")
        ops.until(lambda runner: all(peer.state == "listening" for peer in runner.peers))
        until_nothing_is_left(means)
    with check("the script ends with exit status 0"):
        assert shell.leave() == 0


def until_nothing_is_left(means: Means) -> None:
    """A SWOP removes its pairs after the ledger has forgotten them."""
    deadline = time.monotonic() + SECONDS
    while left := {host: found for host in SITES if (found := list(means.left(host)))}:
        assert time.monotonic() < deadline, left
        time.sleep(PAUSE)


def digest_lines(net: Network, host: int) -> list[str]:
    """What a host's scripts have printed of their last models."""
    logs = (net.directory / f"SWOP-{host}" / "data").rglob("*ml.log")
    return [line for log in logs for line in log.read_text().splitlines() if line.startswith("DIGEST ")]


def all_run(runner: Taskrunner) -> bool:
    """Whether all pairs do, of SWOPs that are there."""
    states = [pair.state for peer in runner.peers if peer.state != "lost" for pair in peer.reports]
    return states == ["running"] * PAIRS


def make_private(net: Network, means: Means) -> None:
    """The private data of all pairs."""
    for sl in (sl for sls in SITES.values() for sl in sls):
        private = net.directory / f"private-{sl}"
        private.mkdir()
        client = "original" if sl == ORIGINAL else "ours"
        script = "original_client.py --folder /tmp/hpe-swarm" if sl == ORIGINAL else "ml.py"
        (private / "run").write_text(f'exec {means.python(client)} {SHARED}/{script} --index {sl[-1]} "$@"\n')


def start_swop(ops: Operations, net: Network, means: Means, host: int) -> Process:
    """The SWOP of a host, or the same again."""
    nodes = [
        {
            "privatedata": {"src": str(net.directory / f"private-{sl}"), "mType": "BIND"},
            "slhostip": net.hosts.address(host),
        }
        for sl in SITES[host]
    ]
    return ops.start(
        f"SWOP-{host}",
        SITES[host],
        nodes=nodes,
        sn=net.api(host),
        within=net.hosts.command(host),
        environment=means.environments.get(host),
        **means.profile,
    )


def write_files(net: Network, means: Means) -> Path:
    """The operator's user directory: a script and two tasks."""
    folder = net.directory / "usr"
    folder.mkdir()
    options = f"--rounds {ROUNDS} --min-peers {PAIRS} --hold-at {ROUNDS - 1} --gate {SHARED}/gate"
    build = {"BuildContext": None, "BuildType": "INLINE", "BuildSteps": list(means.build_steps)}
    run = {
        "Command": f"{PRIVATE}/run {options}",
        "Entrypoint": "/bin/sh",
        "WorkingDir": "/tmp",
        "Envvars": None,
        "PrivateContent": PRIVATE,
        "SharedContent": [{"Src": str(means.shared), "Tgt": SHARED, "MType": "BIND"}],
    }
    tasks = {
        "build": {"TaskType": "MAKE_USER_CONTAINER", "Prereq": "ROOTTASK", "Outcome": means.outcome, "Body": build},
        "train": {"TaskType": "RUN_SWARM", "Prereq": "build", "Outcome": "train", "Body": run},
    }
    for name, task in tasks.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"Name": name, "Author": "test", **task}))
    host, _, port = net.api(1).rpartition(":")
    (folder / "swci-init").write_text(INIT.replace("ADDRESS", host).replace("PORT", port))
    return folder
