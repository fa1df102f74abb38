"""How an SN takes in newcomers who are invited, if its operator has not switched that off: settings, and the work."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from swarmlearning.address import join
from swarmlearning.ledger.contracts import network
from swarmlearning.node.renewing import LiveIdentity
from swarmlearning.node.sources import JOIN
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.registration import Registration


@dataclass(frozen=True)
class JoinSettings:
    """`service` is announced in place of the SN's host and the `port` listened on, where given."""

    port: int
    service: str = ""


def announced(settings: JoinSettings | None, host: str) -> dict[str, str]:
    """What an SN at this host announces for its join port."""
    return {JOIN: settings.service or join(host, settings.port)} if settings is not None else {}


async def welcome(
    settings: JoinSettings | None,
    own: LiveIdentity,
    miner: Miner,
    registration: Registration,
    now_ms: Callable[[], int],
    host: str,
    api: str,
) -> None:
    """Works until cancelled at the address `host`, if there is a join port at all; `api`: where the SN's API is."""
    if settings is None:
        return
    from swarmlearning.sn.joinport import JoinPort  # the others save the memory of the web framework

    submit = partial(registration.propose, network.CONTRACT)
    await JoinPort(settings, own, miner, submit, now_ms, api).run(host)
