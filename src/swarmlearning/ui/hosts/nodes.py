"""Nodes as they are to run on a host: names, options, and the files and commands that follow from these. Pure."""

import hashlib
import re
import shlex
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final, Literal, TypeAlias

import msgspec

from swarmlearning.errors import UserError
from swarmlearning.identity.requests import NAME
from swarmlearning.ui.hosts.facts import Facts
from swarmlearning.ui.hosts.layout import Layout

Kind: TypeAlias = Literal["sn", "sl", "swop"]
How: TypeAlias = Literal["system", "user", "detached"]
"""What a node runs under: the system's systemd, the user's, or neither."""

MOST_FILES: Final = 64
MOST_FILE: Final = 8 * 2**20
"""Bytes of a file that a node is given: a profile, a task, a script."""
LONGEST_NAME: Final = 64
RESTARTS: Final = 5
"""So often within five minutes systemd starts a node again that has failed."""

_KINDS: Final[dict[str, Kind]] = {"SN": "sn", "SL": "sl", "SWOP": "swop"}
_OPTION: Final = re.compile(r"[a-z][a-z0-9-]{0,40}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_PATH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ +-]{0,100}(/[A-Za-z0-9_][A-Za-z0-9._ +-]{0,100}){0,5}")
_OURS: Final = ("capath", "cacert", "cert", "key", "data-dir", "ready-fd", "socket-path")
"""Options that follow from where the node lies."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A node's certificate: the folder of its key and certificates on the host, and what it names."""

    node: str
    folder: str
    addresses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.node) or len(self.node) > LONGEST_NAME:
            raise UserError(f"{self.node[:64]!r} is no name of a node, such as SL-1")
        for address in self.addresses:
            try:
                ip_address(address)
            except ValueError:
                raise UserError(f"{self.node}: {address[:64]!r} is no IP address; host names go to the names") from None

    def path(self, what: Literal["cert", "request"]) -> str:
        """The file of its certificate, or of its request for one."""
        return f"{self.folder}/{self.node.lower()}-{what}.pem"


class Runs(msgspec.Struct, frozen=True, kw_only=True):
    """How a node is run: the words behind `swarm`, in this folder, with these variables. Raises `UserError`."""

    name: str
    words: tuple[str, ...]
    folder: str
    environment: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        kind = kind_of(self.name)
        if self.words[:1] != (kind,):
            raise UserError(f"{self.name}: it is run by `swarm {kind}`, not by {shlex.join(self.words)[:80]!r}")
        if any("\0" in text for text in (*self.words, *(value for _, value in self.environment))):
            raise UserError(f"{self.name}: a value has a NUL in it")
        if bad := [name for name, _ in self.environment if not _VARIABLE.fullmatch(name)]:
            raise UserError(f"{self.name}: {bad[0][:60]!r} is no name of a variable")


class NodeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A node whose everything lies in its own folder. `name`: `SN-1`, `SL-west`, `SWOP-1`; `options` and `flags`: those
    of `swarm sn` and the others, without dashes; `training`: the command of an SL's script; `files`: by path below the
    node's folder `usr`; `addresses` and `names`: of its certificate. Raises `UserError` for what cannot be one.
    """

    name: str
    options: tuple[tuple[str, str], ...] = ()
    flags: tuple[str, ...] = ()
    training: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()
    addresses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kind = kind_of(self.name)
        for option in (*(name for name, _ in self.options), *self.flags):
            if not _OPTION.fullmatch(option) or option in _OURS:
                why = "is set by where the node lies" if option in _OURS else "is no option of a node"
                raise UserError(f"{self.name}: --{option[:40]} {why}; leave it out")
        if self.training and kind != "sl":
            raise UserError(f"{self.name}: a training is started by an SL alone")
        check_files(self.name, self.files)

    def wanted(self, layout: Layout) -> Wanted:
        """Its certificate."""
        folder = f"{layout.node(self.name)}/cert"
        return Wanted(node=self.name, folder=folder, addresses=self.addresses, names=self.names)

    def runs(self, layout: Layout) -> Runs:
        """How it is run."""
        root, wanted = layout.node(self.name), self.wanted(layout)
        key = f"{wanted.folder}/{self.name.lower()}-key.pem"
        pairs = [("capath", f"{wanted.folder}/ca/capath"), ("cert", wanted.path("cert")), ("key", key)]
        pairs += [("data-dir", f"{root}/data"), *self.options]
        if kind_of(self.name) == "swop" and "usr-dir" not in dict(self.options):
            pairs.append(("usr-dir", usr(layout, self.name)))
        words = [kind_of(self.name), *(f"--{flag}" for flag in self.flags)]
        words += [word for name, value in pairs for word in (f"--{name}", value)]
        words += ["--", *self.training] if self.training else []
        folder = usr(layout, self.name)
        return Runs(name=self.name, words=tuple(words), folder=folder, environment=self.environment)


def check_files(node: str, files: Sequence[tuple[str, bytes]]) -> None:
    """Raises `UserError` for paths that leave the node's folder, and for too many or too large files."""
    if len(files) > MOST_FILES:
        raise UserError(f"{node}: {len(files)} files; a node is given {MOST_FILES} at most")
    for path, data in files:
        if not _PATH.fullmatch(path):
            raise UserError(f"{node}: {path[:100]!r} is no path below the node's folder")
        if len(data) > MOST_FILE:
            raise UserError(f"{node}: {path} has {len(data)} bytes; {MOST_FILE} are the most")


def kind_of(name: str) -> Kind:
    """Which node this is by its name. Raises `UserError` for what is no name of a node that runs on a host."""
    role, _, rest = name.partition("-")
    if role not in _KINDS or not NAME.fullmatch(rest) or len(name) > LONGEST_NAME:
        raise UserError(f"{name[:64]!r} is no name of a node on a host: SN-1, SL-west and SWOP-1 are some")
    return _KINDS[role]


def proper_name(folder: str) -> str:
    """A node's name by that of its folder on the host: the role in upper case."""
    role, _, rest = folder.partition("-")
    return f"{role.upper()}-{rest}"


def usr(layout: Layout, name: str) -> str:
    """The folder of what a node was given: profile, tasks, scripts."""
    return f"{layout.node(name)}/usr"


def run_script(layout: Layout, runs: Runs) -> str:
    """The script that becomes the node, which a person may read and start, too.

    It reports to the node's file `ready`, and writes to `output`.
    """
    root = layout.node(runs.name)
    at = runs.words.index("--") if "--" in runs.words else len(runs.words)
    words = [layout.swarm, *runs.words[:at], "--ready-fd", "3", *runs.words[at:]]
    lines = [
        "#!/bin/sh",
        f"# Runs {runs.name}. SLM-UI writes this file anew when it places the node.",
        "umask 077",
        f"cd {shlex.quote(runs.folder)} || exit 1",
        f'export PATH={shlex.quote(layout.current + "/bin")}:"$PATH"',
        *(f"export {name}={shlex.quote(value)}" for name, value in runs.environment),
        f"exec >>{shlex.quote(root + '/output')} 2>&1 3>{shlex.quote(root + '/ready')}",
        f"exec {shlex.join(words)}",
        "",
    ]
    return "\n".join(lines)


def unit_name(layout: Layout, name: str) -> str:
    """The unit of a node; of two installations on one host each has its own."""
    return f"swarm-{name.lower()}-{hashlib.sha256(layout.prefix.encode()).hexdigest()[:8]}.service"


def how_for(facts: Facts) -> How:
    """What nodes run under on this host: systemd where it watches over them also when nobody is logged in."""
    if facts.root and facts.systemd:
        return "system"
    return "user" if facts.user_units and facts.lingers else "detached"


def unit_properties(kind: Kind) -> tuple[str, ...]:
    """The properties of a node's unit. What a SWOP has started goes on when it is restarted, and it finds it again."""
    mode = "process" if kind == "swop" else "mixed"
    return (
        f"KillMode={mode}",
        "TimeoutStopSec=60",
        "Restart=on-failure",
        "RestartSec=5",
        "StartLimitIntervalSec=300",
        f"StartLimitBurst={RESTARTS}",
        "LimitNOFILE=65536",
        *(("Delegate=yes",) if kind == "swop" else ()),
    )
