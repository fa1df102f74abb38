"""What a part of a pair goes through between fork and exec: limits, view, user, working directory.

Standard library only. The description of a part comes from the manager, as a JSON file that only it can write.
"""

import os
import resource
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from swarmlearning.swop.process.switching import bind, switch
from swarmlearning.swop.process.view import Mount, ViewError, enter


@dataclass(frozen=True)
class Account:
    """The user and groups that a part runs as."""

    uid: int
    gid: int
    groups: tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """A part of a pair, SL or ML, as its warden starts it.

    `view`: a folder for mount points, where it has a view of the file system of its own with `mounts`; `processes`: the
    most that its user may run; `cgroup`: the folder of the control group that it belongs to.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    directory: str
    log: str
    log_bytes: int
    grace_seconds: float
    umask: int = 0o077
    account: Account | None = None
    view: str | None = None
    mounts: Sequence[Mount] = ()
    processes: int | None = None
    cgroup: str | None = None

    @classmethod
    def from_json(cls, given: dict[str, object]) -> "Part":
        """The part that `dataclasses.asdict` has made this of."""
        account, mounts = given.pop("account"), given.pop("mounts")
        assert isinstance(mounts, list)
        return cls(
            **given,  # type: ignore[arg-type]
            account=Account(**account) if isinstance(account, dict) else None,
            mounts=[Mount(*mount) for mount in mounts],
        )


class CannotStart(Exception):
    """The part cannot be started; the message says why."""


def become(part: Part, warden: int) -> None:
    """Makes this process, a child of that one, the part. Does not return. Raises `CannotStart`."""
    try:
        if part.cgroup is not None:
            (Path(part.cgroup) / "cgroup.procs").write_text(str(os.getpid()))
        if part.view is not None:
            enter(Path(part.view), part.mounts, [part.directory])
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if part.processes is not None:
            resource.setrlimit(resource.RLIMIT_NPROC, (part.processes, part.processes))
        if part.account is not None:
            switch(part.account.uid, part.account.gid, part.account.groups)
        bind()
        if os.getppid() != warden:
            raise CannotStart("its warden has ended meanwhile")
        os.umask(part.umask)
    except ViewError as error:
        raise CannotStart(str(error)) from error
    except OSError as error:
        raise CannotStart(f"{error.filename or 'user or limits'}: {error.strerror}") from error
    _execute(part)


def _execute(part: Part) -> None:
    user = f" for user {part.account.uid}" if part.account else ""
    try:
        os.chdir(part.directory)
    except OSError as error:
        raise CannotStart(f"working directory {part.directory}{user}: {error.strerror}") from error
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    try:
        os.execvpe(part.command[0], list(part.command), dict(part.environment))
    except OSError as error:
        raise CannotStart(f"command {part.command[0]!r}{user}: {error.strerror}") from error
