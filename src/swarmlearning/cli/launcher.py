"""A whole swarm on this machine for one script: an SN, and for each site an SL and a process of the script.

    SN ready ─▶ SLs ready ─▶ scripts ─▶ all scripts ended with 0 ─▶ SLs end by themselves ─▶ SN stopped ─▶ report

Every step waits for an event; a process that fails at any time ends the run.
"""

import asyncio
import os
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from swarmlearning.address import split
from swarmlearning.api.client import Refusal, Unavailable
from swarmlearning.cli.live import Show, observe
from swarmlearning.cli.runfolder import OBSERVER, RunFolder, site_names
from swarmlearning.identity.tls import client_context
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.node.errors import NodeError
from swarmlearning.node.follower import Follower, Pin
from swarmlearning.supervise.processes import Child, Processes, ProcessFailed, RunError, describe
from swarmlearning.views.nodes import sl_names
from swarmlearning.views.training import main_contract

HOST = "127.0.0.1"
READY_SECONDS = 60.0
LEAVE_SECONDS = 60.0
CATCH_UP_SECONDS = 30.0

Facts = TypeVar("Facts", bound=msgspec.Struct)


class SnFacts(msgspec.Struct, frozen=True):
    """What an SN says when it is ready: its API as `host:port`, where that listens, the hash of its genesis."""

    api: str
    listens: str
    network: str


class SlFacts(msgspec.Struct, frozen=True):
    """What an SL says when it is ready: the socket for its script, where its file server listens (`host:port`)."""

    channel: str
    fs: str


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """What all processes of a run inherit: nothing of another swarm's settings, one thread each unless said otherwise
    (the processes share the machine's cores)."""
    kept = {name: value for name, value in inherited.items() if not name.startswith("SWARM_")}
    return {"OMP_NUM_THREADS": "1", **kept, "PYTHONUNBUFFERED": "1"}


def script_environment(folder: RunFolder, index: int, count: int) -> dict[str, str]:
    """The documented variables of a site's script, but for its channel."""
    site = site_names(count)[index]
    return {
        "SWARM_INDEX": str(index),
        "SWARM_COUNT": str(count),
        "SWARM_SITE": site,
        "SWARM_RUN_DIR": str(folder.root),
        "MIN_PEERS": str(count),
        "NODE_ID": site,
        "SCRATCH_DIR": os.getenv("SCRATCH_DIR") or str(folder.site(site)),
    }


async def train(processes: Processes, folder: RunFolder, command: Sequence[str], count: int, show: Show) -> None:
    """Runs `command` at `count` sites until training is over and scripts and SLs have ended well.

    The SN still runs then; the end of `processes` stops it. `show` gets every newer state of the ledger, verified here.
    Raises `RunError`, or `NodeError` when the ledger breaks its rules.
    """
    sn = await start_node(processes, "SN-1", sn_command(folder), lasting=True)
    sn_facts = await sn.ready(SnFacts)
    processes.next_wave()
    sls = [
        await start_node(processes, f"SL-{number}", sl_command(folder, number, sn_facts.api))
        for number in range(1, count + 1)
    ]
    channels = [(await sl.ready(SlFacts)).channel for sl in sls]
    follower = Follower([sn_facts.api], client_context(folder.identity.identity(OBSERVER)), only(sn_facts.network))
    try:
        await with_beside(
            _run_scripts(processes, folder, command, channels, [sl.child for sl in sls], follower),
            follower.run(),
            observe(follower.chains(), show),
        )
        show(follower.chain)
    finally:
        await follower.close()


async def _run_scripts(
    processes: Processes,
    folder: RunFolder,
    command: Sequence[str],
    channels: Sequence[str],
    sls: Sequence[Child],
    follower: Follower,
) -> None:
    processes.next_wave()
    scripts = []
    for index, channel in enumerate(channels):
        variables = {**script_environment(folder, index, len(channels)), "SWARM_CHANNEL": channel}
        scripts.append(await processes.start(variables["SWARM_SITE"], command, variables))
    await with_beside(see_out(processes, folder, scripts, sls, follower), watch_sessions(scripts, follower))


async def watch_sessions(scripts: Sequence[Child], follower: Follower) -> None:
    """Without end. Raises `RunError` when a script has ended as if all were well but left its training session open.

    The others would wait for it without end.
    """
    async for chain in follower.chains():
        names = sl_names(chain.world)
        members = [member for state in chain.world.area("training/", Training) for member in state.members.values()]
        left = {names[member.uid] for member in members if member.attendance == "ml-lost"}
        for script in scripts:
            if script.name in left:
                await asyncio.wait([script.end])  # its session ends a little before
                if script.end.result() == 0:
                    raise RunError(
                        f"{script.name} ended without on_train_end(), which every script has to call after its last "
                        f"batch; the others wait for it. Its log is {script.log}"
                    )


async def see_out(
    processes: Processes, folder: RunFolder, scripts: Sequence[Child], sls: Sequence[Child], follower: Follower
) -> None:
    """Waits until scripts and SLs have ended well, and the follower has the whole ledger. Raises `RunError`."""
    await processes.until_ended(scripts)
    await catch_up(follower)
    if not main_contract(follower.chain.world):
        raise RunError(
            "the scripts have ended, but none has taken part in the swarm: make a SwarmCallback in the script; "
            f"the logs are in {folder.logs}"
        )
    try:
        async with asyncio.timeout(LEAVE_SECONDS):
            await processes.until_ended(sls)
    except TimeoutError:
        late = ", ".join(sl.name for sl in sls if not sl.end.done())
        raise RunError(
            f"the scripts have ended, but {LEAVE_SECONDS:.0f} s later {late} not. Does every script call "
            f"on_train_end()? The logs are in {folder.logs}"
        ) from None
    await catch_up(follower)


async def catch_up(follower: Follower) -> None:
    """Until the follower has every block that the SN has now. Raises `RunError`."""
    try:
        async with asyncio.timeout(CATCH_UP_SECONDS):
            await follower.reached((await follower.client.status())["height"])
    except (TimeoutError, Unavailable, Refusal) as error:
        raise RunError(f"the SN does not tell the end of its ledger: {error!r}") from error


def only(expected: str) -> Pin:
    """For a follower: refuses every network but this one."""

    def pin(found: str, name: str) -> None:
        if found != expected:
            raise NodeError(f"the SN serves network {name} ({found[:16]}), not the one it has founded for this run")

    return pin


async def with_beside(work: Coroutine[Any, Any, None], *beside: Coroutine[Any, Any, None]) -> None:
    """Runs `work` to its end, with the endless others beside it; an error of any ends all."""
    tasks = [asyncio.create_task(each) for each in (work, *beside)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# --- the nodes


class Node:
    """A started node. `reader` is the read end of the pipe on which it says that it is ready."""

    def __init__(self, child: Child, reader: int) -> None:
        self.child = child
        self._reader = reader

    async def ready(self, facts: type[Facts]) -> Facts:
        """What it says. Raises `ProcessFailed` when it ends before, or is not ready within `READY_SECONDS`."""
        name, log = self.child.name, self.child.log
        try:
            async with asyncio.timeout(READY_SECONDS):
                said = await _read_all(self._reader)
                if said:
                    return msgspec.json.decode(said, type=facts)
                raise ProcessFailed(name, f"{describe(await self.child.ended())} before it was ready", log)
        except TimeoutError:
            raise ProcessFailed(name, f"was not ready after {READY_SECONDS:.0f} s", log) from None


async def start_node(processes: Processes, name: str, command: Sequence[str], *, lasting: bool = False) -> Node:
    """Starts a node; it is not ready yet."""
    reader, writer = os.pipe()
    try:
        child = await processes.start(name, [*command, "--ready-fd", str(writer)], lasting=lasting, inherited=[writer])
    finally:
        os.close(writer)
    return Node(child, reader)


def sn_command(folder: RunFolder, **more: str) -> list[str]:
    """The command of a run's SN; `more` are options."""
    options: dict[str, str | Path] = {
        "network-name": folder.root.name,
        "node-name": "SN-1",
        "sn-api-port": "0",
        "ordering": "local",
        "data-dir": folder.sn,
        **_named(more),
    }
    return _node_command("sn", folder.identity, "SN-1", options, "--sentinel")


def sl_command(folder: RunFolder, number: int, sn: str, **more: str) -> list[str]:
    """The command of the SL of site `number`, which finds the SN's API at `sn`; `more` are options."""
    host, port = split(sn)
    site = f"site-{number}"
    options: dict[str, str | Path] = {
        "sn-ip": host,
        "sn-api-port": str(port),
        "sl-fs-port": "0",
        "node-name": site,
        "data-dir": folder.site(site),
        **_named(more),
    }
    return _node_command("sl", folder.identity, f"SL-{number}", options)


def _node_command(
    kind: str, identity: Workspace, node: str, options: Mapping[str, str | Path], *flags: str
) -> list[str]:
    every = {
        "host-ip": HOST,
        "capath": identity.capath,
        "cert": identity.certificate(node),
        "key": identity.key(node),
        **options,
    }
    words = [word for name, value in every.items() for word in (f"--{name}", str(value))]
    # -P: a file of the user's that is called like a module of ours or Python's must not take its place.
    return [sys.executable, "-P", "-m", "swarmlearning.cli.main", kind, *flags, *words]


def _named(options: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in options.items()}


async def _read_all(descriptor: int) -> bytes:
    """Everything written to a pipe until its end; closes it."""
    reader = asyncio.StreamReader()
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), file
        )
        try:
            return await reader.read()
        finally:
            transport.close()
