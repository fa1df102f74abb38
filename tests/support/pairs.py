"""A site with the resource manager PROCESS for tests: pairs whose SL is a shell script, for all users."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from swarmlearning.swop.composing import Contact
from swarmlearning.swop.managing import Attempt, Limits, Pair, PairState
from swarmlearning.swop.process.composing import TOKEN
from swarmlearning.swop.process.entering import Part
from swarmlearning.swop.process.manager import ProcessManager
from swarmlearning.swop.process.places import PairPlaces, Places
from swarmlearning.swop.profile import NodeDefinition, Profile
from swarmlearning.taskfiles.definition import RunSwarm

OTHER_USER = "54321"
"""A user that owns nothing on the host."""
SLEEPS = "exec sleep 1000"


async def ended_well(manager: ProcessManager, attempt: Attempt, index: int) -> str:
    """What the script of a pair has printed, once both parts of the pair have ended well."""
    state = await manager.state(attempt, index)
    assert state is not None
    while None in state and not (state.sl_code or state.ml_code):
        state = await manager.changed(attempt, index, state)
    output = manager.logs(attempt, index).ml.read_text()
    assert state == PairState(0, 0), output + manager.logs(attempt, index).sl.read_text()
    return output


def profile(*nodes: NodeDefinition) -> Profile:
    return Profile("group", "taskrunner", "PROCESS", "network", nodes or (NodeDefinition(0),))


def shell(script: str, **values: Any) -> RunSwarm:
    """A task that runs this shell script."""
    return RunSwarm(
        "-c " + "'" + script.replace("'", "'\\''") + "'", "/bin/sh", values.pop("working_dir", "/"), **values
    )


class Site:
    """A manager whose SLs are `/bin/sh -c sl`."""

    def __init__(self, folder: Path, given: Profile, sl: str = SLEEPS) -> None:
        self.folder = folder
        self.attempt = Attempt("taskrunner", 1, 1, folder.name, "0" * 64)
        self._sl = sl
        self.profile = given
        self.manager = self.anew()

    def anew(self) -> ProcessManager:
        """Another manager of the same folder, as a SWOP has that was started again."""
        return ProcessManager(self.folder / "process", self.profile, Contact("127.0.0.1"), sl_part=self._part)

    async def run(self, task: RunSwarm, index: int = 0, limits: Limits = Limits(), **variables: str) -> PairState:  # noqa: B008
        """Starts a pair, and waits until its ML process has ended."""
        await self.start(task, index, limits, **variables)
        return await self.ml_ended(index)

    async def start(self, task: RunSwarm, index: int = 0, limits: Limits = Limits(), **variables: str) -> None:  # noqa: B008
        await self.manager.start(self.attempt, Pair(self.profile.nodes[index], task, "", "uid", {}, variables, limits))

    async def ml_ended(self, index: int = 0) -> PairState:
        state = await self.manager.state(self.attempt, index)
        assert state is not None
        while state.ml_code is None:
            state = await self.manager.changed(self.attempt, index, state)
        return state

    def marked(self) -> set[int]:
        """The processes of all pairs of the attempt."""
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                variables = (folder / "environ").read_bytes().split(b"\0")
                if any(variable.startswith(f"{TOKEN}={self.attempt.key}".encode()) for variable in variables):
                    found.add(int(folder.name))
        return found

    def output(self, index: int = 0) -> str:
        return self.manager.logs(self.attempt, index).ml.read_text()

    def _part(
        self,
        pair: Pair,
        contact: Contact,
        places: Places,
        own: PairPlaces,
        shared: Path,
        variables: Mapping[str, str],
        group: int | None,
    ) -> Part:
        return Part(
            command=["/bin/sh", "-c", self._sl],
            environment={"PATH": os.defpath, "SHARED": str(shared), **variables},
            directory=str(own.folder),
            log=str(own.sl_log),
            log_bytes=2**20,
            grace_seconds=5.0,
        )


@asynccontextmanager
async def site(*nodes: NodeDefinition, sl: str = SLEEPS) -> AsyncIterator[Site]:
    """A site that has been checked; at the end nothing of it is left."""
    folder = Path(tempfile.mkdtemp(prefix="swarm-site-"))
    folder.chmod(0o711)
    made = Site(folder, profile(*nodes), sl)
    try:
        await made.manager.check()
        yield made
    finally:
        for key in await made.manager.attempts():
            await made.manager.clean(key)
        shutil.rmtree(folder)
