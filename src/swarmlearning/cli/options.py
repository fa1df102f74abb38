"""Options that several commands share, each declared once."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509

from swarmlearning.address import join, require_announceable, require_host, split, with_port
from swarmlearning.choices import Transfer, TransferBack
from swarmlearning.identity.files import FileSource, IdentityFiles
from swarmlearning.identity.identity import Identity, IdentityError, read_anchors
from swarmlearning.identity.source import WatchedSource
from swarmlearning.identity.spiffe import SOCKET_VARIABLE, SpiffeSource, fetch, socket_path
from swarmlearning.license.servers import PORT as LICENSE_PORT
from swarmlearning.license.servers import VARIABLE, LicenseServers
from swarmlearning.node.errors import NodeError
from swarmlearning.node.exposed import MetricsPlace
from swarmlearning.node.listening import host_towards
from swarmlearning.node.logfile import DEFAULT, HALF, MOST_FILES, LogSettings
from swarmlearning.node.logs import Form, Level

DataDir = Annotated[
    Path | None,
    typer.Option(envvar="SWARM_DATA_DIR", help="Where this node keeps its state; by default below $HOME/.local/state."),
]
HostIp = Annotated[
    str, typer.Option("--host-ip", envvar="THIS_NODE_IP", help="Address under which other nodes reach this one.")
]
BindIp = Annotated[
    str, typer.Option(help="Address to listen on; by default --host-ip if this machine has it, else all.")
]
AUTO = "auto"
"""For --host-ip: the address from which this machine reaches its SN."""
_ID = re.compile("[0-9a-f]{64}")
TransferOption = Annotated[
    Transfer, typer.Option(help="How sites' values travel to those who merge; all but float32 are fewer bytes.")
]
TransferBackOption = Annotated[
    TransferBack, typer.Option(help="How what was merged travels back; int8 is a quarter of the bytes.")
]
NodeName = Annotated[
    str, typer.Option(help="Name of this node in lists and logs; by default the common name of its certificate.")
]


@dataclass(frozen=True)
class MetricsOptions:
    """Where a node serves its metrics to Prometheus, if it does."""

    metrics_port: Annotated[
        int | None,
        typer.Option(
            envvar="SWARM_METRICS_PORT",
            min=0,
            max=65535,
            help="Serve metrics to Prometheus on this port (docs/metrics.md).",
        ),
    ] = None
    metrics_ip: Annotated[
        str,
        typer.Option(
            envvar="SWARM_METRICS_IP", help="Address for that; one beyond this machine is served over mutual TLS."
        ),
    ] = "127.0.0.1"

    def place(self) -> MetricsPlace | None:
        """Where to serve; None: nowhere. Raises `AddressError`."""
        if self.metrics_port is None:
            return None
        require_host(self.metrics_ip)
        return MetricsPlace(self.metrics_port, self.metrics_ip)


GiveVitals = Annotated[
    bool,
    typer.Option(
        "--vitals/--no-vitals",
        envvar="SWARM_VITALS",
        help="Tell the SNs this node's free disk and memory, its clock and version, which `swarm status` shows to all.",
    ),
]


def _checked_network_id(given: str) -> str:
    """The ID in lower case. Raises `typer.BadParameter` for what is none."""
    named = given.strip().lower()
    if named and not _ID.fullmatch(named):
        raise typer.BadParameter(
            f"{given!r} is no ID of a network: it has 64 hexadecimal digits, as `swarm sn` and `swarm status` print it"
        )
    return named


NetworkId = Annotated[
    str,
    typer.Option(
        "--network-id",
        help="ID of the network, as `swarm sn` and `swarm status` print it: any other one is refused.",
        callback=_checked_network_id,
    ),
]


@dataclass(frozen=True)
class Credentials:
    """Certificates and key of the node or person that a command acts for."""

    cacert: Annotated[Path | None, typer.Option("--cacert", help="File with the CA certificates to trust.")] = None
    capath: Annotated[
        Path | None, typer.Option("--capath", help="Folder with the CA certificates of all organisations.")
    ] = None
    cert: Annotated[Path | None, typer.Option("--cert", help="This node's certificate (PEM).")] = None
    key: Annotated[Path | None, typer.Option("--key", help="This node's private key (PEM).")] = None

    key_passphrase_file: Annotated[
        Path | None, typer.Option("--key-passphrase-file", help="File whose first line decrypts that key.")
    ] = None

    socket_path: Annotated[
        str,
        typer.Option(
            "--socket-path", help="Socket of a SPIFFE agent (Workload API), which gives certificate, key and CAs."
        ),
    ] = ""

    def identity(self, role: str = "", *, expired: bool = False) -> Identity:
        """The identity they make, those that are not given from the SWARM_* variables; with `expired` one from files
        need not be valid now. Of several that an agent has, it is the one for `role`. Raises `IdentityError`."""
        if socket := self.agent():
            return fetch(socket, self._authorities, role=role)
        return self._files().load(expired=expired)

    def source(self, role: str = "") -> WatchedSource:
        """The same for a node: it follows its files or its agent. Raises `IdentityError`."""
        if socket := self.agent():
            return SpiffeSource(socket, self._authorities, role=role)
        return FileSource(self._files())

    @property
    def files(self) -> IdentityFiles:
        """The files of the identity, those that are not given from the SWARM_* variables."""
        return self._files()

    def agent(self) -> Path | None:
        """The socket of the SPIFFE agent; None where the identity is in files. What is given wins over variables."""
        if self.socket_path and (self.cert or self.key):
            raise IdentityError(
                "--socket-path: the SPIFFE agent gives the certificate and its key: leave out --cert and --key, or "
                "--socket-path"
            )
        if self.socket_path or self.cert or self.key:
            return socket_path(self.socket_path) if self.socket_path else None
        named = os.environ.get(SOCKET_VARIABLE)
        if named and any(os.environ.get(name) for name in ("SWARM_ID_CERT", "SWARM_ID_KEY")):
            raise IdentityError(
                f"{SOCKET_VARIABLE} names a SPIFFE agent, and SWARM_ID_CERT or SWARM_ID_KEY a file: unset one of them"
            )
        return socket_path(named) if named else None

    def _authorities(self) -> tuple[x509.Certificate, ...]:
        """Those to trust beside the agent's: of organisations that have no agent."""
        files = self._files()
        return read_anchors(files.cacert, files.capath)

    def _files(self) -> IdentityFiles:
        given = IdentityFiles(self.cacert, self.capath, self.cert, self.key, self.key_passphrase_file)
        return given.or_from(os.environ)


@dataclass(frozen=True)
class LicenseOptions:
    """The license servers of a node; without them the built-in community license is used."""

    apls_ip: Annotated[
        str,
        typer.Option(
            "--apls-ip", "--primary-apls-ip", envvar=f"{VARIABLE}_PRIMARY_IP", help="Host of the license server."
        ),
    ] = ""
    apls_port: Annotated[
        int,
        typer.Option(
            "--apls-port",
            "--primary-apls-port",
            envvar=f"{VARIABLE}_PRIMARY_PORT",
            help="Its port.",
            min=1,
            max=65535,
        ),
    ] = LICENSE_PORT
    secondary_apls_ip: Annotated[
        str,
        typer.Option(envvar=f"{VARIABLE}_SECONDARY_IP", help="Host of the license server that steps in for it."),
    ] = ""
    secondary_apls_port: Annotated[
        int, typer.Option(envvar=f"{VARIABLE}_SECONDARY_PORT", help="Its port.", min=1, max=65535)
    ] = LICENSE_PORT

    def servers(self, host: str | None = None, port: int | None = None) -> LicenseServers:
        """The servers; `host` and `port` go before the options for the primary. Raises `AddressError`."""
        primary = (host, port) if host else (self.apls_ip, self.apls_port)
        return LicenseServers.named(*primary, self.secondary_apls_ip, self.secondary_apls_port)


@dataclass(frozen=True)
class NodeProcess:
    """The options for a node's log and its readiness."""

    log_level: Annotated[Level, typer.Option("--log-level", help="How much to log.")] = "INFO"
    log_format: Annotated[
        Form, typer.Option("--log-format", envvar="SWARM_LOG_FORMAT", help="json: each line is a JSON object.")
    ] = "text"
    log_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="SWARM_LOG_DIR",
            help="Folder in which this node also keeps its log, in a file of its own; by default its data directory.",
        ),
    ] = None
    log_files: Annotated[
        int,
        typer.Option(
            envvar="SWARM_LOG_FILES",
            min=2,
            max=MOST_FILES,
            help=f"How many files of {HALF // 2**20} MB of that log are kept.",
        ),
    ] = DEFAULT.files
    ready_fd: Annotated[
        int | None, typer.Option("--ready-fd", hidden=True, help="Write one JSON line to this descriptor when ready.")
    ] = None

    @property
    def log(self) -> LogSettings:
        """How the log is kept."""
        return LogSettings(self.log_format, self.log_dir.absolute() if self.log_dir else None, self.log_files)


def data_directory(given: Path | None, kind: str) -> Path:
    """The data directory that was given, or the default one of this kind of node.

    Raises `NodeError` where there is none: a directory that depends on how a node is started would make it another
    node, and an SN the founder of another network.
    """
    if given is not None:
        return given.absolute()
    home = os.environ.get("HOME", "")
    if not Path(home).is_absolute():
        raise NodeError(
            "HOME is not set, so there is no default place for this node's state: name it with --data-dir (under "
            "systemd: StateDirectory=swarm and --data-dir %S/swarm)"
        )
    return Path(home) / ".local" / "state" / "swarmlearning" / kind


def mandatory_host(host_ip: str) -> str:
    """The --host-ip that was given. Raises `NodeError` without one, `AddressError` for what others cannot reach."""
    if not host_ip:
        raise NodeError("mandatory parameter --host-ip not specified: the address at which others reach this node")
    require_host(host_ip)
    require_announceable(host_ip)
    return host_ip


def own_address(sn: str) -> str:
    """The address from which this machine reaches its SN. Raises `NodeError`."""
    if host := host_towards(sn):
        return host
    raise NodeError(f"--host-ip {AUTO}: this machine does not find a way to {sn}; give its own address")


def announced_by_name(service: str, host: str, port: int, listened: int | None) -> str:
    """The address to announce in place of host and port listened on; empty if these are it.

    `port` is the one that others connect to; where a container or router publishes the port `listened` as that one,
    the two differ.
    """
    return join(host, port) if not service and listened is not None and listened != port else service


def sn_address(host: str, port: int) -> str:
    """The address of an SN's API, as two options name it. Raises `AddressError`."""
    require_host(host)
    address = join(host, port)
    split(address)
    return address


def service_address(name: str, port: int) -> str:
    """A service's `FQDN[:port]` with the documented default port, empty if it is. Raises `AddressError`."""
    if not name:
        return ""
    address = with_port(name, port)
    require_announceable(split(address)[0])
    return address
