"""`swarm swop`: a Swarm Operator node, with the option names of the original's script, and its site's approvals."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarmlearning.address import split
from swarmlearning.cli.command import command
from swarmlearning.cli.console import print_json
from swarmlearning.cli.options import (
    Credentials,
    DataDir,
    GiveVitals,
    LicenseOptions,
    MetricsOptions,
    NetworkId,
    NodeName,
    NodeProcess,
    data_directory,
    mandatory_host,
    service_address,
    sn_address,
)
from swarmlearning.cli.running import run_node_process
from swarmlearning.identity.certificates import name_in, role_of
from swarmlearning.identity.files import IdentityFiles
from swarmlearning.identity.identity import Identity
from swarmlearning.node.errors import NodeError
from swarmlearning.views.names import displayed

if TYPE_CHECKING:
    from swarmlearning.swop.node import SwopSettings
    from swarmlearning.swop.profile import Profile
    from swarmlearning.swop.witness import WitnessSettings

MOST_BYTES = 2**20 + 1
"""Of a profile; a longer one is refused when it is read."""
LONGEST_LINE = 1000
NO_WITNESS = (
    "the profile says `witness: true`, and a witness is an SN with a certificate of its own: make one (swarm cert "
    "--out cert --node SN-WITNESS), and name its files by --witness-cert and --witness-key; or leave `witness` out"
)
NO_WITNESS_ID = (
    "the profile says `witness: true`, and the SPIFFE agent at {socket} has no certificate of an SN for this process: "
    "give it an entry for a second ID, which ends with /sn; or leave `witness` out"
)

Digest = Annotated[str, typer.Argument(help="The digest, or its beginning.")]

app = typer.Typer(
    invoke_without_command=True,
    help="Run a Swarm Operator node, or answer what it asks its site.",
)


@dataclass(frozen=True, kw_only=True)
class SwopOptions:
    """The options of a SWOP, as `swarm swop --help` lists them."""

    usr_dir: Annotated[
        Path | None, typer.Option(envvar="USR_DIR", help="User directory, with profile, policy and files of tasks.")
    ] = None
    profile_file_name: Annotated[str, typer.Option(envvar="SWOP_PROFILE", help="Name of the profile in --usr-dir.")] = (
        ""
    )
    policy_file: Annotated[
        Path | None,
        typer.Option(envvar="SWOP_POLICY", help="The site's policy; a relative path is in --usr-dir. See docs."),
    ] = None
    sn_ip: Annotated[
        str, typer.Option(envvar="SN_NODE_IP", help="Address of an SN; the profile's apisrv goes before it.")
    ] = ""
    sn_api_port: Annotated[int, typer.Option(envvar="SN_API_SERVER_PORT", help="API port of that SN.")] = 30304
    sn_api_service: Annotated[
        str, typer.Option(envvar="SN_API_SERVICE", help="The same behind a proxy: FQDN[:port], port 443.")
    ] = ""
    host_ip: Annotated[
        str,
        typer.Option(
            envvar="THIS_NODE_IP",
            help="Address at which others reach this host's SLs, where the profile names none; by default that from "
            "which it reaches the SN.",
        ),
    ] = ""
    witness_cert: Annotated[
        Path | None,
        typer.Option(
            envvar="SWOP_WITNESS_CERT",
            help="Certificate of the SN that this host is where the profile says `witness: true`; with --socket-path "
            "the agent has it.",
        ),
    ] = None
    witness_key: Annotated[Path | None, typer.Option(envvar="SWOP_WITNESS_KEY", help="Its private key.")] = None
    witness_p2p_port: Annotated[
        int, typer.Option(envvar="SWOP_WITNESS_P2P_PORT", help="Port at which the SNs reach it.")
    ] = 30303
    network_id: NetworkId = ""
    node_name: NodeName = ""
    vitals: GiveVitals = True
    data_dir: DataDir = None
    credentials: Credentials
    license: LicenseOptions
    metrics: MetricsOptions
    process: NodeProcess

    def settings(self, identity: Identity) -> "SwopSettings":
        """The settings of a SWOP. Raises `NodeError`, `AddressError` or `DocumentError`."""
        from swarmlearning.node.listening import host_towards
        from swarmlearning.swop.composing import Contact
        from swarmlearning.swop.node import SwopSettings

        usr_dir = self._usr_dir()
        profile_file = usr_dir / self.profile_file_name
        profile = self._profile(profile_file)
        address, service = self._sn(profile)
        sn = address or service
        host_ip = self.host_ip or host_towards(sn)
        if not host_ip and profile.manager == "PROCESS":
            raise NodeError(f"this host does not reach {sn}: correct that, or name this host's address by --host-ip")
        host, port = split(address) if address else ("", 0)
        witness = self._witness(host_ip) if profile.witness else None
        license_servers = self.license.servers(profile.license_host, profile.license_port)
        return SwopSettings(
            name=self.node_name or name_in(identity.certificate) or "SWOP",
            sn_address=sn,
            contact=Contact(host_ip, host, port or 0, service, self.network_id, license_servers),
            data_dir=data_directory(self.data_dir, "swop"),
            vitals=self.vitals,
            metrics=self.metrics.place(),
            usr_dir=usr_dir,
            profile=profile,
            profile_file=profile_file,
            policy_file=self._policy_file(usr_dir),
            network_id=self.network_id,
            witness=witness,
            license_servers=license_servers,
            log=self.process.log,
        )

    def _witness(self, host_ip: str) -> "WitnessSettings":
        """The settings of the witness. Raises `NodeError`, `OrderingError`, `AddressError` or `CertificateError`."""
        from swarmlearning.ordering.etcd.binary import require_binary
        from swarmlearning.swop.witness import WitnessSettings

        named = {"cacert": self.credentials.cacert, "capath": self.credentials.capath}
        authorities = {name: path.absolute() for name, path in named.items() if path is not None}
        identity = self._witness_identity(authorities)
        mandatory_host(host_ip)
        require_binary(os.environ)
        return WitnessSettings(identity, authorities, self.witness_p2p_port)

    def _witness_identity(self, authorities: Mapping[str, Path]) -> Identity:
        """That of an SN: in files of its own, or a second one that the SWOP's agent has. Raises as `_witness`."""
        from swarmlearning.identity.tls import require_role

        socket = self.credentials.agent()
        if self.witness_cert and self.witness_key:
            cert, key = self.witness_cert.absolute(), self.witness_key.absolute()
            files = IdentityFiles(authorities.get("cacert"), authorities.get("capath"), cert, key)
            identity = files.or_from(os.environ).load()
        elif socket and not (self.witness_cert or self.witness_key):
            identity = self.credentials.identity("SN")
            if role_of(identity.certificate) != "SN":
                raise NodeError(NO_WITNESS_ID.format(socket=socket))
        else:
            raise NodeError(NO_WITNESS)
        require_role(identity.certificate, "SN")
        return identity

    def _usr_dir(self) -> Path:
        if self.usr_dir is None:
            raise NodeError("mandatory parameter --usr-dir not specified: the folder with the profile")
        if not self.usr_dir.is_dir():
            raise NodeError(f"--usr-dir: {self.usr_dir}: bad path")
        return self.usr_dir.absolute()

    def _profile(self, path: Path) -> "Profile":
        from swarmlearning.swop.profilefile import read_profile

        if not self.profile_file_name:
            raise NodeError("mandatory parameter --profile-file-name not specified: a file in --usr-dir")
        if not path.is_file():
            raise NodeError(f"--profile-file-name: {self.profile_file_name}: bad profile file")
        try:
            with path.open("rb") as file:
                return read_profile(file.read(MOST_BYTES), str(path))
        except OSError as error:
            raise NodeError(f"{path}: cannot be read: {error.strerror}") from error

    def _policy_file(self, usr_dir: Path) -> Path | None:
        if self.policy_file is None:
            return None
        path = usr_dir / self.policy_file
        if not path.is_file():
            raise NodeError(f"--policy-file: {path}: there is no such file")
        return path

    def _sn(self, profile: "Profile") -> tuple[str, str]:
        """The SN's address, or its service: the profile's, else those of the options."""
        if profile.api_host:
            return sn_address(profile.api_host, profile.api_port or 30304), ""
        if profile.api_service:
            return "", service_address(profile.api_service, 443)
        if self.sn_ip:
            return sn_address(self.sn_ip, self.sn_api_port), ""
        if self.sn_api_service:
            return "", service_address(self.sn_api_service, 443)
        raise NodeError(
            "neither --sn-ip nor --sn-api-service is specified, and the profile's apisrv names no SN: the address of "
            "any SN of the network"
        )


@app.callback()
@command("swarm swop")
def swop(context: typer.Context, options: SwopOptions) -> None:
    """Run a Swarm Operator node: carries out its site's part of the tasks of one taskrunner."""
    if context.invoked_subcommand is not None:
        return
    from swarmlearning.swop.node import run_swop

    source = options.credentials.source("SWOP")
    settings = options.settings(source.current)
    run_node_process("SWOP", settings, options.process, source, partial(run_swop, settings, source))


@app.command("list")
@command("swarm swop list")
def show(
    *,
    data_dir: DataDir = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show the tasks that wait for this site's approval."""
    from swarmlearning.swop.approvals import Approvals

    waiting = Approvals(data_directory(data_dir, "swop")).waiting()
    if json:
        print_json(waiting, indent=2)
        return
    if not waiting:
        print("No task waits for an approval.")
    for question in waiting:
        print(f"DIGEST {question.digest}")
        print(
            f"    {displayed(question.type)} {displayed(question.task)} of taskrunner {displayed(question.taskrunner)}"
        )
        print(f"    assigned by {displayed(question.assigned_by, LONGEST_LINE)}")
        for reason in question.reasons:
            print(f"    asks because {displayed(reason, LONGEST_LINE)}")
        for line in question.says:
            print(f"    | {displayed(line, LONGEST_LINE)}")


@app.command()
@command("swarm swop approve")
def approve(digest: Digest, *, data_dir: DataDir = None) -> None:
    """Let this site carry out a task that waits for its approval, as it is: any change asks again."""
    _answer(digest, data_dir, approved=True)


@app.command()
@command("swarm swop reject")
def reject(digest: Digest, *, data_dir: DataDir = None) -> None:
    """Do not let this site carry out a task; its part of the assignment has failed then."""
    _answer(digest, data_dir, approved=False)


def _answer(named: str, data_dir: Path | None, *, approved: bool) -> None:
    from swarmlearning.swop.approvals import Approvals

    approvals = Approvals(data_directory(data_dir, "swop"))
    digest = approvals.answer(named.strip().lower(), approved=approved)
    print(f"{'Approved' if approved else 'Rejected'}: {digest}")
    if not approvals.wake():
        print("The SWOP is not running; it reads this when it starts.")
