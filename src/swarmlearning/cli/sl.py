"""`swarm sl`: a Swarm Learning node, with the option names of the original's script.

The SL's own modules are imported when it runs: other commands start a third faster without them.
"""

import grp
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarmlearning.cli.command import command
from swarmlearning.cli.options import (
    AUTO,
    BindIp,
    Credentials,
    DataDir,
    GiveVitals,
    HostIp,
    LicenseOptions,
    MetricsOptions,
    NetworkId,
    NodeProcess,
    announced_by_name,
    data_directory,
    mandatory_host,
    own_address,
    service_address,
    sn_address,
)
from swarmlearning.cli.running import run_node_process
from swarmlearning.identity.certificates import name_in
from swarmlearning.identity.identity import Identity
from swarmlearning.node.errors import NodeError
from swarmlearning.node.logs import Level

if TYPE_CHECKING:
    from swarmlearning.bridge.bridge import BridgeSettings
    from swarmlearning.ledger.bodies import Origin
    from swarmlearning.node.settings import SlEnvironment
    from swarmlearning.sl.mirroring import Tracking
    from swarmlearning.sl.mlside import Shared
    from swarmlearning.sl.settings import SlSettings


@dataclass(frozen=True)
class MLOptions:
    """The options for an ML process that is started elsewhere, also one with the original's client."""

    channel_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="SL_CHANNEL_DIR",
            help="Folder shared with the ML process, on --data-dir's file system; by default inside that.",
        ),
    ] = None
    ml_group: Annotated[
        str,
        typer.Option(
            "--ml-group",
            "--bridge-group",
            envvar="SL_ML_GROUP",
            help="Name or number of the group that may use --channel-dir and --bridge-dir too, for an ML process that "
            "runs as another user.",
        ),
    ] = ""
    bridge: Annotated[
        bool,
        typer.Option(
            "--bridge", help="Serve the original's client too; so do SL_REQUEST_CHANNEL, SL_RESPONSE_CHANNEL."
        ),
    ] = False
    bridge_dir: Annotated[Path, typer.Option(help="Folder shared with that client, which has this one built in.")] = (
        Path("/tmp/hpe-swarm")
    )

    def shared(self) -> "Shared | None":
        """The folder for the channel; None: the default one. Raises `NodeError`."""
        from swarmlearning.sl.mlside import Shared

        return Shared(self.channel_dir.absolute(), self._group()) if self.channel_dir else None

    def _group(self) -> int | None:
        return _group_id(self.ml_group) if self.ml_group else None

    def bridge_settings(self, environment: "SlEnvironment") -> "BridgeSettings | None":
        """None without a bridge. Its FIFOs are in its folder unless the environment names some. Raises `NodeError`."""
        from swarmlearning.bridge.bridge import REQUEST_VARIABLE, RESPONSE_VARIABLE, BridgeSettings

        request, response = environment.sl_request_channel, environment.sl_response_channel
        if not (self.bridge or request or response):
            return None
        if bool(request) != bool(response):
            missing = RESPONSE_VARIABLE if request else REQUEST_VARIABLE
            raise NodeError(f"{missing}: bad environment variable; cannot create bridge. Set both pipes, or neither")
        return BridgeSettings(
            request=Path(request or self.bridge_dir / "request.channel").absolute(),
            response=Path(response or self.bridge_dir / "response.channel").absolute(),
            directory=self.bridge_dir.absolute(),
            group=self._group(),
        )


@dataclass(frozen=True)
class TrackingOptions:
    """The options for the experiment trackers that a training's curves are mirrored to."""

    tensorboard_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="SL_TENSORBOARD_DIR",
            help="Folder for the training's curves as TensorBoard event files; by default tensorboard in --data-dir.",
        ),
    ] = None
    mlflow_uri: Annotated[
        str,
        typer.Option(
            envvar="SL_MLFLOW_URI",
            help="This site's own MLflow server, to which the curves go too: they name every site of the training.",
        ),
    ] = ""

    def settings(self, data_dir: Path, environment: "SlEnvironment") -> "Tracking":
        """Raises `UserError`."""
        from swarmlearning.sl.mirroring import Tracking
        from swarmlearning.tracking.mlflow import MlflowServer

        best = environment.sl_keep_best
        return Tracking(
            event_files=(self.tensorboard_dir or data_dir / "tensorboard").absolute(),
            mlflow=MlflowServer(self.mlflow_uri, os.environ) if self.mlflow_uri else None,
            keep_best=bool(best),
            measure=best if best in ("metric", "loss") else None,
        )


@dataclass(frozen=True)
class SlProcess(NodeProcess):
    """The options for an SL's log and readiness."""

    log_level: Annotated[
        Level, typer.Option("--log-level", envvar="SL_LOG_LEVEL", case_sensitive=False, help="How much to log.")
    ] = "INFO"


@dataclass(frozen=True, kw_only=True)
class SlOptions:
    """The options of an SL, as `swarm sl --help` lists them."""

    host_ip: HostIp = ""
    sn_ip: Annotated[str, typer.Option(envvar="SN_NODE_IP", help="Address of an SN.")] = ""
    sn_api_port: Annotated[int, typer.Option(envvar="SN_API_SERVER_PORT", help="API port of that SN.")] = 30304
    sn_api_service: Annotated[
        str, typer.Option(envvar="SN_API_SERVICE", help="The same behind a proxy: FQDN[:port], port 443.")
    ] = ""
    sl_fs_port: Annotated[int, typer.Option(envvar="SL_FS_PORT", help="Port of this node's file server.")] = 30305
    fs_listen_port: Annotated[
        int | None,
        typer.Option(envvar="SL_FS_LISTEN_PORT", help="Port to listen on, where it is published as --sl-fs-port."),
    ] = None
    sl_fs_service: Annotated[
        str, typer.Option(envvar="SL_FS_SERVICE", help="FQDN[:port] under which other SLs reach it.")
    ] = ""
    relay: Annotated[
        bool | None,
        typer.Option(
            "--relay/--no-relay",
            envvar="SL_RELAY",
            help="Listen on nothing, and be reached through the relay of an SN: for a host that nobody can connect to. "
            "By default only once others cannot connect.",
        ),
    ] = None
    bind_ip: BindIp = ""
    network_id: NetworkId = ""
    node_name: Annotated[
        str,
        typer.Option(
            envvar="SL_NODE_NAME",
            help="Name of this node in lists and logs; by default the common name of its certificate.",
        ),
    ] = ""
    privacy_policy: Annotated[
        Path | None,
        typer.Option(
            envvar="SL_PRIVACY_POLICY",
            help="YAML file of this site's privacy lock, which no script can leave out: what its change of a round is "
            "clipped to, noise, and a budget (docs/privacy.md).",
        ),
    ] = None
    max_mbit: Annotated[
        str,
        typer.Option(
            envvar="SL_MAX_MBIT",
            help="Most that models use of this site's link, in Mbit/s: 20 in each direction, 10/50 up/down, "
            "5@08:00-18:00,50 by hours of its clock (docs/network.md). By default without limit.",
        ),
    ] = ""
    vitals: GiveVitals = True
    tracking: TrackingOptions
    data_dir: DataDir = None
    credentials: Credentials
    license: LicenseOptions
    metrics: MetricsOptions
    ml: MLOptions
    process: SlProcess

    def settings(self, identity: Identity, environment: "SlEnvironment", command: Sequence[str]) -> "SlSettings":
        """The settings of an SL, with `command` as its ML process. Raises `UserError`."""
        from swarmlearning.models.bandwidth import caps_of
        from swarmlearning.rounds.settings import RoundSettings
        from swarmlearning.sl.settings import SlSettings

        if self.relay and (self.sl_fs_service or self.bind_ip):
            raise NodeError("--relay: nothing listens here, so leave out --sl-fs-service and --bind-ip")
        moves = self.host_ip == AUTO
        host = own_address(self._sn_address()) if moves else self.host_ip
        everywhere = "::" if ":" in host else "0.0.0.0"  # where it will be reached later is not known yet
        return SlSettings(
            name=self.node_name or name_in(identity.certificate) or "SL",
            host=host if self.sl_fs_service or self.relay else mandatory_host(host),
            relay=self.relay,
            moves=moves,
            bind=self.bind_ip or (everywhere if moves else ""),
            license_servers=self.license.servers(),
            fs_port=self.sl_fs_port if self.fs_listen_port is None else self.fs_listen_port,
            fs_service=announced_by_name(
                service_address(self.sl_fs_service, 30305), host, self.sl_fs_port, self.fs_listen_port
            ),
            sn_address=self._sn_address(),
            data_dir=data_directory(self.data_dir, "sl"),
            network_id=self.network_id,
            uid=environment.sl_uid,
            rounds=RoundSettings(
                make_me_admin=environment.sl_make_me_admin,
                full_quorum_seconds=environment.sl_wait_for_full_quorum_seconds,
                leader_failure_seconds=environment.sl_leader_failure_base_timeout,
                initial=environment.sl_initial_sync,
                non_finite=environment.sl_non_finite,
                merges_slices=environment.sl_slices == "auto",
                verifies=environment.sl_verify == "auto",
                origin=_origin(environment.sl_origin),
            ),
            compress_below=int(environment.sl_model_params_compression_threshold_mb * 10**6),
            command=command,
            bridge=self.ml.bridge_settings(environment),
            shared=self.ml.shared(),
            privacy_policy=self.privacy_policy.absolute() if self.privacy_policy else None,
            vitals=self.vitals,
            log=self.process.log,
            tracking=self.tracking.settings(data_directory(self.data_dir, "sl"), environment),
            metrics=self.metrics.place(),
            caps=caps_of(self.max_mbit),
        )

    def _sn_address(self) -> str:
        return sn_address(self.sn_ip, self.sn_api_port) if self.sn_ip else service_address(self.sn_api_service, 443)


@command("swarm sl")
def sl(context: typer.Context, options: SlOptions) -> None:
    """Run a Swarm Learning node; a command after `--` is started as its ML process."""
    from swarmlearning.node.settings import SlEnvironment
    from swarmlearning.sl.node import run_sl

    if not (options.sn_ip or options.sn_api_service):
        raise NodeError("mandatory parameter --sn-ip not specified: the address of any SN of the network")
    environment = SlEnvironment()
    source = options.credentials.source("SL")
    settings = options.settings(source.current, environment, context.args)
    status = run_node_process("SL", settings, options.process, source, partial(run_sl, settings, source))
    raise typer.Exit(status or 0)


def _origin(text: str) -> "Origin | None":
    """The origin of this JSON; None for an empty text. Raises `NodeError`."""
    import msgspec

    from swarmlearning.ledger.bodies import Origin

    try:
        return msgspec.json.decode(text, type=Origin) if text else None
    except msgspec.DecodeError as error:
        raise NodeError(f"SL_ORIGIN is not what a SWOP sets: {error}; unset it") from error


def _group_id(name: str) -> int:
    try:
        return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise NodeError(f"--ml-group {name}: there is no such group on this host") from error
