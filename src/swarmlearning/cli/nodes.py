"""`swarm sn` and `swarm sl`: one node each, with the option names of the original's scripts.

Each imports its own room when it is called: a node starts a third faster without the other's libraries.
"""

import grp
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarmlearning.address import join, require_announceable, split, with_port
from swarmlearning.cli.options import (
    CaCert,
    CaPath,
    Cert,
    DataDir,
    Key,
    ReadyFd,
    data_directory,
    fail,
    load_identity,
    run_node,
    run_to_the_end,
)
from swarmlearning.identity.certificates import common_name
from swarmlearning.node.errors import NodeError
from swarmlearning.node.expiry import watched
from swarmlearning.node.logs import Level, banner, start_logging
from swarmlearning.node.ready import Ready
from swarmlearning.ordering.protocols import EngineChoice

if TYPE_CHECKING:
    from swarmlearning.bridge.bridge import BridgeSettings

HostIp = Annotated[str, typer.Option("--host-ip", help="Address under which other nodes reach this one.")]
NodeName = Annotated[
    str, typer.Option(help="Name of this node in lists and logs; by default the common name of its certificate.")
]
LogLevel = Annotated[Level, typer.Option("--log-level", help="How much to log.")]


sn_app = typer.Typer(invoke_without_command=True, help="Run a Swarm Network node, or end its membership.")


@sn_app.callback()
def sn(
    context: typer.Context,
    host_ip: HostIp = "",
    sentinel: Annotated[bool, typer.Option("--sentinel", help="Found a network if there is no chain yet.")] = False,
    sentinel_ip: Annotated[str, typer.Option(help="Address of any SN of the network to join.")] = "",
    sentinel_api_port: Annotated[int, typer.Option(help="API port of that SN.")] = 30304,
    sentinel_api_service: Annotated[str, typer.Option(help="The same behind a proxy: FQDN[:port], port 443.")] = "",
    sn_api_port: Annotated[int, typer.Option(help="Port of the API.")] = 30304,
    sn_api_service: Annotated[str, typer.Option(help="FQDN[:port] under which others reach the API.")] = "",
    sn_p2p_port: Annotated[int, typer.Option(help="Port for the other SNs.")] = 30303,
    sn_p2p_service: Annotated[str, typer.Option(help="FQDN[:port] under which the other SNs reach this one.")] = "",
    witness: Annotated[bool, typer.Option("--witness", help="Only vote: no API, little memory.")] = False,
    ordering: Annotated[EngineChoice, typer.Option(help="etcd: several SNs. local: this one alone.")] = "auto",
    network_name: Annotated[str, typer.Option(help="Name of the network to found.")] = "swarm",
    node_name: NodeName = "",
    data_dir: DataDir = None,
    cacert: CaCert = None,
    capath: CaPath = None,
    cert: Cert = None,
    key: Key = None,
    log_level: LogLevel = "INFO",
    ready_fd: ReadyFd = None,
) -> None:
    """Run a Swarm Network node: keeps the ledger on which everything is decided."""
    if context.invoked_subcommand is not None:
        return
    from swarmlearning.sn.node import SnSettings, run_sn

    try:
        ready = Ready(ready_fd)
        if witness and (sentinel or ordering == "local"):
            raise NodeError("a --witness joins a network with --sentinel-ip; it cannot found one or order alone")
        if not (sn_api_service and sn_p2p_service):
            _mandatory(host_ip)
        through = join(sentinel_ip, sentinel_api_port) if sentinel_ip else ""
        identity = load_identity(cacert, capath, cert, key)
        settings = SnSettings(
            name=node_name or common_name(identity.certificate) or "SN",
            host=host_ip or "0.0.0.0",  # behind a proxy it is reached by its service names
            api_port=sn_api_port,
            p2p_port=sn_p2p_port,
            data_dir=data_directory(data_dir, "sn"),
            network_name=network_name,
            sentinel=sentinel,
            sentinel_address=through or _service(sentinel_api_service, 443),
            ordering=ordering,
            api_service=_service(sn_api_service, 443),
            p2p_service=_service(sn_p2p_service, 30303),
            witness=witness,
        )
        print(banner("SN"), flush=True)
        start_logging(log_level)
        run_node(watched(identity, run_sn(settings, identity, ready)))
    except Exception as error:  # noqa: BLE001 - `fail` raises what it does not know
        fail("swarm sn", error)


@sn_app.command()
def leave(
    data_dir: DataDir = None,
    cacert: CaCert = None,
    capath: CaPath = None,
    cert: Cert = None,
    key: Key = None,
) -> None:
    """Remove this SN from the network for good (stop it first). A stop alone keeps its place."""
    from swarmlearning.node.datadir import DataDirectory
    from swarmlearning.sn.leaving import leave as leave_network

    try:
        identity = load_identity(cacert, capath, cert, key)
        start_logging("WARNING")
        with DataDirectory(data_directory(data_dir, "sn")) as place:
            run_to_the_end(leave_network(place, identity))
    except Exception as error:  # noqa: BLE001 - `fail` raises what it does not know
        fail("swarm sn leave", error)
    else:
        print("This SN has left the network.")


@sn_app.command()
def repair(
    data_dir: DataDir = None,
    sentinel_ip: Annotated[str, typer.Option(help="Address of an SN to fetch from, if the chain names none.")] = "",
    sentinel_api_port: Annotated[int, typer.Option(help="API port of that SN.")] = 30304,
    cacert: CaCert = None,
    capath: CaPath = None,
    cert: Cert = None,
    key: Key = None,
) -> None:
    """Fetch what is damaged in this SN's chain file from the other SNs (stop it first); the old file is kept."""
    from swarmlearning.node.datadir import DataDirectory
    from swarmlearning.sn.repairing import repair as repair_chain

    try:
        identity = load_identity(cacert, capath, cert, key)
        start_logging("WARNING")
        with DataDirectory(data_directory(data_dir, "sn")) as place:
            named = join(sentinel_ip, sentinel_api_port) if sentinel_ip else ""
            done = run_to_the_end(repair_chain(place, identity, named))
    except Exception as error:  # noqa: BLE001 - `fail` raises what it does not know
        fail("swarm sn repair", error)
    else:
        if done.old is not None:
            print(done.fault)
            print(f"Repaired: {done.kept} blocks kept, {done.fetched} fetched. The old file is in {done.old}")
        else:
            print(f"Nothing to repair: {done.kept} blocks, all verified and the network's.")


@sn_app.command()
def recover(
    data_dir: DataDir = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    cacert: CaCert = None,
    capath: CaPath = None,
    cert: Cert = None,
    key: Key = None,
) -> None:
    """Restart the network from this SN alone (stop it first), after the majority of the voters is lost for good."""
    from swarmlearning.node.datadir import DataDirectory
    from swarmlearning.ordering.etcd.binary import require_binary
    from swarmlearning.sn import recovering

    try:
        identity = load_identity(cacert, capath, cert, key)
        start_logging("WARNING")
        with DataDirectory(data_directory(data_dir, "sn")) as place:
            binary = require_binary(os.environ)
            found = run_to_the_end(recovering.survey(place, identity))
            print(found.statement())
            if not yes:
                typer.confirm("Go on?", abort=True)
            height = run_to_the_end(recovering.recover(place, identity, binary, found))
    except typer.Abort:
        print("Nothing was changed.")
        raise
    except Exception as error:  # noqa: BLE001 - `fail` raises what it does not know
        fail("swarm sn recover", error)
    else:
        print(f"Recorded in block {height}. Start this SN again; other SNs may then join through it.")


def sl(
    context: typer.Context,
    host_ip: HostIp = "",
    sn_ip: Annotated[str, typer.Option(help="Address of an SN.")] = "",
    sn_api_port: Annotated[int, typer.Option(help="API port of that SN.")] = 30304,
    sn_api_service: Annotated[str, typer.Option(help="The same behind a proxy: FQDN[:port], port 443.")] = "",
    sl_fs_port: Annotated[int, typer.Option(help="Port of this node's file server.")] = 30305,
    sl_fs_service: Annotated[str, typer.Option(help="FQDN[:port] under which other SLs reach it.")] = "",
    bind_ip: Annotated[
        str, typer.Option(help="Address to listen on; by default --host-ip if this machine has it, else all.")
    ] = "",
    node_name: NodeName = "",
    data_dir: DataDir = None,
    cacert: CaCert = None,
    capath: CaPath = None,
    cert: Cert = None,
    key: Key = None,
    bridge: Annotated[
        bool,
        typer.Option(
            "--bridge", help="Serve the original's client too; so do SL_REQUEST_CHANNEL, SL_RESPONSE_CHANNEL."
        ),
    ] = False,
    bridge_dir: Annotated[
        Path, typer.Option(help="Folder shared with that client, which has this one built in.")
    ] = Path("/tmp/hpe-swarm"),
    bridge_group: Annotated[
        str, typer.Option(help="Group that may use that folder too, for a client that runs as another user.")
    ] = "",
    log_level: LogLevel = "INFO",
    ready_fd: ReadyFd = None,
) -> None:
    """Run a Swarm Learning node; a command after `--` is started as its ML process."""
    from swarmlearning.node.settings import SlEnvironment
    from swarmlearning.rounds.settings import RoundSettings
    from swarmlearning.sl.node import SlSettings, run_sl

    try:
        ready = Ready(ready_fd)
        if not (sn_ip or sn_api_service):
            raise NodeError("mandatory parameter --sn-ip not specified: the address of any SN of the network")
        environment = SlEnvironment()
        identity = load_identity(cacert, capath, cert, key)
        settings = SlSettings(
            name=node_name or common_name(identity.certificate) or "SL",
            host=host_ip if sl_fs_service else _mandatory(host_ip),
            bind=bind_ip,
            fs_port=sl_fs_port,
            fs_service=_service(sl_fs_service, 30305),
            sn_address=join(sn_ip, sn_api_port) if sn_ip else _service(sn_api_service, 443),
            data_dir=data_directory(data_dir, "sl"),
            rounds=RoundSettings(
                make_me_admin=environment.sl_make_me_admin,
                full_quorum_seconds=environment.sl_wait_for_full_quorum_seconds,
                leader_failure_seconds=environment.sl_leader_failure_base_timeout,
                initial=environment.sl_initial_sync,
                non_finite=environment.sl_non_finite,
            ),
            compress_below=int(environment.sl_model_params_compression_threshold_mb * 10**6),
            command=context.args,
            bridge=_bridge(
                bridge, bridge_dir, bridge_group, environment.sl_request_channel, environment.sl_response_channel
            ),
        )
        print(banner("SL"), flush=True)
        start_logging(log_level)
        status = run_node(watched(identity, run_sl(settings, identity, ready)))
    except Exception as error:  # noqa: BLE001 - `fail` raises what it does not know
        fail("swarm sl", error)
    else:
        raise typer.Exit(status or 0)


def _bridge(wanted: bool, directory: Path, group: str, request: str, response: str) -> "BridgeSettings | None":
    """Its FIFOs are in its folder unless the environment names others."""
    from swarmlearning.bridge.bridge import REQUEST_VARIABLE, RESPONSE_VARIABLE, BridgeSettings

    if not (wanted or request or response):
        return None
    if bool(request) != bool(response):
        missing = RESPONSE_VARIABLE if request else REQUEST_VARIABLE
        raise NodeError(f"{missing}: bad environment variable; cannot create bridge. Set both pipes, or neither")
    return BridgeSettings(
        request=Path(request or directory / "request.channel").absolute(),
        response=Path(response or directory / "response.channel").absolute(),
        directory=directory.absolute(),
        group=_group_id(group) if group else None,
    )


def _group_id(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise NodeError(f"--bridge-group {name}: there is no such group on this host") from error


def _mandatory(host_ip: str) -> str:
    if not host_ip:
        raise NodeError("mandatory parameter --host-ip not specified: the address at which others reach this node")
    require_announceable(host_ip)
    return host_ip


def _service(name: str, port: int) -> str:
    """`FQDN[:port]` with the documented default port."""
    if not name:
        return ""
    address = with_port(name, port)
    require_announceable(split(address)[0])
    return address
