"""`swarm sn`: a Swarm Network node, with the option names of the original's script, and the care of a stopped one.

The SN's own modules are imported when it runs: other commands start a third faster without them.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarmlearning.cli.command import command
from swarmlearning.cli.options import (
    BindIp,
    Credentials,
    DataDir,
    GiveVitals,
    HostIp,
    LicenseOptions,
    MetricsOptions,
    NetworkId,
    NodeName,
    NodeProcess,
    announced_by_name,
    data_directory,
    mandatory_host,
    service_address,
    sn_address,
)
from swarmlearning.cli.running import run_node_process, run_to_the_end
from swarmlearning.identity.certificates import name_in
from swarmlearning.identity.identity import Identity
from swarmlearning.node.errors import NodeError
from swarmlearning.node.logs import start_logging
from swarmlearning.ordering.protocols import EngineChoice

if TYPE_CHECKING:
    from swarmlearning.sn.node import SnSettings
    from swarmlearning.sn.relaying import RelaySettings
    from swarmlearning.sn.welcoming import JoinSettings

JOIN_PORT = 30307
SentinelPort = Annotated[int, typer.Option(envvar="SENTINEL_API_SERVER_PORT", help="API port of that SN.")]

app = typer.Typer(invoke_without_command=True, help="Run a Swarm Network node, or end its membership.")


@dataclass(frozen=True, kw_only=True)
class SnOptions:
    """The options of an SN, as `swarm sn --help` lists them."""

    host_ip: HostIp = ""
    sentinel: Annotated[
        bool, typer.Option("--sentinel", envvar="SN_I_AM_SENTINEL", help="Found a network if there is no chain yet.")
    ] = False
    sentinel_ip: Annotated[
        str, typer.Option(envvar="SENTINEL_NODE_IP", help="Address of any SN of the network to join.")
    ] = ""
    sentinel_api_port: SentinelPort = 30304
    sentinel_api_service: Annotated[
        str, typer.Option(envvar="SENTINEL_API_SERVICE", help="The same behind a proxy: FQDN[:port], port 443.")
    ] = ""
    sn_api_port: Annotated[int, typer.Option(envvar="SN_API_SERVER_PORT", help="Port of the API.")] = 30304
    sn_api_service: Annotated[
        str, typer.Option(envvar="SN_API_SERVICE", help="FQDN[:port] under which others reach the API.")
    ] = ""
    sn_p2p_port: Annotated[int, typer.Option(envvar="SN_ETH_PORT_EXT", help="Port for the other SNs.")] = 30303
    p2p_listen_port: Annotated[
        int | None,
        typer.Option(envvar="SN_P2P_LISTEN_PORT", help="Port to listen on, where it is published as --sn-p2p-port."),
    ] = None
    sn_p2p_service: Annotated[
        str, typer.Option(envvar="SN_ETH_P2P_SERVICE", help="FQDN[:port] under which the other SNs reach this one.")
    ] = ""
    sn_relay_port: Annotated[
        int | None,
        typer.Option(
            envvar="SN_RELAY_PORT",
            help="Also be the relay, on this port, for SLs that nobody can connect to (swarm sl --relay).",
        ),
    ] = None
    sn_relay_service: Annotated[
        str, typer.Option(envvar="SN_RELAY_SERVICE", help="FQDN[:port] under which others reach the relay.")
    ] = ""
    sn_join_port: Annotated[
        int,
        typer.Option(
            envvar="SN_JOIN_PORT",
            help="Port for newcomers who are invited (swarm invite), open only while somebody is; 0: never.",
            min=0,
            max=65535,
        ),
    ] = JOIN_PORT
    sn_join_service: Annotated[
        str, typer.Option(envvar="SN_JOIN_SERVICE", help="FQDN[:port] under which newcomers reach that port.")
    ] = ""
    bind_ip: BindIp = ""
    witness: Annotated[bool, typer.Option("--witness", help="Only vote: no API, little memory.")] = False
    ordering: Annotated[EngineChoice, typer.Option(help="etcd: several SNs. local: this one alone.")] = "auto"
    network_name: Annotated[str, typer.Option(help="Name of the network to found.")] = "swarm"
    network_id: NetworkId = ""
    organisations: Annotated[
        Path | None,
        typer.Option(help="TOML file with the organisations and policies of a network to found.", dir_okay=False),
    ] = None
    node_name: NodeName = ""
    vitals: GiveVitals = True
    data_dir: DataDir = None
    credentials: Credentials
    license: LicenseOptions
    metrics: MetricsOptions
    process: NodeProcess

    def settings(self, identity: Identity) -> "SnSettings":
        """The settings of an SN. Raises `NodeError` or `AddressError`."""
        from swarmlearning.node.organisations import NOT_DESCRIBED, read_founding
        from swarmlearning.sn.node import SnSettings

        if self.witness and (self.sentinel or self.ordering == "local"):
            raise NodeError("a --witness joins a network with --sentinel-ip; it cannot found one or order alone")
        if self.network_id and self.sentinel:
            raise NodeError("--network-id names a network to join (--sentinel-ip); one that is founded has no ID yet")
        if not (self.sn_api_service and self.sn_p2p_service):
            mandatory_host(self.host_ip)
        through = sn_address(self.sentinel_ip, self.sentinel_api_port) if self.sentinel_ip else ""
        return SnSettings(
            name=self.node_name or name_in(identity.certificate) or "SN",
            host=self.host_ip or "0.0.0.0",  # behind a proxy it is reached by its service names
            api_port=self.sn_api_port,
            p2p_port=self.sn_p2p_port if self.p2p_listen_port is None else self.p2p_listen_port,
            data_dir=data_directory(self.data_dir, "sn"),
            network_id=self.network_id,
            network_name=self.network_name,
            sentinel=self.sentinel,
            sentinel_address=through or service_address(self.sentinel_api_service, 443),
            ordering=self.ordering,
            api_service=service_address(self.sn_api_service, 443),
            p2p_service=announced_by_name(
                service_address(self.sn_p2p_service, 30303), self.host_ip, self.sn_p2p_port, self.p2p_listen_port
            ),
            witness=self.witness,
            relay=self._relay(),
            join=self._join(),
            bind=self.bind_ip,
            license_servers=self.license.servers(),
            vitals=self.vitals,
            log=self.process.log,
            metrics=self.metrics.place(),
            founding=read_founding(self.organisations, identity.bundles) if self.organisations else NOT_DESCRIBED,
        )

    def _relay(self) -> "RelaySettings | None":
        from swarmlearning.sn.relaying import RelaySettings

        if self.sn_relay_port is None:
            if self.sn_relay_service:
                raise NodeError("--sn-relay-service is the address of a relay; --sn-relay-port says where it listens")
            return None
        if not (self.host_ip or self.sn_relay_service):
            raise NodeError("--sn-relay-port: others have to reach the relay; give --host-ip or --sn-relay-service")
        return RelaySettings(self.sn_relay_port, service_address(self.sn_relay_service, 443))

    def _join(self) -> "JoinSettings | None":
        from swarmlearning.sn.welcoming import JoinSettings

        if not self.sn_join_port and self.sn_join_service:
            raise NodeError("--sn-join-service is the address of a port for newcomers, and --sn-join-port 0 is none")
        service = service_address(self.sn_join_service, 443)
        unreachable = not (self.host_ip or service)  # behind a proxy that does not lead to it
        if self.witness or not self.sn_join_port or unreachable:
            return None
        return JoinSettings(self.sn_join_port, service)


@app.callback()
@command("swarm sn")
def sn(context: typer.Context, options: SnOptions) -> None:
    """Run a Swarm Network node: keeps the ledger on which everything is decided."""
    if context.invoked_subcommand is not None:
        return
    from swarmlearning.sn.node import run_sn

    source = options.credentials.source("SN")
    settings = options.settings(source.current)
    run_node_process("SN", settings, options.process, source, partial(run_sn, settings, source))


@app.command()
@command("swarm sn leave")
def leave(*, data_dir: DataDir = None, credentials: Credentials) -> None:
    """Remove this SN from the network for good (stop it first). A stop alone keeps its place."""
    from swarmlearning.node.datadir import DataDirectory
    from swarmlearning.sn.leaving import leave as leave_network

    identity = credentials.identity("SN")
    start_logging("WARNING")
    with DataDirectory(data_directory(data_dir, "sn")) as place:
        run_to_the_end(leave_network(place, identity))
    print("This SN has left the network.")


@app.command()
@command("swarm sn repair")
def repair(
    *,
    data_dir: DataDir = None,
    sentinel_ip: Annotated[str, typer.Option(help="Address of an SN to fetch from, if the chain names none.")] = "",
    sentinel_api_port: SentinelPort = 30304,
    credentials: Credentials,
) -> None:
    """Fetch what is damaged in this SN's chain file from the other SNs (stop it first); the old file is kept."""
    from swarmlearning.node.datadir import DataDirectory
    from swarmlearning.sn.repairing import repair as repair_chain

    identity = credentials.identity("SN")
    start_logging("WARNING")
    with DataDirectory(data_directory(data_dir, "sn")) as place:
        named = sn_address(sentinel_ip, sentinel_api_port) if sentinel_ip else ""
        done = run_to_the_end(repair_chain(place, identity, named))
    if done.old is not None:
        print(done.fault)
        print(f"Repaired: {done.kept} blocks kept, {done.fetched} fetched. The old file is in {done.old}")
    else:
        print(f"Nothing to repair: {done.kept} blocks, all verified and the network's.")


@app.command()
@command("swarm sn recover")
def recover(
    *,
    data_dir: DataDir = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    anchor: Annotated[
        list[str] | None,
        typer.Option(
            "--anchor",
            help="New authority (PEM) where the present one has expired: FILE or ORGANISATION=FILE. Repeatable.",
        ),
    ] = None,
    proposal: Annotated[
        Path,
        typer.Option("--proposal", help="Where to write the file for other organisations to sign.", dir_okay=False),
    ] = Path("recovery.json"),
    signed: Annotated[
        list[Path] | None, typer.Option("--signed", help="A file that operators have signed. Repeatable.")
    ] = None,
    credentials: Credentials,
) -> None:
    """Restart the network from this SN alone (stop it first), after the majority of the voters is lost for good.

    Where other organisations have to agree, this writes a file, which their operators sign and send back.
    """
    from swarmlearning.cli.recovering import Recovering
    from swarmlearning.node.datadir import DataDirectory

    identity = credentials.identity("SN", expired=bool(anchor))
    start_logging("WARNING")
    try:
        with DataDirectory(data_directory(data_dir, "sn")) as place:
            Recovering(place, identity, proposal, yes).run(anchor or (), signed or ())
    except typer.Abort:
        print("Nothing was changed.")
        raise
