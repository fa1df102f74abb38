"""SWOPs as real processes beside a swarm, an operator that sends transactions, and what the ledger shows of both."""

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from support.containers import PYTHON_IMAGE, Podman, python_environment
from support.local_sn import Member, member
from support.ports import fixed_port
from support.processes import COMMAND, Process
from support.swarm import ML, Swarm, identity_options, run
from support.uids import uid
from swarmlearning.choices import DEFAULT_TASKRUNNER, TaskType
from swarmlearning.ledger.bodies import (
    AppendTaskBody,
    Assign,
    AssignTarget,
    Body,
    CreateTask,
    FinalizeTask,
    ResetTaskrunner,
)
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.taskrunner import Peer, Taskrunner, taskrunner
from swarmlearning.ledger.contracts.tasks.bodies import BATCH
from swarmlearning.swop.composing import Contact
from swarmlearning.swop.process.manager import ProcessManager
from swarmlearning.swop.profilefile import read_profile
from swarmlearning.taskfiles.definition import Definition, MakeSwarmUserContent, MakeUserContainer, PullImage, RunSwarm
from swarmlearning.taskfiles.lines import body_lines


class Operations:
    """An operator of a swarm and its SWOPs; use as a context manager, at whose end no pair is left."""

    def __init__(self, swarm: Swarm, operator: str = "SWCI-1") -> None:
        self.swarm = swarm
        self._operator = operator
        self._incarnation = self._commands = 0
        self._folders: list[Path] = []

    # --- the operator -----------------------------------------------------------------------------------------------

    def send(self, *sent: tuple[str, Body]) -> None:
        """These transactions, in this order; all have to be accepted."""

        async def act() -> None:
            identity = self.swarm.identities[self._operator]
            self._incarnation += 1
            name = uid(self._operator)
            async with member(self.swarm.address, identity, name, "SWCI", self._incarnation) as client:
                await client.register()
                for contract, body in sent:
                    await client.send(body, contract)

        run(act())

    def task(self, name: str, what: Definition, prerequisite: str = "ROOTTASK", outcome: str = "none") -> None:
        """Makes a task and finalizes it."""
        kinds: dict[type, TaskType] = {
            RunSwarm: "RUN_SWARM",
            MakeUserContainer: "MAKE_USER_CONTAINER",
            MakeSwarmUserContent: "MAKE_SWARM_USER_CONTENT",
            PullImage: "PULL_IMAGE",
        }
        lines = body_lines(what)
        batches = [
            (name, AppendTaskBody(index + 1, lines[index : index + BATCH])) for index in range(0, len(lines), BATCH)
        ]
        created = CreateTask(kinds[type(what)], "test", prerequisite, outcome)
        self.send((name, created), *batches, (name, FinalizeTask()))

    def assign(self, task: str, peers: int, runner: str = DEFAULT_TASKRUNNER) -> None:
        self.send((runner, Assign(task, peers)))

    def target(self, task: str, swop: str, runner: str = DEFAULT_TASKRUNNER) -> None:
        self.send((runner, AssignTarget(task, swop)))

    def reset(self, runner: str = DEFAULT_TASKRUNNER) -> None:
        self.send((runner, ResetTaskrunner()))

    # --- SWOPs ------------------------------------------------------------------------------------------------------

    def start(
        self,
        name: str,
        sls: Sequence[str],
        *,
        runner: str = DEFAULT_TASKRUNNER,
        policy: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        nodes: Sequence[Mapping[str, Any]] = (),
        sn: str = "",
        within: Sequence[str] = (),
        **profile: Any,
    ) -> Process:
        """A SWOP with a pair for each of these SL certificates, which listens to its taskrunner when this returns.

        `nodes`: entries of the pairs' node definitions, in their order; `sn`: the SN that it is given, else the
        swarm's; `within`: a command that runs another in its place.
        """
        folder = self.swarm.directory / name
        folder.mkdir(exist_ok=True)
        if not (folder / "profile.yaml").exists():
            given = [*nodes, *({} for _ in sls[len(nodes) :])]
            definitions = [{**self._node(index, sl), **given[index]} for index, sl in enumerate(sls)]
            locator = {"host": None, "port": None, "service": None}
            content = {
                "groupname": name.lower(),
                "taskrunner": runner,
                "resourcemgr": {"mgrtype": "PROCESS"},
                "apisrv": {"locator": locator},
                "nodes": [{"slnodedef": definition} for definition in definitions],
                **profile,
            }
            (folder / "profile.yaml").write_text(yaml.safe_dump(content))
            self._folders.append(folder)
        if policy is not None:
            (folder / "policy.yaml").write_text(yaml.safe_dump(dict(policy)))
        host, _, port = (sn or self.swarm.address).rpartition(":")
        options: dict[str, str | Path] = {
            "usr-dir": folder,
            "profile-file-name": "profile.yaml",
            "sn-ip": host,
            "sn-api-port": port,
            "data-dir": folder / "data",
            **({"policy-file": "policy.yaml"} if policy is not None else {}),
            **identity_options(self.swarm.identities[name]),
        }
        swop = self.swarm.processes.node(name, "swop", options, environment=environment, within=within)
        mine = swop.ready["uid"]
        self.until(lambda runner: any(peer.uid == mine and peer.state != "lost" for peer in runner.peers), runner)
        return swop

    def command(self, swop: str, *words: str) -> str:
        """The output of `swarm swop WORDS` at the site of this SWOP."""
        folder = self.swarm.directory / swop / "data"
        self._commands += 1
        done = self.swarm.processes.start(f"{swop}-{self._commands}", *COMMAND, "swop", *words, "--data-dir", folder)
        assert done.wait() == 0, done.output
        return done.output

    def _node(self, index: int, sl: str) -> dict[str, Any]:
        options = identity_options(self.swarm.identities[sl])
        kinds = {"KEY": "key", "CERT": "cert", "CAPATH": "capath", "SPIFFE_SOCKETPATH": "socket-path"}
        return {
            "idx": index,
            "identity": [
                {"attribute": {"aType": kind, "mType": "BIND", "src": str(options[name]), "tgt": str(options[name])}}
                for kind, name in kinds.items()
                if name in options
            ],
            "slhostname": sl,
            "slport": fixed_port(),
            "privatedata": None,
            "slenvvars": None,
            "usrhostname": None,
            "usrenvvars": [{"SITE": str(index + 1)}],
        }

    # --- what can be seen -------------------------------------------------------------------------------------------

    def until(self, reached: Callable[[Taskrunner], bool], runner: str = DEFAULT_TASKRUNNER) -> Taskrunner:
        """Follows the chain until the taskrunner is `reached`."""

        def found(chain: Chain) -> Taskrunner | None:
            return taskrunner(chain.world, runner)

        def is_reached(chain: Chain) -> bool:
            known = found(chain)
            return chain.height >= 0 and known is not None and reached(known)

        last = found(self.swarm.until_chain(is_reached))
        assert last is not None
        return last

    def over(self, serial: int, runner: str = DEFAULT_TASKRUNNER) -> Taskrunner:
        """The taskrunner once its assignment of this number is over."""
        return self.until(lambda known: known.serial == serial and known.state in ("COMPLETE", "ERROR", "IDLE"), runner)

    def mine(self, serial: int, reached: Callable[[Peer], bool]) -> Peer:
        """The one SWOP of the default taskrunner once it is so `reached` in the assignment of this number."""
        return only(self.until(lambda known: known.serial == serial and any(map(reached, known.peers))))

    def clean(self) -> None:
        """Ends all that SWOPs have started, whether they live or not."""
        for folder in self._folders:
            end_pairs(folder / "profile.yaml", folder / "data")


def end_pairs(profile: Path, data_dir: Path) -> None:
    """Ends all that a SWOP with this profile and data directory has started."""

    async def ended() -> None:
        found = read_profile(profile.read_bytes(), profile.name)
        manager = ProcessManager(data_dir / "process", found, Contact(""))
        await manager.check()
        for key in await manager.attempts():
            await manager.clean(key)

    asyncio.run(ended())


@contextmanager
def operations(swarm: Swarm, operator: str = "SWCI-1") -> Iterator[Operations]:
    """An operator of a swarm whose SN runs; in the end all SWOPs are killed, and so is what they have started."""
    made = Operations(swarm, operator)
    try:
        yield made
    finally:
        for process in swarm.processes.started:
            if process.name.startswith("SWOP"):
                process.kill()
        made.clean()


def in_containers(engine: Podman) -> dict[str, Any]:
    """Arguments of `Operations.start` by which pairs are containers on this engine, with this machine's Python: SLs run
    as root, scripts as another user."""
    users = {"SWOP_SL_IMAGE": PYTHON_IMAGE, "SWOP_UID": "1000", "SWOP_GID": "1000", "SWOP_SL_USER": "0:0"}
    return {
        "environment": {**engine.environment, **users},
        "resourcemgr": {"mgrtype": "DOCKER", "accessinfo": {"accesstype": "FROMENV"}},
        "network": "host",
        "envvars": [{name: value} for name, value in python_environment().items()],
    }


def script(*options: str, working_dir: Path, **variables: str) -> RunSwarm:
    """A task that runs the stand-in for a training script."""
    return RunSwarm(" ".join((str(ML), *options)), sys.executable, str(working_dir), tuple(variables.items()))


def only(runner: Taskrunner) -> Peer:
    """The one SWOP of a taskrunner."""
    (peer,) = runner.peers
    return peer


__all__ = ["Member", "Operations", "end_pairs", "in_containers", "only", "operations", "script"]
