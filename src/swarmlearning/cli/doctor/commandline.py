"""A node's command line, read by the options of the node itself: what it says is wrong, and what it means."""

import asyncio
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import typer

from swarmlearning.cli.command import USAGE_ERROR, command
from swarmlearning.cli.doctor.machine import examine_port
from swarmlearning.cli.doctor.place import Kind
from swarmlearning.cli.options import Credentials
from swarmlearning.cli.sl import SlOptions
from swarmlearning.cli.sn import SnOptions
from swarmlearning.cli.swop import SwopOptions
from swarmlearning.doctor.findings import Report
from swarmlearning.errors import UserError
from swarmlearning.identity.identity import Identity
from swarmlearning.license.servers import NO_SERVERS, LicenseServers
from swarmlearning.node.listening import listening_host

OPTIONS: Final[dict[str, type[SnOptions] | type[SlOptions] | type[SwopOptions]]] = {
    "sn": SnOptions,
    "sl": SlOptions,
    "swop": SwopOptions,
}
KINDS: Final[dict[str, Kind]] = {"sn": "SN", "sl": "SL", "swop": "SWOP"}


class _Given(Exception):
    """The options that a command line has given; raised since a command returns nothing."""

    def __init__(self, options: Any, script: Sequence[str]) -> None:
        self.options = options
        self.script = script


@dataclass(frozen=True)
class Node:
    """A node as its command line describes it. `words`: those behind `swarm`; `sn`: the SN that it contacts."""

    kind: Kind
    words: tuple[str, ...]
    options: Any
    script: tuple[str, ...] = ()

    @property
    def credentials(self) -> Credentials:
        """Its certificate and key."""
        found: Credentials = self.options.credentials
        return found

    @property
    def data_dir(self) -> Path | None:
        """Its data directory, where it is named."""
        found: Path | None = self.options.data_dir
        return found


def read_environment(path: Path, environ: dict[str, str] | os._Environ[str]) -> None:
    """Takes over the variables of a file of `NAME=value` lines, as systemd and container engines read them.

    Raises `UserError`.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"--env-file {path}: cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, start=1):
        text = line.strip().removeprefix("export ")
        if not text or text.startswith(("#", ";")):
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise UserError(f"--env-file {path}, line {number}: NAME=value is expected")
        environ[name] = value[1:-1] if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'" else value


def read_words(words: Sequence[str], report: Report) -> Node | None:
    """The node of a command line (`swarm sl …`, `sl …`); None, with a finding, for one that no node takes."""
    rest = list(words)
    while rest and rest[0] not in OPTIONS and (rest[0].endswith(("swarm", "python", "python3")) or rest[0] in _PREFIX):
        rest.pop(0)
    if not rest or rest[0] not in OPTIONS:
        shown = shlex.join(words)[:200]
        report.find(
            "command-line", "the command line", f"{shown!r} starts no node", "give it as: -- swarm sl --host-ip …"
        )
        return None
    kind = rest[0]
    try:
        _parser(kind).main(rest[1:], prog_name=f"swarm {kind}", standalone_mode=False)
    except _Given as given:
        return Node(KINDS[kind], tuple(rest), given.options, tuple(given.script))
    except USAGE_ERROR as error:
        if (code := _SECRETS.get(getattr(getattr(error, "param", None), "name", ""))) and "not readable" in str(error):
            remedy = "give it to the node's user (chown, chmod 600), or start the node as the user whose file it is"
            report.find(code, "a file of this node's identity", str(error).rstrip("."), remedy)
            return None
        remedy = f"correct it: swarm {kind} --help lists the options"
        report.find("command-line", "the command line", str(error) or type(error).__name__, remedy)
    return None


_SECRETS: Final = {"key": "key-file", "key_passphrase_file": "passphrase"}
"""Options with files that are for the node's user alone, and the codes of their findings."""
_PREFIX: Final = ("-m", "swarmlearning.cli.main", "exec")


def _parser(kind: str) -> Any:
    options = OPTIONS[kind]

    def given(context: typer.Context, options: Any) -> None:
        raise _Given(options, context.args)

    given.__annotations__["options"] = options
    app = typer.Typer(add_completion=False)
    app.command(context_settings={"allow_extra_args": True})(command(f"swarm {kind}")(given))
    return typer.main.get_command(app)


class Given(NamedTuple):
    """What a node is given: the SN that it contacts (empty: none), and its license servers."""

    sn: str = ""
    license_servers: LicenseServers = NO_SERVERS


def examine_settings(node: Node, identity: Identity, running: bool, report: Report) -> Given:
    """What is wrong with a node's settings and its ports."""
    try:
        settings = _settings(node, identity)
    except UserError as error:
        report.find("settings", "this node's options", str(error), "correct that option (or its variable)")
        return Given()
    if not running:
        for host, port, what, option in _ports(node, settings):
            if port:
                examine_port(host, port, what, option, report)
        if node.kind == "SN":
            _examine_engine(settings, report)
        if node.script:
            _examine_script(node.script, report)
    sn = settings.sentinel_address if node.kind == "SN" else settings.sn_address
    return Given(sn, settings.license_servers)


def _settings(node: Node, identity: Identity) -> Any:
    if node.kind == "SL":
        from swarmlearning.node.errors import NodeError
        from swarmlearning.node.settings import SlEnvironment

        if not (node.options.sn_ip or node.options.sn_api_service):
            raise NodeError("mandatory parameter --sn-ip not specified: the address of any SN of the network")
        return node.options.settings(identity, SlEnvironment(), node.script)
    return node.options.settings(identity)


def _ports(node: Node, settings: Any) -> list[tuple[str, int, str, str]]:
    if node.kind == "SWOP" or (node.kind == "SL" and settings.relay):
        return []
    host = listening_host(settings.host, settings.bind)
    if node.kind == "SL":
        return [(host, settings.fs_port, "file server", "--sl-fs-port")]
    found = [(host, settings.relay.port, "relay", "--sn-relay-port")] if settings.relay else []
    if not settings.witness:
        found.append((host, settings.api_port, "API", "--sn-api-port"))
    if settings.ordering != "local":
        found.append((host, settings.p2p_port, "port for other SNs", "--sn-p2p-port"))
    return found


def _examine_engine(settings: Any, report: Report) -> None:
    from swarmlearning.sn.engine import etcd_program

    try:
        asyncio.run(etcd_program(settings.ordering, witness=settings.witness))
    except UserError as error:
        report.find("program-missing", "etcd on this machine", str(error), "install it, and have it in PATH")


def _examine_script(script: Sequence[str], report: Report) -> None:
    import shutil

    if shutil.which(script[0]) is None:
        text = f"the training command {script[0]!r} is no program here"
        report.find("program-missing", "this node's training command", text, "correct the words behind `--`")
