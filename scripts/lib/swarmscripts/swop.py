"""`run-swop`: starts a Swarm Operator node."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from pathlib import Path

from swarmscripts.common import USR, file_in_user_folder, files_of, present, user_folder
from swarmscripts.containers import Needs
from swarmscripts.errors import ScriptError
from swarmscripts.mounts import Mount
from swarmscripts.options import Given, Option
from swarmscripts.runtime import Runtime, group_id
from swarmscripts.script import Script, main

WITNESS = (
    Option("witness-cert", "FILE", "certificate of the witness (an SN) that the profile asks for"),
    Option("witness-key", "FILE", "its private key"),
)
OPTIONS = (
    Option("usr-dir", "DIR", "user folder, with the profile"),
    Option("profile-file-name", "FILE", "the profile, in the user folder"),
    Option("host-ip", "HOST", "address of this host for other nodes"),
    Option("sn-ip", "HOST", "address of an SN, unless the profile names one"),
    Option("sn-api-port", "PORT", "API port of that SN"),
    Option("sn-api-service", "FQDN[:PORT]", "that SN's API behind a proxy"),
    Option("docker-socket-file", "FILE", "socket of the container runtime"),
    Option("docker-group-id", "GID", "group that may use that socket"),
    Option("swop-uid", "UID", "user of the containers that the SWOP starts"),
    *WITNESS,
    Option("witness-p2p-port", "PORT", "port at which the SNs reach it, by default 30303"),
)
SOCKET = "/var/run/docker.sock"
P2P_PORT = "30303"


def check(given: Given) -> None:
    """Raises `ScriptError` for what is missing."""
    if not given.last("profile-file-name"):
        raise ScriptError("mandatory parameter --profile-file-name not specified")
    if not given.last("usr-dir"):
        raise ScriptError("mandatory parameter --usr-dir not specified")
    file_in_user_folder(given, "profile-file-name", "profile file")
    if ("witness-cert" in given) != ("witness-key" in given):
        raise ScriptError("--witness-cert and --witness-key: name both, the certificate and its private key")


def needs(given: Given, runtime: Runtime) -> Needs:
    """The variables and mounts of a SWOP's container: it starts containers by the host's runtime."""
    uid, gid = _user(given)
    socket, group = _socket(given, runtime), _socket_group(given)
    witness = dict(files_of(given, WITNESS))
    published = _published_for_witness(given)
    environment = present(
        ("SWOP_PROFILE", given.last("profile-file-name")),
        ("SWOP_UID", uid),
        ("SWOP_GID", gid),
        ("SWOP_DOCKER_GID", group),
        ("THIS_NODE_IP", given.last("host-ip")),
        ("SN_NODE_IP", given.last("sn-ip")),
        ("SN_API_SERVER_PORT", given.last("sn-api-port")),
        ("SN_API_SERVICE", given.last("sn-api-service")),
        *((f"SWOP_{name.upper().replace('-', '_')}", str(path)) for name, path in witness.items()),
        ("SWOP_WITNESS_P2P_PORT", given.last("witness-p2p-port")),
    )
    mounts = [Mount(user_folder(given), USR), Mount(socket, SOCKET)]
    mounts += [Mount(str(path), str(path), "ro") for path in witness.values()]
    return Needs(environment, published, mounts, ["--group-add", group] if group else [])


def arguments(given: Given) -> Sequence[str]:
    """The options of `swarm swop`."""
    found = ["--usr-dir", user_folder(given)]
    for name in ("profile-file-name", "host-ip", "sn-ip", "sn-api-port", "sn-api-service", "witness-p2p-port"):
        if value := given.last(name):
            found += [f"--{name}", value]
    for name, path in files_of(given, WITNESS):
        found += [f"--{name}", str(path)]
    return found


def _published_for_witness(given: Given) -> list[str]:
    """The port at which the SNs reach a witness. Raises `ScriptError` where they are told no address of it."""
    if "witness-cert" not in given and "witness-p2p-port" not in given:
        return []
    if not given.last("host-ip"):
        raise ScriptError("mandatory parameter --host-ip not specified: the address at which SNs reach the witness")
    port = given.last("witness-p2p-port") or P2P_PORT
    return [f"{port}:{port}"]


def _user(given: Given) -> tuple[str, str]:
    """The user that the SWOP's containers run as, and its primary group. Raises `ScriptError`."""
    text = given.last("swop-uid") or str(os.getuid())
    try:
        return text, str(pwd.getpwuid(int(text)).pw_gid)
    except (KeyError, ValueError, OverflowError) as error:
        if text == str(os.getuid()):
            return text, str(os.getgid())
        raise ScriptError(f"--swop-uid: {text}: bad user id") from error


def _socket(given: Given, runtime: Runtime) -> str:
    """The socket of the container runtime. Raises `ScriptError`."""
    text = given.last("docker-socket-file")
    if not text and runtime.name == "podman":
        text = runtime.output("info", "--format", "{{.Host.RemoteSocket.Path}}").removeprefix("unix://")
    text = text or SOCKET
    if not Path(text).is_socket():
        raise ScriptError(f"--docker-socket-file: {text}: bad docker socket file")
    return str(Path(text).absolute())


def _socket_group(given: Given) -> str:
    """The group that may use the socket; empty where there is none. Raises `ScriptError`."""
    text = given.last("docker-group-id")
    if text and not text.isdigit():
        raise ScriptError(f"--docker-group-id: {text}: bad docker group-id")
    found = group_id("docker")
    return text or ("" if found is None else str(found))


SWOP = Script("swop", "Starts a Swarm Operator node.", OPTIONS, check, needs, arguments)


def run(words: Sequence[str]) -> int:
    """Returns the exit status."""
    return main(SWOP, words)
