"""A pair as the resource manager gets it: its command and its environments, in the documented precedence. Pure."""

import json
from typing import NamedTuple

from swarmlearning.address import split
from swarmlearning.license.servers import NO_SERVERS, LicenseServers
from swarmlearning.swop.assigned import task_environment
from swarmlearning.swop.managing import Attempt, Limits, ManagerError, Pair
from swarmlearning.swop.profile import NodeDefinition, Profile
from swarmlearning.taskfiles.definition import RunSwarm


class Contact(NamedTuple):
    """Where SLs find an SN, by address or by service, the address at which others reach this host, and where they find
    license servers."""

    host_ip: str
    sn_ip: str = ""
    sn_api_port: int = 30304
    sn_api_service: str = ""
    network_id: str = ""
    license_servers: LicenseServers = NO_SERVERS

    def via(self, address: str) -> "Contact":
        """The same through the SN at this `host:port`; unchanged if that is the service that was named."""
        if address == self.sn_api_service:
            return self
        host, port = split(address)
        return self._replace(sn_ip=host, sn_api_port=port or self.sn_api_port, sn_api_service="")


def pair(
    profile: Profile, contact: Contact, limits: Limits, run: RunSwarm, base: str, attempt: Attempt, index: int, uid: str
) -> Pair:
    """The pair of this index for a RUN_SWARM in the image or environment `base`; `uid`: its SL's.

    Raises `ManagerError` where the profile, which may have been changed, has no such node.
    """
    node = next((each for each in profile.nodes if each.index == index), None)
    if node is None:
        raise ManagerError("site", f"the profile has no node of idx {index} any more")
    return Pair(
        node=node,
        run=run,
        base=base,
        sl_uid=uid,
        sl_environment=_sl_environment(profile, contact, node, attempt, uid),
        ml_environment=task_environment(run, node),
        limits=limits,
    )


def _sl_environment(
    profile: Profile, contact: Contact, node: NodeDefinition, attempt: Attempt, uid: str
) -> dict[str, str]:
    """The variables of an SL; those of a node of the profile replace those of all nodes."""
    origin = {
        "taskrunner": attempt.taskrunner,
        "digest": attempt.digest,
        "serial": attempt.serial,
        "attempt": attempt.attempt,
    }
    known = {
        "SN_NODE_IP": contact.sn_ip,
        "SN_API_SERVER_PORT": str(contact.sn_api_port) if contact.sn_ip else "",
        "SN_API_SERVICE": contact.sn_api_service,
        "THIS_NODE_IP": node.sl_host_ip or "",
        "SL_FS_PORT": str(node.sl_port) if node.sl_port else "",
        "SL_FS_SERVICE": node.sl_service or "",
        "SL_RELAY": "" if node.sl_relay is None else str(node.sl_relay).lower(),
        **contact.license_servers.variables,
    }
    return {
        **profile.environment,
        **node.sl_environment,
        **{name: value for name, value in known.items() if value},
        "SL_UID": uid,
        "SL_ORIGIN": json.dumps(origin, separators=(",", ":")),
    }
