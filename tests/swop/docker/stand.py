"""A SWOP's containers on a real engine, in which shell scripts stand for SL and ML."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from support.containers import Podman
from support.fixtures import SECONDS
from swarmlearning.swop.docker.manager import DockerManager
from swarmlearning.swop.docker.settings import DockerSettings
from swarmlearning.swop.managing import Attempt, Limits, Pair, PairState
from swarmlearning.swop.profile import NodeDefinition, Profile
from swarmlearning.taskfiles.definition import RunSwarm

IMAGE = "localhost/pair:latest"
SL_SCRIPT = """#!/bin/sh
trap 'echo SL told to end; exit 0' TERM
echo "SL $*"; id; ls -lan /tmp/swarm-pair; env
touch /tmp/swarm-pair/sl/here || exit 9
umask 007; mkfifo "$SL_REQUEST_CHANNEL"
read code < "$SL_REQUEST_CHANNEL" & wait $!
read code < /tmp/swarm-pair/code || code=0
exit "$code"
"""
"""Ends when the script has written to its pipe, with the code in the file beside it."""
MEET = 'until [ -p "$SL_REQUEST_CHANNEL" ]; do sleep 0.02; done; '
IDLE = "trap 'exit 0' TERM; sleep 60 & wait $!"
"""A script that does nothing, until it is ended."""
ATTEMPT = Attempt("taskrunner", 1, 1, "run-task", "d" * 64)


class Stand:
    """One SWOP; `killed` is the moment after its SIGKILL, in which its successor begins."""

    def __init__(self, engine: Podman, folder: Path, swop: str = "swop-1", keep: bool = False) -> None:
        variables = {
            **engine.environment,
            "SWOP_SL_IMAGE": IMAGE,
            "SWOP_UID": "1000",
            "SWOP_GID": "1000",
            "SWOP_SL_USER": "2000:2000",
            "SWOP_KEEP_CONTAINERS": str(keep),
        }
        self.engine = engine
        self.settings = DockerSettings.read(variables, swop, folder)
        self.profile = Profile("group", "taskrunner", "DOCKER", "podman", (NodeDefinition(0), NodeDefinition(1)))
        self.manager = DockerManager(self.profile, self.settings)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[Self]:
        try:
            yield self
        finally:
            for key in await self.manager.attempts():
                await self.manager.clean(key)
            await self.manager.close()

    async def killed(self, **changes: Any) -> None:
        """Another process has its place, with other settings perhaps."""
        await self.manager.close()
        self.settings = replace(self.settings, **changes)
        self.manager = DockerManager(self.profile, self.settings)

    async def start(self, script: str, attempt: Attempt = ATTEMPT, **changes: Any) -> None:
        await self.manager.start(attempt, pair(script, **changes))

    async def ended(self, attempt: Attempt = ATTEMPT, index: int = 0) -> PairState:
        """The state once both parts have ended."""
        state = PairState(None, None)
        async with asyncio.timeout(SECONDS):
            while None in state:
                state = await self.manager.changed(attempt, index, state)
        return state

    def output(self, part: str, attempt: Attempt = ATTEMPT, index: int = 0) -> str:
        logs = self.manager.logs(attempt, index)
        return (logs.sl if part == "sl" else logs.ml).read_text()

    def containers(self) -> Collection[str]:
        """The names of all of this engine's containers."""
        return self.engine.run("ps", "--all", "--format", "{{.Names}}").split()


def pair(script: str, node: NodeDefinition | None = None, limits: Limits | None = None, **changes: Any) -> Pair:
    """A pair whose ML process is this shell script; `changes` are those of the task."""
    run = RunSwarm(command="-c 'eval \"$SCRIPT\"'", entrypoint="/bin/sh", working_dir="/tmp")
    return Pair(
        node=node or NodeDefinition(0),
        run=run._replace(**changes),
        base=IMAGE,
        sl_uid="00000000-0000-4000-8000-000000000001",
        sl_environment={"SN_NODE_IP": "10.0.0.1"},
        ml_environment={"SCRIPT": script},
        limits=limits or Limits(),
    )
