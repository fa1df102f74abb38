"""An operator's settings of one SL."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swarmlearning.address import split
from swarmlearning.bridge.bridge import BridgeSettings
from swarmlearning.license.servers import NO_SERVERS, LicenseServers
from swarmlearning.models.bandwidth import NO_CAPS, Caps
from swarmlearning.node.exposed import MetricsPlace
from swarmlearning.node.logfile import DEFAULT, LogSettings
from swarmlearning.rounds.settings import RoundSettings
from swarmlearning.sl.mirroring import NO_TRACKING, Tracking
from swarmlearning.sl.mlside import Shared


@dataclass(frozen=True)
class SlSettings:
    """What `swarm sl` is told.

    `host` is the address announced to others; `fs_service` is announced instead of it and the port listened on, where
    given. `bind`: the address to listen on, empty: see `listening_host`. `compress_below`: bytes of the smallest model
    that is never sent compressed. `bridge`: also serve the original's client. `shared`: see `MLSide`. `network_id`: the
    only one to join; `uid`: this node's, where a SWOP has chosen one. `relay`: nobody can connect to this node, so it
    listens on nothing, and is reached through the relay of an SN; None: once the ledger shows that others do not reach
    it, False: never. `moves`: `host` is the address from which this machine reaches its SN, and follows it.
    `privacy_policy`: the file of the site's lock. `tracking`: see `Tracking`. `caps`: what models may use of the link.
    """

    name: str
    host: str
    fs_port: int
    fs_service: str
    sn_address: str
    data_dir: Path
    rounds: RoundSettings
    compress_below: int
    command: Sequence[str]
    bridge: BridgeSettings | None = None
    shared: Shared | None = None
    bind: str = ""
    network_id: str = ""
    uid: str = ""
    relay: bool | None = None
    moves: bool = False
    license_servers: LicenseServers = NO_SERVERS
    log: LogSettings = DEFAULT
    privacy_policy: Path | None = None
    vitals: bool = True
    tracking: Tracking = NO_TRACKING
    metrics: MetricsPlace | None = None
    caps: Caps = NO_CAPS

    @property
    def own_hosts(self) -> list[str]:
        """Hosts of the network that this node is in: those at which it is reached; behind a relay that of its SN."""
        if self.relay:
            return [split(self.sn_address)[0]]
        return [self.host, split(self.fs_service)[0]] if self.fs_service else [self.host]
