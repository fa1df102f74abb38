"""The environment variables that users of the original know, of all nodes, and which of them have no effect here.

Those that have an effect are read where they belong: by the options of the commands, by `node/settings.py`, by the
client. This table is what `--help` and the log of a node say about the others, and what a test goes through.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from swarmlearning.proxies import proxy_to

logger = logging.getLogger("swarm.node")

Kind = Literal["sn", "sl", "swop", "swci", "ml"]
NODES: tuple[Kind, ...] = ("sn", "sl", "swop", "swci")


@dataclass(frozen=True)
class Variable:
    """`kinds`: which nodes it is for (`ml`: the training script). `without_effect`: the reason, where it has none."""

    name: str
    kinds: tuple[Kind, ...]
    without_effect: str = ""


_LOGS = "logs go to standard output"
_ORDER = "every SN takes part in ordering"
_LINE = "the proxy of downloads and builds without TLS, which this node makes none of"

VARIABLES = (
    Variable("SWARM_LOOPBACK", ("ml",)),
    Variable("LOGS_DIR", NODES, _LOGS),
    Variable("USR_DIR", ("swop", "swci")),
    Variable("USR_DIR", ("sn", "sl"), "this node reads no user files"),
    Variable("SN_ETH_PORT_EXT", ("sn",)),
    Variable("SN_I_AM_SENTINEL", ("sn",)),
    Variable("SN_START_MINING", ("sn",), _ORDER),
    Variable("SL_MAKE_ME_ADMIN", ("sl",)),
    Variable("SL_LEADER_FAILURE_BASE_TIMEOUT", ("sl",)),
    Variable("SL_WAIT_FOR_FULL_QUORUM_SECONDS", ("sl",)),
    Variable("SL_RAM_INTENSIVE", ("sl",), "merging reads files, at the speed of memory"),
    Variable("SL_MODEL_PARAMS_COMPRESSION_THRESHOLD_MB", ("sl",)),
    Variable("SWCI_RUN_TASK_MAX_WAIT_TIME", ("swci",)),
    Variable("SWCI_GENERIC_TASK_MAX_WAIT_TIME", ("swci",)),
    Variable("SWCI_TASK_MAX_WAIT_TIME", ("swci",)),
    Variable("SWCI_MODE", ("swci",)),
    Variable("SWCI_STARTUP_SCRIPT", ("swci",)),
    Variable("SWCI_WEB_PORT", ("swci",)),
    Variable("SWOP_PROFILE", ("swop",)),
    Variable("SWOP_KEEP_CONTAINERS", ("swop",)),
    Variable("SWARM_ID_CACERT", NODES),
    Variable("SWARM_ID_CAPATH", NODES),
    Variable("SWARM_ID_CERT", NODES),
    Variable("SWARM_ID_KEY", NODES),
    Variable("SWARM_ID_KEY_PASSPHRASE_FILE", NODES),
    Variable("SWARM_SPIFFE_WORKLOAD_API_SOCKET_PATH", NODES),
    Variable("THIS_NODE_IP", ("sn", "sl", "swop")),
    Variable("SENTINEL_NODE_IP", ("sn",)),
    Variable("SENTINEL_API_SERVER_PORT", ("sn",)),
    Variable("SENTINEL_API_SERVICE", ("sn",)),
    Variable("SN_NODE_IP", ("sl", "swop")),
    Variable("SN_API_SERVER_PORT", ("sn", "sl", "swop")),
    Variable("SN_API_SERVICE", ("sn", "sl", "swop")),
    Variable("SN_ETH_P2P_SERVICE", ("sn",)),
    Variable("SL_FS_PORT", ("sl",)),
    Variable("SL_FS_SERVICE", ("sl",)),
    Variable("SL_REQUEST_CHANNEL", ("sl",)),
    Variable("SL_RESPONSE_CHANNEL", ("sl",)),
    Variable("SL_LOG_LEVEL", ("sl",)),
    Variable("SWOP_UID", ("swop",)),
    Variable("SWOP_GID", ("swop",)),
    Variable("SWOP_DOCKER_GID", ("swop",), "run-swop gives the container that group"),
    *(
        Variable(f"SWARM_LICENSE_AUTOPASSJ_SERVER_{server}_{part}", NODES)
        for server in ("PRIMARY", "SECONDARY")
        for part in ("IP", "PORT")
    ),
    *(Variable(name, NODES) for lower in ("https_proxy", "no_proxy") for name in (lower, lower.upper())),
    *(Variable(name, ("sn", "sl", "swci"), _LINE) for name in ("http_proxy", "HTTP_PROXY")),
    *(Variable(name, ("swop",)) for name in ("http_proxy", "HTTP_PROXY")),
)
"""All that the original documents, and those that its scripts set."""

OF_ONE_NODE = frozenset(
    variable.name
    for variable in VARIABLES
    if variable.name.startswith(("SENTINEL_", "SN_", "SL_FS_", "THIS_NODE_", "SWOP_", "SWCI_"))
)
"""Variables that tell one node where it is and whom it contacts: other nodes that it starts must not inherit them."""


def without_effect(kind: Kind) -> Iterator[Variable]:
    """The variables of this kind of node that are accepted and have no effect."""
    return (variable for variable in VARIABLES if kind in variable.kinds and variable.without_effect)


def help_text(kind: Kind) -> str:
    """What `--help` says about them."""
    reasons: dict[str, list[str]] = {}
    for variable in without_effect(kind):
        reasons.setdefault(variable.without_effect, []).append(variable.name)
    listed = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in reasons.items())
    return f"Accepted from the environment, without effect: {listed}."


def log_without_effect(kind: Kind, environ: Mapping[str, str]) -> None:
    """Logs those that are set, by name, never with their values."""
    for variable in without_effect(kind):
        if environ.get(variable.name) and "proxy" not in variable.name.lower():  # which hosts set for everybody
            logger.info("%s is set and has no effect: %s", variable.name, variable.without_effect)


def log_proxy(environ: Mapping[str, str]) -> None:
    """Logs the proxy through which this node connects to others, without its password, and which ones are excepted.

    Raises `ProxyError` for one that cannot be used.
    """
    if (proxy := proxy_to("", environ)) is not None:
        excepted = environ.get("no_proxy") or environ.get("NO_PROXY") or "none"
        logger.info("Other hosts are reached through the proxy %s (https_proxy), but for no_proxy: %s", proxy, excepted)
