"""`run-sl`: starts a Swarm Learning node, and the training beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from swarmscripts import VERSION, processes
from swarmscripts.common import files_of, host_and_port, present
from swarmscripts.containers import SHARED_GROUP, Needs
from swarmscripts.errors import ScriptError
from swarmscripts.mounts import Mount
from swarmscripts.options import Given, Option
from swarmscripts.runtime import Runtime
from swarmscripts.script import Script, main

PRIVACY = Option("privacy-policy", "FILE", "policy of this site's privacy lock, in a folder of its own")
OPTIONS = (
    Option("host-ip", "HOST", "address of this host for other nodes"),
    Option("sn-ip", "HOST", "address of an SN"),
    Option("sn-api-port", "PORT", "API port of that SN"),
    Option("sn-api-service", "FQDN[:PORT]", "that SN's API behind a proxy"),
    Option("sn-docker-name", "NAME", "container of an SN of this host, to use its address"),
    Option("sn-image", "NAME[:TAG]", "image of that container"),
    Option("sl-fs-port", "PORT", "port of this node's file server"),
    Option("sl-fs-service", "FQDN[:PORT]", "the file server behind a proxy"),
    Option("relay", help="listen on nothing, and be reached through an SN's relay; =false: never use one"),
    Option("max-mbit", "MBIT", "most that models use of the link: 20, 10/50 (up/down), 5@08:00-18:00,50"),
    PRIVACY,
)
FS_PORT = "30305"
CHANNEL, WEIGHTS = "/tmp/channel", "/tmp/hpe-swarm"
"""Volumes that SL and training share: for pipes and models, and where the original's client has its weights."""
PAIR = f"{CHANNEL}/pair"
"""Where our client hands over models: the SL makes this folder, as only its owner can remove what the training left."""

PROTECTED_FIFOS = Path("/proc/sys/fs/protected_fifos")


def pipes() -> Sequence[tuple[str, str]]:
    """The variables of the pipes: where they are documented to be, or in the SL's own folder where this host's kernel
    (fs.protected_fifos=2) lets no user write to the pipe of another one in that folder of root's."""
    try:
        folder = PAIR if PROTECTED_FIFOS.read_text().strip() == "2" else CHANNEL
    except OSError:
        folder = CHANNEL
    return (("SL_REQUEST_CHANNEL", f"{folder}/request.channel"), ("SL_RESPONSE_CHANNEL", f"{folder}/response.channel"))


def check(given: Given) -> None:
    """Raises `ScriptError` for what is missing."""
    if not (given.last("host-ip") or given.last("sl-fs-service") or given.flag("relay")):
        raise ScriptError("mandatory parameter --host-ip not specified")


def needs(given: Given, runtime: Runtime) -> Needs:
    """The variables, port and folders of an SL's container."""
    published = []
    if port := given.last("sl-fs-port"):
        published.append(f"{port}:{FS_PORT}")
    if service := given.last("sl-fs-service"):
        published.append(f"{host_and_port(service, FS_PORT)[1]}:{FS_PORT}")
    sn = given.last("sn-ip")
    if not (sn or given.last("sn-api-service")):
        sn = _sn_of_this_host(given, runtime)
    policies = [path for _, path in files_of(given, [PRIVACY])]
    environment = present(
        ("THIS_NODE_IP", given.last("host-ip")),
        ("SN_NODE_IP", sn),
        ("SN_API_SERVER_PORT", given.last("sn-api-port")),
        ("SN_API_SERVICE", given.last("sn-api-service")),
        ("SL_FS_PORT", given.last("sl-fs-port")),
        ("SL_FS_SERVICE", given.last("sl-fs-service")),
        ("SL_RELAY", given.last("relay")),
        ("SL_MAX_MBIT", given.last("max-mbit")),
        *(("SL_PRIVACY_POLICY", str(policy)) for policy in policies),
        ("SWARM_DATA_DIR", f"{CHANNEL}/node"),  # models are handed over by links, which need one file system
        ("SL_CHANNEL_DIR", PAIR),
        ("SL_ML_GROUP", SHARED_GROUP),
        *pipes(),
    )
    volumes = [Mount("", CHANNEL), Mount("", WEIGHTS)]
    volumes += [Mount(str(policy.parent), str(policy.parent)) for policy in policies]  # its record lies there too
    return Needs(environment, list(dict.fromkeys(published)), volumes)


def arguments(given: Given) -> Sequence[str]:
    """The options of `swarm sl`; its SN is one of this host where none is named."""
    found: list[str] = []
    for name in ("host-ip", "sn-ip", "sn-api-port", "sn-api-service", "sl-fs-port", "sl-fs-service", "max-mbit"):
        if value := given.last(name):
            found += [f"--{name}", value]
    if "relay" in given:
        found.append("--relay" if given.flag("relay") else "--no-relay")
    for name, path in files_of(given, [PRIVACY]):
        found += [f"--{name}", str(path)]
    if not (given.last("sn-ip") or given.last("sn-api-service")):
        found += processes.sn_of_this_host()
    return found


def _sn_of_this_host(given: Given, runtime: Runtime) -> str:
    """The address of the SN's container on this host. Raises `ScriptError` where there is none."""
    name = given.last("sn-docker-name")
    if not name:
        image = given.last("sn-image") or f"swarmlearning/sn:{VERSION}"
        running = runtime.containers_of(image)
        if not running:
            raise ScriptError("no SN container runs on this host: name an SN with --sn-ip or --sn-api-service")
        name = running[0]
    return runtime.output("container", "exec", name, "hostname", "-i").split()[0]


def script() -> Script:
    """`run-sl` on this host, whose kernel decides where pipes lie."""
    return Script(
        "sl",
        "Starts a Swarm Learning node, and with --ml-… options the training beside it.",
        OPTIONS,
        check,
        needs,
        arguments,
        Needs(
            [*pipes(), ("SWARM_CHANNEL", f"{PAIR}/ml.sock"), ("SWARM_START_SECONDS", "600")],
            arguments=["--group-add", SHARED_GROUP],
        ),
    )


def run(words: Sequence[str]) -> int:
    """Returns the exit status."""
    return main(script(), words)
