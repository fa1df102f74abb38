"""What a SWOP asks of a resource manager: local processes (`process/`) or containers (`docker/`).

A manager carries out and knows no ledger, and no policy. Everything it starts it can find again: a SWOP may be killed
at any moment, and the next one asks for the same with the same `Attempt`. So each call may be repeated, and says the
same as the first one.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from posixpath import normpath
from typing import NamedTuple, Protocol

from swarmlearning.ledger.bodies import Reason
from swarmlearning.swop.profile import NodeDefinition, PrivateData
from swarmlearning.taskfiles.definition import MakeSwarmUserContent, MakeUserContainer, PullImage, RunSwarm


class Attempt(NamedTuple):
    """One attempt of a SWOP at an assignment of a taskrunner; `serial` counts assignments, `digest` is the task's."""

    taskrunner: str
    serial: int
    attempt: int
    task: str
    digest: str

    @property
    def key(self) -> str:
        """16 hexadecimal digits that name it: in names, labels and folders."""
        return hashlib.sha256("\n".join(map(str, self)).encode()).hexdigest()[:16]


class Limits(NamedTuple):
    """What the site's policy allows a pair; None is no limit. `seconds` for a whole attempt."""

    seconds: float | None = None
    cpus: float | None = None
    memory_bytes: int | None = None
    processes: int | None = None


class Pair(NamedTuple):
    """One SL+ML pair to start: its node of the profile, the command, the image or environment that it runs in (the
    outcome of the prerequisite), and the SL's UID.

    `sl_environment` and `ml_environment` are complete but for what only the manager knows. So the SL's has all that
    `swarm sl` needs by its variables (the SN's address, this host's, ports, the UID, the task that it works for); the
    manager adds identity, data directory and bridge, and to the ML's what leads it to its SL.
    """

    node: NodeDefinition
    run: RunSwarm
    base: str
    sl_uid: str
    sl_environment: Mapping[str, str]
    ml_environment: Mapping[str, str]
    limits: Limits = Limits()

    @property
    def private_content(self) -> tuple[PrivateData, str] | None:
        """The site's private data, and the path at which the script finds it.

        None where the task names no path, or the node of the profile has no private data: one task serves sites that
        keep their data in different places, and a null in a profile leaves out what it stands for.
        """
        target, data = self.run.private_content, self.node.private_data
        return None if target is None or data is None else (data, target)


class PairState(NamedTuple):
    """How the parts of a pair are: None while one runs, else its exit code.

    `limited`: the ML process has ended after it came up against a limit of the site's policy.
    """

    sl_code: int | None
    ml_code: int | None
    limited: bool = False


class PairLogs(NamedTuple):
    """The files in which a pair's output lies."""

    sl: Path
    ml: Path


class ManagerError(Exception):
    """A manager could not do it. The `reason` goes on the ledger; the message stays at the site."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


def normal_path(path: str) -> str:
    """The absolute path in its shortest form."""
    return "/" + normpath(path).lstrip("/")


def check_targets(mounts: Iterable[tuple[str, str]], shared: str) -> None:
    """Raises `ManagerError` where two sources want the same target, or one wants the folder `shared` by SL and script.

    `mounts`: source and target of each.
    """
    found: dict[str, str] = {}
    for source, target in mounts:
        place = normal_path(target)
        if found.setdefault(place, source) != source:
            raise ManagerError("site", f"{found[place]} and {source} cannot both be at {place}")
        if f"{place}/".startswith(f"{shared}/"):
            raise ManagerError("site", f"{source} cannot be at {place}: {shared} is what SL and script share")


class ResourceManager(Protocol):
    """Starts and ends what tasks need at one site. All may raise `ManagerError`."""

    async def check(self) -> Sequence[str]:
        """Sentences for the log on what this manager cannot do on this host, such as to run scripts as another user.

        Raises `ManagerError` where it cannot work here at all.
        """

    async def make(
        self, attempt: Attempt, outcome: str, what: MakeUserContainer | PullImage | MakeSwarmUserContent
    ) -> Collection[str]:
        """Makes an image, environment or content named `outcome`; returns the digests of what it brought in.

        Where this is cancelled, what it has started ends.
        """

    async def brought_in(self, outcome: str) -> Collection[str]:
        """The digests behind an outcome that was made here before; empty where there is none of this name."""

    async def start(self, attempt: Attempt, pair: Pair) -> None:
        """Starts SL and ML of a pair; one that has been started is left as it is, ended or not."""

    async def state(self, attempt: Attempt, index: int) -> PairState | None:
        """How a pair is; None where it has not been started."""

    async def changed(self, attempt: Attempt, index: int, known: PairState) -> PairState:
        """Waits until the pair's state is another one than `known`."""

    async def stop(self, attempt: Attempt, index: int) -> None:
        """Ends what still runs of a pair, the ML process first, and waits until it is gone; the logs stay.

        Stopped containers are removed unless they are to be kept: `state` need not be asked any more.
        """

    async def clean(self, key: str) -> None:
        """Removes what the attempt of this key has left, pairs that still run included; what `make` has made stays."""

    async def show_stacks(self, attempt: Attempt, index: int) -> bool:
        """Has the ML process write the stacks of its threads to its log; False where it cannot."""

    async def attempts(self) -> Collection[str]:
        """The keys of all attempts that have left something here."""

    def logs(self, attempt: Attempt, index: int) -> PairLogs:
        """Where a pair's output lies or will lie."""
