"""What a project states besides its files: whose it is, the values of its macros, and its nodes on which hosts."""

import re
from typing import Final, Literal, TypeAlias

import msgspec

from swarmlearning.address import AddressError, require_announceable, require_host
from swarmlearning.ui.projects.kinds import ProjectError
from swarmlearning.ui.projects.macros import check_values

NodeKind: TypeAlias = Literal["sn", "swop", "sl"]

MOST_NODES: Final = 256
MOST_HOSTS: Final = 256
MOST_WORDS: Final = 100
LONGEST_WORD: Final = 1000
LONGEST_TEXT: Final = 2000

_NODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_ROOT: Final = re.compile(r"/[A-Za-z0-9._+=@/-]{1,199}")
_PREFIX: Final = {"sn": "SN-", "swop": "SWOP-", "sl": "SL-"}


class HostPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A host of a project: its name here, the address at which the others reach it, the product's folder there."""

    name: str
    address: str
    root: str


class ProjectNode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A node that a project has on a host. `name` is that of its certificate, such as `SN-1`; `host` the name of a host
    of the project.

    An SN founds the network (`founds`), or joins by the SN at `join` (`host:port`; empty: that of this project which
    founds it), as SWOPs and SLs do. `profile` and `policy` are files of the project, for a SWOP; `script` is what an
    SL runs as its ML process: words, of which `<PROJECT-MODEL>` and the like are replaced. `more`: further options of
    `swarm sn`, `swop` or `sl`.
    """

    name: str
    kind: NodeKind
    host: str
    founds: bool = False
    join: str = ""
    api_port: int = 30304
    p2p_port: int = 30303
    fs_port: int = 30305
    join_port: int = 30307
    profile: str = ""
    policy: str = ""
    script: tuple[str, ...] = ()
    more: tuple[str, ...] = ()


class ProjectSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The settings of a project. `created_ms`: Unix time; `values`: of macros that do not follow from a host."""

    author: str = ""
    created_ms: int = 0
    description: str = ""
    network_id: str = ""
    values: dict[str, str] = {}
    hosts: tuple[HostPlace, ...] = ()
    nodes: tuple[ProjectNode, ...] = ()


def check_settings(settings: ProjectSettings) -> None:
    """Raises `ProjectError` for what no project can have; whether it can be deployed is for its plan to say."""
    check_values(settings.values)
    if len(settings.description) > LONGEST_TEXT:
        raise ProjectError(f"the description has {len(settings.description):,} characters; at most {LONGEST_TEXT:,}")
    if len(settings.nodes) > MOST_NODES:
        raise ProjectError(f"{len(settings.nodes)} nodes are named; a project has at most {MOST_NODES}")
    if settings.network_id and re.fullmatch("[0-9a-f]{64}", settings.network_id) is None:
        raise ProjectError("the network's ID has 64 hexadecimal digits, as `swarm status` prints it")
    if len(settings.hosts) > MOST_HOSTS:
        raise ProjectError(f"{len(settings.hosts)} hosts are named; a project has at most {MOST_HOSTS}")
    for host in settings.hosts:
        check_host(host)
    for node in settings.nodes:
        check_node(node)


def check_host(host: HostPlace) -> None:
    """Raises `ProjectError` for a host that cannot be."""
    if _NODE.fullmatch(host.name) is None:
        raise ProjectError(f"{host.name[:60]!r} cannot name a host: use letters, digits, '_', '.' and '-'")
    parts = host.root.split("/")
    if not _ROOT.fullmatch(host.root) or ".." in parts or host.root == "/":
        raise ProjectError(
            f"{host.name}: {host.root[:60]!r} cannot be the product's folder: an absolute path of letters, digits and "
            "'._+=@/-', without '..'"
        )
    try:
        require_host(host.address)
        require_announceable(host.address)
    except AddressError as error:
        raise ProjectError(f"{host.name}: {error}") from error


def check_node(node: ProjectNode) -> None:
    """Raises `ProjectError` for a node that cannot be."""
    prefix = _PREFIX[node.kind]
    if _NODE.fullmatch(node.name) is None or not node.name.upper().startswith(prefix):
        raise ProjectError(
            f"{node.name[:60]!r} cannot name a node of kind {node.kind}: it is the name in its certificate, which "
            f"begins with {prefix}, such as {prefix}1; letters, digits, '_', '.' and '-' only"
        )
    for port, what in ((node.api_port, "API"), (node.p2p_port, "P2P"), (node.fs_port, "file server")):
        if not 1 <= port <= 65535:
            raise ProjectError(f"{node.name}: {port} is no port ({what}); ports are from 1 to 65535")
    if not 0 <= node.join_port <= 65535:
        raise ProjectError(f"{node.name}: {node.join_port} is no port for newcomers; from 1 to 65535, or 0 for none")
    words = (*node.script, *node.more)
    if len(words) > MOST_WORDS or any(len(word) > LONGEST_WORD or not word.isprintable() for word in words):
        raise ProjectError(
            f"{node.name}: its script and further options have at most {MOST_WORDS} words of {LONGEST_WORD} printable "
            "characters"
        )
