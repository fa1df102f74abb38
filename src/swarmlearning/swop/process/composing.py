"""What SL and ML of a pair are started with: command, environment, mounts. Pure but for looking at paths."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from swarmlearning.supervise.readiness import node_command
from swarmlearning.swop.composing import Contact
from swarmlearning.swop.managing import Attempt, ManagerError, Pair, check_targets
from swarmlearning.swop.process.entering import Account, Part
from swarmlearning.swop.process.environments import Environment
from swarmlearning.swop.process.places import PairPlaces, Places
from swarmlearning.swop.process.view import Mount
from swarmlearning.swop.profile import ContainerOptions, IdentityFile

SHARED: Final = "/tmp/hpe-swarm"
"""Where both clients look for what they share with their SL."""
TOKEN: Final = "SWARM_PAIR"
"""Marks all processes of a pair, so that those whose warden was killed are found."""
ML_GRACE, SL_GRACE = 10.0, 15.0
LOG_BYTES: Final = 64 * 2**20
FIRST_PORT: Final = 30305
_INHERITED: Final = ("LANG", "LC_ALL", "LC_CTYPE", "TZ", "http_proxy", "https_proxy", "no_proxy")
_INHERITED_TOO: Final = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_IDENTITY: Final = {
    "KEY": "SWARM_ID_KEY",
    "CERT": "SWARM_ID_CERT",
    "CACERT": "SWARM_ID_CACERT",
    "CAPATH": "SWARM_ID_CAPATH",
    "SPIFFE_SOCKETPATH": "SWARM_SPIFFE_WORKLOAD_API_SOCKET_PATH",
}


def inherited() -> dict[str, str]:
    """What every process gets of this one's environment: language, time zone and proxies, nothing that is secret."""
    return {name: os.environ[name] for name in (*_INHERITED, *_INHERITED_TOO) if name in os.environ}


def token(attempt: Attempt, index: int) -> str:
    """What `TOKEN` is for the processes of a pair."""
    return f"{attempt.key}.{index}"


def channels(group: str, attempt: Attempt, index: int, folder: str) -> dict[str, str]:
    """The variables that lead clients to their SL, with the original's names of its pipes."""
    stem = f"{folder}/{group}.{index}.{attempt.key}"
    return {
        "SL_REQUEST_CHANNEL": f"{stem}.request.pipe",
        "SL_RESPONSE_CHANNEL": f"{stem}.response.pipe",
    }


def sl_part(
    pair: Pair,
    contact: Contact,
    places: Places,
    own: PairPlaces,
    shared: Path,
    variables: Mapping[str, str],
    group: int | None,
) -> Part:
    """The SL of a pair; `group` is the one that it shares with an ML process of another user."""
    node = pair.node
    options: dict[str, str | Path] = {
        "host-ip": node.sl_host_ip or contact.host_ip,
        "sl-fs-port": str(node.sl_port or FIRST_PORT + node.index),
        "data-dir": own.data,
        "channel-dir": shared,
        "bridge-dir": shared,
    }
    options |= {"sl-fs-service": node.sl_service} if node.sl_service else {}
    options |= {"node-name": node.sl_hostname} if node.sl_hostname else {}
    options |= {"network-id": contact.network_id} if contact.network_id else {}
    options |= {"ml-group": str(group)} if group is not None else {}
    options |= {"privacy-policy": node.privacy_policy} if node.privacy_policy else {}
    return Part(
        command=node_command("sl", options, "--bridge"),
        environment={
            "PATH": os.defpath,
            "HOME": str(own.data),
            **inherited(),
            **pair.sl_environment,
            **{_IDENTITY[file.kind]: str(_identity(file, places)) for file in node.identity},
            **variables,
            "SL_UID": pair.sl_uid,
        },
        directory=str(own.folder),
        log=str(own.sl_log),
        log_bytes=LOG_BYTES,
        grace_seconds=SL_GRACE,
    )


def ml_part(
    pair: Pair, environment: Environment, own: PairPlaces, variables: Mapping[str, str], account: Account | None
) -> Part:
    """The ML process of a pair, still without a view and limits."""
    run = pair.run
    try:
        words = [*shlex.split(run.entrypoint), *shlex.split(run.command)]
    except ValueError as error:
        raise ManagerError("no-start", f"Entrypoint or Command of the task: {error}") from error
    user = {"USER": pair.node.user, "LOGNAME": pair.node.user} if account and pair.node.user else {}
    return Part(
        command=words,
        environment={
            "PATH": os.pathsep.join((f"{environment.folder}/bin", "/usr/local/bin", os.defpath)),
            "VIRTUAL_ENV": str(environment.folder),
            "HOME": str(own.home),
            **user,
            **inherited(),
            **environment.variables,
            **pair.ml_environment,
            **visible_gpus(pair.node.options),
            **variables,
        },
        directory=run.working_dir,
        log=str(own.ml_log),
        log_bytes=LOG_BYTES,
        grace_seconds=ML_GRACE,
        umask=0o027 if account else 0o077,
        account=account,
    )


def mounts(pair: Pair, places: Places, shared: Path, account: Account | None) -> list[Mount]:
    """What the ML process sees at the paths that the task names; the first is the folder `shared` with its SL.

    Raises `ManagerError` and `OSError`.
    """
    found = [Mount(str(shared.resolve()), SHARED, fresh=True)]
    if private := pair.private_content:
        data, target = private
        found.append(Mount(str(_source(data.source, data.kind, places, account).resolve()), target))
    for content in pair.run.shared_content:
        found.append(Mount(str(_source(content.source, content.kind, places, account)), content.target))
    check_targets(((mount.source, mount.target) for mount in found[1:]), SHARED)
    return found


def visible_gpus(options: ContainerOptions) -> dict[str, str]:
    """The variables that show the ML process the GPUs of its profile, and none without one. Raises `ManagerError`."""
    variables = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}
    if options.gpus == "all":
        del variables["CUDA_VISIBLE_DEVICES"]
    elif options.gpus is not None:
        name, separator, numbers = options.gpus.strip('"').partition("=")
        if (name, separator) != ("device", "="):
            raise ManagerError("unsupported", f'gpus: {options.gpus!r} is neither "all" nor "device=…"')
        variables["CUDA_VISIBLE_DEVICES"] = numbers
    if options.devices:
        cards = [device.split("/dev/dri/renderD", 1)[1] for device in options.devices if "/dev/dri/renderD" in device]
        if cards and all(card.isdecimal() for card in cards):
            variables["HIP_VISIBLE_DEVICES"] = ",".join(str(int(card) - 128) for card in cards)
        else:
            del variables["HIP_VISIBLE_DEVICES"]
    return variables


def _source(source: str, kind: str, places: Places, account: Account | None) -> Path:
    """A folder or file of the site. Raises `ManagerError` where there is none; a volume is made, for that account.

    A path of a task is as it was judged, without links: one that has come to be there meanwhile is not followed.
    """
    if kind == "VOLUME":
        folder = places.volume(source)
        if not folder.exists():
            folder.mkdir(mode=0o755)
            if account is not None:
                os.chown(folder, account.uid, account.gid)
        return folder.resolve()
    path = Path(source)
    if not path.exists():
        raise ManagerError("no-start", f"{source} is to be mounted, and there is nothing of that name")
    return path


def _identity(file: IdentityFile, places: Places) -> Path:
    path = places.volume(file.source) if file.mount == "VOLUME" else Path(file.source)
    return path / file.sub_path if file.sub_path else path
