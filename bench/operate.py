"""Time from an operator's assignment to the first merged round, and the memory of the SWOP that starts the pairs.

One SN, one SWOP with all pairs as local processes (resource manager PROCESS), and an operator who assigns a RUN_SWARM
over the ledger, as `swarm task run` does. Everything is a real process on this machine. The time runs from the moment
before the assignment is sent until the ledger shows the result of the first round of training. It contains the site's
policy, the start of every SL, which joins the network, and of every training script. The floor is the time in which as
many SLs, started by hand at once, are ready.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import yaml

import operatedscript
from launch import HOST, Linked, hear, make_identities, numbered, start_node
from machine import MEGABYTE, resident_bytes, run_benchmark
from swarmlearning.address import split
from swarmlearning.choices import DEFAULT_CONTRACT, DEFAULT_TASKRUNNER
from swarmlearning.identity.source import Latest
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.taskrunner import peers, taskrunner
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.operator.session import Operator, acting
from swarmlearning.operator.taskrunners import assign_task, reset_taskrunner
from swarmlearning.operator.tasks import establish
from swarmlearning.supervise.processes import Processes, RunError
from swarmlearning.taskfiles.taskfile import read_task_file

SECONDS = 120.0
TASK = "train"


class Outcome(msgspec.Struct, frozen=True):
    """The line that `--json` prints; memory is what the SWOP holds in RAM while the pairs train."""

    pairs: int
    assign_to_first_round_s: float
    floor_s: float
    ratio: float
    swop_rss_mb: float


async def measure(folder: Path, pairs: int) -> Outcome:
    """Returns what was measured. Raises `RunError`, alone or in a group."""
    sls = numbered("SL", pairs)
    workspace = make_identities(folder / "cert", ["SN-1", "SWOP-1", "SWCI-1", *sls])
    (folder / "profile.yaml").write_text(yaml.safe_dump(profile(workspace, sls)))
    async with Processes(folder, os.environ) as processes:
        sn = await start_node(
            processes, folder, workspace, "SN-1", ["sn", "--sentinel", "--ordering", "local", "--sn-api-port", "0"]
        )
        address = (await facts(processes, sn))["api"]
        where = ["--sn-ip", HOST, "--sn-api-port", str(split(address)[1])]
        processes.next_wave()
        floor_s = await until_ready(processes, folder, workspace, sls, where)
        options = ["swop", *where, "--usr-dir", str(folder), "--profile-file-name", "profile.yaml"]
        swop = await start_node(processes, folder, workspace, "SWOP-1", options)
        await facts(processes, swop)
        source = Latest(workspace.identity("SWCI-1"))
        async with acting(address, source, folder / "operator", lasting=True) as operator, asyncio.timeout(SECONDS):
            seconds = await until_first_round(operator, task(folder, pairs))
            rss_mb = resident_bytes(swop.child.pid) / MEGABYTE
            await end_task(operator)
    return Outcome(pairs, round(seconds, 2), round(floor_s, 2), round(seconds / floor_s, 2), round(rss_mb, 1))


async def until_ready(
    processes: Processes, folder: Path, workspace: Workspace, sls: Sequence[str], where: Sequence[str]
) -> float:
    """Seconds until SLs of these names, started at once, are all ready; they are stopped then."""
    begun = perf_counter()
    options = ["sl", *where, "--sl-fs-port", "0"]
    async with AsyncExitStack() as stack:
        mine = await stack.enter_async_context(Processes(folder, os.environ))
        started = [await start_node(mine, folder, workspace, name, options) for name in sls]
        await asyncio.gather(*(facts(mine, each) for each in started))
        return perf_counter() - begun


async def until_first_round(operator: Operator, file: bytes) -> float:
    """Seconds from the assignment of the task until the ledger shows the result of the first round of training."""
    await establish(operator, read_task_file(file, f"{TASK}.yaml"))
    await operator.until(lambda chain: bool(peers(chain.world, DEFAULT_TASKRUNNER)))
    begun = perf_counter()
    await operator.perform(assign_task(operator.chain.world, TASK, DEFAULT_TASKRUNNER, 0))
    await operator.until(has_merged)
    return perf_counter() - begun


def has_merged(chain: Chain) -> bool:
    """True once a round of training has a result. Raises `RunError` where the task has failed before."""
    runner = taskrunner(chain.world, DEFAULT_TASKRUNNER)
    if runner is not None and runner.state == "ERROR":
        raise RunError(f"the task has failed: {runner.peers}")
    result = state_of(chain.world, DEFAULT_CONTRACT).result
    return result is not None and result.closed.number >= 1


async def end_task(operator: Operator) -> None:
    """Waits until the task is complete, and until the SWOP has removed what it had started."""

    def over(chain: Chain) -> bool:
        runner = taskrunner(chain.world, DEFAULT_TASKRUNNER)
        return runner is not None and runner.state in ("COMPLETE", "ERROR")

    await operator.until(over)
    await operator.perform(reset_taskrunner(operator.chain.world, DEFAULT_TASKRUNNER))


async def facts(processes: Processes, linked: Linked) -> dict[str, str]:
    """What a node reports once it is ready. Raises `RunError`."""
    return msgspec.json.decode(await hear(processes, linked), type=dict[str, str])


def profile(workspace: Workspace, sls: Sequence[str]) -> dict[str, Any]:
    """A profile with a pair for each of these SLs."""
    return {
        "groupname": "bench",
        "taskrunner": DEFAULT_TASKRUNNER,
        "resourcemgr": {"mgrtype": "PROCESS"},
        "apisrv": {"locator": {"host": None, "port": None, "service": None}},
        "nodes": [{"slnodedef": _node(workspace, index, name)} for index, name in enumerate(sls)],
    }


def _node(workspace: Workspace, index: int, name: str) -> dict[str, Any]:
    files = {"KEY": workspace.key(name), "CERT": workspace.certificate(name), "CAPATH": workspace.capath}
    attributes = [{"aType": kind, "mType": "BIND", "src": str(path), "tgt": str(path)} for kind, path in files.items()]
    return {
        "idx": index,
        "identity": [{"attribute": attribute} for attribute in attributes],
        "slhostname": name,
        "slhostip": HOST,
        "slport": None,
        "privatedata": None,
        "slenvvars": None,
        "usrhostname": None,
        "usrenvvars": [{"SITE": str(index)}],
    }


def task(folder: Path, pairs: int) -> bytes:
    """The file of the task that trains."""
    body = {
        "Command": str(Path(operatedscript.__file__).resolve()),
        "Entrypoint": sys.executable,
        "WorkingDir": str(folder),
        "Envvars": [{"PEERS": str(pairs)}],
        "PrivateContent": None,
        "SharedContent": None,
    }
    head = {"Name": TASK, "TaskType": "RUN_SWARM", "Author": "bench", "Prereq": "ROOTTASK", "Outcome": TASK}
    return yaml.safe_dump({**head, "Body": body}).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=4, help="SL+ML pairs of the SWOP (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print a JSON line instead of a sentence")
    options = parser.parse_args()
    found = run_benchmark("bench-operate", lambda folder: measure(folder, options.pairs))
    if options.json:
        print(msgspec.json.encode(found).decode())
    else:
        print(
            f"{found.pairs} pairs: {found.assign_to_first_round_s:.1f} s from the assignment to the first round, "
            f"{found.ratio:.1f} times the start of their SLs alone ({found.floor_s:.1f} s); the SWOP has "
            f"{found.swop_rss_mb:.0f} MB"
        )


if __name__ == "__main__":
    main()
