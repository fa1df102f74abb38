"""Nodes as processes of this host, for hosts without a container runtime: the `swarm` command, with records of them."""

from __future__ import annotations

import fcntl
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from swarmscripts import records
from swarmscripts.common import identity_files, license_variables, spiffe_socket
from swarmscripts.errors import ScriptError
from swarmscripts.mounts import read_mount
from swarmscripts.options import Given
from swarmscripts.records import Record

NODE_FOLDERS = ("/platform/swarm/SMLNODE",)
"""Where images keep a node's state: what is mounted there is the data directory of a process."""

KEEPER_SECONDS = 5.0

USED = ("name", "hostname", "env", "env-file", "workdir", "entrypoint", "interactive", "tty", "rm", "user", "network")
"""Options of containers that mean something for processes too, or that nobody misses."""

WEIGHTS = Path("/tmp/hpe-swarm")
"""Built into the original's client; it may have one owner a host unless each has a file system of its own there."""

MOUNTED = 'mount --bind "$0" "$1" && shift && exec "$@"'


def start(
    kind: str,
    given: Given,
    arguments: Sequence[str],
    rest: Sequence[str],
    training: Given | None,
    variables: Sequence[tuple[str, str]] = (),
) -> int:
    """Starts `swarm <kind>` with these variables, and with the training of an SL; in the background with `--detach`,
    else in place of this process. Returns the exit status. Raises `ScriptError`."""
    name = given.last("name") or kind
    folder = records.place(name)
    _require_free(name)
    command = [swarm(), kind, *arguments, *_common_arguments(kind, name, given, folder), *rest]
    if kind == "sl":
        command = [*_bridged(folder), *command, "--bridge"] if _bridge_possible() else command
        command += _training(training)
    _remark_unused(given, training)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory = (training.last("workdir") if training else "") or given.last("workdir") or None
    if directory and not Path(directory).is_dir():
        raise ScriptError(f"{directory}: bad directory")
    environment = {**os.environ, **dict(license_variables(given)), **dict(variables), **_environment(given)}
    process = Record(kind, name, os.getpid(), records.began(os.getpid()), *_api(kind, given))
    if not given.flag("detach"):
        records.write(process)
        os.chdir(directory or ".")
        os.execvpe(command[0], command, environment)
    return _in_background(process, command, environment, directory, folder / "log")


def sn_of_this_host() -> list[str]:
    """Options that name the API of an SN that runs as a process here. Raises `ScriptError` where none does."""
    for record in records.records():
        if record.kind == "sn" and record.runs:
            return ["--sn-ip", record.host, "--sn-api-port", record.api_port]
    raise ScriptError("no SN runs on this host: name an SN with --sn-ip or --sn-api-service")


def _in_background(
    process: Record, command: Sequence[str], environment: Mapping[str, str], directory: str | None, log: Path
) -> int:
    keeper = subprocess.Popen(
        [sys.executable, "-m", "swarmscripts.keeping", str(log)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    started = subprocess.Popen(
        command,
        env=environment,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=keeper.stdin,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert keeper.stdin is not None
    keeper.stdin.close()
    began = records.began(started.pid)
    records.write(Record(process.kind, process.name, started.pid, began, process.host, process.api_port, keeper.pid))
    print(f"{process.name}: process {started.pid}, log {log}", flush=True)
    return 0


def _require_free(name: str) -> None:
    for record in records.records():
        if record.name == name and record.runs:
            raise ScriptError(
                f"a node named {name} runs already, as process {record.pid}: give this one another --name, or end that "
                "one with stop-swarm"
            )


def swarm() -> str:
    """The `swarm` command: on the PATH, beside this interpreter, or of the checkout that these scripts are in."""
    checkout = Path(__file__).resolve().parents[3] / ".venv" / "bin"
    for found in (shutil.which("swarm"), shutil.which("swarm", path=f"{Path(sys.executable).parent}:{checkout}")):
        if found:
            return found
    raise ScriptError(
        "neither docker nor podman nor the command `swarm` is on the PATH: install one of them (for the latter: "
        "pip install swarmlearning)"
    )


def _common_arguments(kind: str, name: str, given: Given, folder: Path) -> Iterator[str]:
    for option, path in identity_files(given):
        yield from (f"--{option}", str(path))
    if "socket-path" in given:
        yield from ("--socket-path", str(spiffe_socket(given.last("socket-path"))))
    if kind not in ("swci", "ui"):
        yield from ("--node-name", name)
    if kind != "swci":
        yield from ("--data-dir", _data_directory(given) or str(folder / "data"))


def _data_directory(given: Given) -> str:
    for text in given.all("volume"):
        mount = read_mount(text)
        if mount.target.rstrip("/") in NODE_FOLDERS and mount.is_bind:
            return mount.source
    return ""


def _environment(given: Given) -> dict[str, str]:
    """The variables of `--env-file` and `--env`; a name without a value is inherited."""
    lines: list[str] = []
    for file in given.all("env-file"):
        try:
            lines += [line for line in Path(file).read_text().splitlines() if line and not line.startswith("#")]
        except OSError as error:
            raise ScriptError(f"{file}: bad file") from error
    pairs = (line.partition("=") for line in [*lines, *given.all("env")])
    return {name: value for name, equals, value in pairs if equals}


def _training(training: Given | None) -> list[str]:
    """The words behind the SL's options that start its training, with variables of its own."""
    if training is None:
        return []
    command = [*shlex.split(training.last("entrypoint")), *shlex.split(training.last("cmd"))]
    if not command:
        raise ScriptError("--ml-cmd: the training's command is needed where it runs as a process of this host")
    variables = [f"{name}={value}" for name, value in _environment(training).items()]
    return ["--", *(["env", *variables] if variables else []), *command]


def _bridge_possible() -> bool:
    """Whether the original's client can be served: that needs a file system of one's own, or that nobody else has the
    folder. Says so where it is not."""
    if _can_mount():
        return True
    try:
        descriptor = os.open(WEIGHTS, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    except OSError:
        descriptor = -1
    free = descriptor >= 0 and _lockable(descriptor)
    if not free:
        print(
            f"run-sl: {WEIGHTS} belongs to another SL of this host: this one serves clients of this product, not the "
            "original's",
            file=sys.stderr,
        )
    return free


def _lockable(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _can_mount() -> bool:
    return os.geteuid() == 0 and shutil.which("unshare") is not None and _succeeds("unshare", "--mount", "true")


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def _bridged(folder: Path) -> list[str]:
    """Words before a command by which it alone sees a folder of its own at `WEIGHTS`; none where that cannot be."""
    if not _can_mount():
        return []
    own = folder / "hpe-swarm"
    own.mkdir(parents=True, exist_ok=True, mode=0o700)
    WEIGHTS.mkdir(exist_ok=True, mode=0o700)
    return ["unshare", "--mount", "sh", "-c", MOUNTED, str(own), str(WEIGHTS)]


def _api(kind: str, given: Given) -> tuple[str, str]:
    if kind != "sn":
        return "", ""
    return given.last("host-ip") or "127.0.0.1", given.last("sn-api-port") or "30304"


def _remark_unused(given: Given, training: Given | None) -> None:
    """Names the options for containers that do nothing for a process."""
    unused = [
        f"--{option.name}" for option, _ in given.values if option.handed_on and option.name not in (*USED, "volume")
    ]
    unused += [f"--volume {text}" for text in given.all("volume") if not _same_place(text)]
    if training:
        unused += [
            f"--ml-{option.name}" for option, _ in training.values if option.name not in (*USED, "cmd", "volume")
        ]
        unused += [f"--ml-volume {text}" for text in training.all("volume") if not _same_place(text)]
    if unused:
        print(f"without a container, these have no effect: {', '.join(unused)}", file=sys.stderr)


def _same_place(text: str) -> bool:
    mount = read_mount(text)
    return mount.target.rstrip("/") in NODE_FOLDERS or mount.source == mount.target


def stop(record: Record, seconds: float) -> bool:
    """Ends a process in good order; whether it has ended within `seconds`."""
    try:
        watched = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return True
    try:
        if not record.runs:  # looked at after the descriptor was opened: it is not another process' by now
            return True
        signal.pidfd_send_signal(watched, signal.SIGTERM)
        if not _wait(watched, seconds):
            return False
        _wait_for_keeper(record)
        return True
    finally:
        os.close(watched)


def _wait_for_keeper(record: Record) -> None:
    """What a node has printed is in its log then; a process that it has left behind may go on printing."""
    if not record.keeper:
        return
    with suppress(ProcessLookupError):
        watched = os.pidfd_open(record.keeper)
        try:
            _wait(watched, KEEPER_SECONDS)
        finally:
            os.close(watched)


def _wait(descriptor: int, seconds: float) -> list[int]:
    return select.select([descriptor], [], [], seconds)[0]
