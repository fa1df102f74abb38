"""Why a node does not start: from its command line, its files, its log and this machine, without the network."""

from dataclasses import dataclass
from pathlib import Path

from swarmlearning.cli.doctor.commandline import KINDS, Given, Node, examine_settings
from swarmlearning.cli.doctor.lines import examine_log
from swarmlearning.cli.doctor.machine import examine_memory
from swarmlearning.cli.doctor.place import Kind, Place, examine_folder, examine_place
from swarmlearning.cli.options import Credentials, data_directory
from swarmlearning.doctor.certificates import examine_files
from swarmlearning.doctor.findings import Report
from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import CertificateError
from swarmlearning.identity.identity import Identity
from swarmlearning.ledger.contracts.contract import OPERATORS
from swarmlearning.license.servers import NO_SERVERS, LicenseServers
from swarmlearning.node.logfile import log_in


@dataclass(frozen=True)
class Local:
    """What is known of the node, and of whoever asks, from this host alone. `sn`: the SN that the node contacts."""

    identity: Identity | None = None
    place: Place | None = None
    kind: Kind = ""
    sn: str = ""
    license_servers: LicenseServers = NO_SERVERS

    @property
    def known_sns(self) -> tuple[str, ...]:
        """The SNs that the node knew when it ran last."""
        return self.place.record.sns if self.place is not None and self.place.record is not None else ()


def examine_host(credentials: Credentials, data_dir: Path | None, node: Node | None, report: Report) -> Local:
    """Examines what belongs to a node on this host."""
    directory = data_dir or _directory(node, report)
    place = examine_place(directory.absolute(), report, node.words if node else ()) if directory else None
    kind: Kind = node.kind if node else place.kind if place else ""
    optional = node is None and (data_dir is not None or bool(report.wrong))  # of words that were not understood
    identity = _identity(node.credentials if node else credentials, kind, report, optional=optional)
    examine_memory(report)
    if node is not None and (folder := node.options.process.log.folder) is not None:
        examine_folder(folder, "the folder of this node's log", "--log-dir", report)
    given = Given()
    if node is not None and identity is not None:
        given = examine_settings(node, identity, place.running if place else False, report)
    if place is not None:
        examine_log(log_in(place.path), place.running or place.holder is not None, report)
    _judge_clock(report)
    return Local(identity, place, kind, given.sn, given.license_servers)


def _directory(node: Node | None, report: Report) -> Path | None:
    if node is None:
        return None
    try:
        return data_directory(node.data_dir, {kind: word for word, kind in KINDS.items()}[node.kind])
    except UserError as error:
        report.find("settings", "this node's options", str(error), "name it by --data-dir")
        return None


def _identity(credentials: Credentials, kind: Kind, report: Report, *, optional: bool) -> Identity | None:
    try:
        if (socket := credentials.agent()) is not None:
            given = credentials.identity()
            report.fine.append(f"SPIFFE agent {socket}: gives the identity {given.subject}")
            return given
    except UserError as error:
        report.find("no-identity", "this node's SPIFFE agent", str(error), "start it, or correct --socket-path")
        return None
    if optional and (credentials.files.cert, credentials.files.key) == (None, None):
        report.unknown.append("certificates and the network: name the node's by --cert, --key and --capath")
        return None
    identity, found = examine_files(credentials.files, kind)
    if optional and identity is not None and found.has("wrong-role") and _is_operator(identity):
        identity, found = examine_files(credentials.files)  # who looks after the node, not the node
    report.add(found)
    return identity


def _judge_clock(report: Report) -> None:
    """A clock that is behind makes certificates look as if they were not valid yet."""
    if report.has("clock"):
        report.drop("not-yet-valid")


def _is_operator(identity: Identity) -> bool:
    try:
        return identity.role in OPERATORS
    except CertificateError:
        return False
