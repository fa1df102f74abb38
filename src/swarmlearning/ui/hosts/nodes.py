"""Nodes as they are to run on a host: names, options, and the files and commands that follow from these. Pure."""

import hashlib
import re
import shlex
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
RESTARTS: Final = 5
"""So often within five minutes systemd starts a node again that has failed."""

_KINDS: Final[dict[str, Kind]] = {"SN": "sn", "SL": "sl", "SWOP": "swop"}
_OPTION: Final = re.compile(r"[a-z][a-z0-9-]{0,40}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_PATH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ +-]{0,100}(/[A-Za-z0-9_][A-Za-z0-9._ +-]{0,100}){0,5}")
_OURS: Final = ("capath", "cacert", "cert", "key", "data-dir", "ready-fd", "socket-path")
"""Options that follow from where the node lies."""


class NodeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A node on a host. `name`: `SN-1`, `SL-west`, `SWOP-1`; `options` and `flags`: those of `swarm sn` and the others,
    without dashes; `training`: the command of an SL's script; `files`: by path below the node's `usr` folder.

    Raises `UserError` for what cannot be one.
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
        checked_node(self.name)
        for option in (*(name for name, _ in self.options), *self.flags):
            if not _OPTION.fullmatch(option) or option in _OURS:
                why = "is set by where the node lies" if option in _OURS else "is no option of a node"
                raise UserError(f"{self.name}: --{option[:40]} {why}; leave it out")
        if bad := [name for name, _ in self.environment if not _VARIABLE.fullmatch(name)]:
            raise UserError(f"{self.name}: {bad[0][:60]!r} is no name of a variable")
        if self.training and self.kind != "sl":
            raise UserError(f"{self.name}: a training is started by an SL alone")
        if any("\0" in text for text in (*self.training, *(value for _, value in (*self.options, *self.environment)))):
            raise UserError(f"{self.name}: a value has a NUL in it")
        self._check_files()

    def _check_files(self) -> None:
        if len(self.files) > MOST_FILES:
            raise UserError(f"{self.name}: {len(self.files)} files; a node is given {MOST_FILES} at most")
        for path, data in self.files:
            if not _PATH.fullmatch(path):
                raise UserError(f"{self.name}: {path[:100]!r} is no path below the node's folder")
            if len(data) > MOST_FILE:
                raise UserError(f"{self.name}: {path} has {len(data)} bytes; {MOST_FILE} are the most")

    @property
    def kind(self) -> Kind:
        """Which node it is."""
        return _KINDS[self.name.partition("-")[0]]


def checked_node(name: str) -> str:
    """Raises `UserError` for what is no name of a node that runs on a host."""
    role, _, rest = name.partition("-")
    if role not in _KINDS or not NAME.fullmatch(rest) or len(name) > 64:
        raise UserError(f"{name[:64]!r} is no name of a node on a host: SN-1, SL-west and SWOP-1 are some")
    return name


class Files(msgspec.Struct, frozen=True):
    """The paths of a node on its host."""

    root: str
    node: str

    @classmethod
    def of(cls, layout: Layout, name: str) -> "Files":
        """Those of this node."""
        return cls(layout.node(checked_node(name)), name.lower())

    @property
    def certificates(self) -> str:
        """The folder of its key and certificates: `Workspace.root`."""
        return f"{self.root}/cert"

    @property
    def request(self) -> str:
        """Its request for a certificate."""
        return f"{self.certificates}/{self.node}-request.pem"

    @property
    def certificate(self) -> str:
        """Its certificate."""
        return f"{self.certificates}/{self.node}-cert.pem"

    @property
    def identity(self) -> tuple[tuple[str, str], ...]:
        """The options that name its identity."""
        capath, key = f"{self.certificates}/ca/capath", f"{self.certificates}/{self.node}-key.pem"
        return (("capath", capath), ("cert", self.certificate), ("key", key))

    @property
    def usr(self) -> str:
        """What it was given: profile, tasks, scripts."""
        return f"{self.root}/usr"

    @property
    def script(self) -> str:
        """The script that runs it, which a person may read and start, too."""
        return f"{self.root}/run.sh"


def run_script(layout: Layout, spec: NodeSpec) -> str:
    """The script that becomes the node. It reports to `ready`, and writes to `output`."""
    files = Files.of(layout, spec.name)
    pairs = (*files.identity, ("data-dir", f"{files.root}/data"), *spec.options)
    if spec.kind == "swop" and "usr-dir" not in dict(spec.options):
        pairs = (*pairs, ("usr-dir", files.usr))
    words = [layout.swarm, spec.kind, *(f"--{flag}" for flag in spec.flags)]
    words += [word for name, value in pairs for word in (f"--{name}", value)]
    words += ["--ready-fd", "3", *(("--", *spec.training) if spec.training else ())]
    lines = [
        "#!/bin/sh",
        f"# Runs {spec.name}. SLM-UI writes this file anew when it starts the node.",
        "umask 077",
        f"cd {shlex.quote(files.usr)} || exit 1",
        f'export PATH={shlex.quote(layout.current + "/bin")}:"$PATH"',
        *(f"export {name}={shlex.quote(value)}" for name, value in spec.environment),
        f"exec >>{shlex.quote(files.root + '/output')} 2>&1 3>{shlex.quote(files.root + '/ready')}",
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
