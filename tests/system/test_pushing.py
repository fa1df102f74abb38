"""A site that nobody can connect to pushes its model to those who merge it, in network namespaces: past the relay."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.namespaces import Namespaces
from support.processes import Process, Processes
from support.sns import Network
from support.swarm import assert_complete, digest
from support.thinlinks import ThinLinks
from support.tools import needs
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Training

pytestmark = needs("netns")

SN, ROUTER, NORTH, SOUTH, HIDDEN = 1, 2, 3, 4, 5
RELAY_PORT = 30308
MODEL = 23_000_000
SCRIPT = ("--size", "720000", "--rounds", "1", "--min-peers", "3", "--method", "geomedian")
"""Of models of 23 MB three are the 64 MiB from which on the first round is merged in slices. By this method mergers
look at all slices first, and then merge them."""


class Relayed(Network):
    """An SN with a relay, two sites that others reach, and one behind a router."""

    def place(self, number: int) -> dict[str, str]:
        """See `Network`."""
        return {**super().place(number), "sn-relay-port": str(RELAY_PORT)}

    def start_at(self, index: int, host: int) -> Process:
        options = self.sl_options(index, sn_ip=self.hosts.address(SN), sn_api_port=str(self.ports[1]))
        options["host-ip"] = self.hosts.address(host)
        if host == HIDDEN:
            del options["host-ip"]
        flags, within = ["--relay"] if host == HIDDEN else [], self.hosts.command(host)
        return self.processes.node(
            f"SL-{index}", "sl", options, flags, ml=self.script(index, SCRIPT), environment={}, within=within
        )


@pytest.fixture
def net(processes: Processes, tmp_path: Path) -> Iterator[Relayed]:
    with Namespaces(5, behind={HIDDEN: ROUTER}) as hosts:
        made = Relayed(processes, tmp_path, hosts)
        yield made
        made.kill_sns()


def is_in_slices(state: Training) -> bool:
    return bool(state.round and slicing_of(state, state.round.number)) or bool(state.slicings)


def test_the_model_of_a_site_behind_a_router_reaches_its_mergers_without_passing_the_relay(net: Relayed) -> None:
    assert isinstance(net.hosts, Namespaces)
    links = ThinLinks(net.hosts)
    assert net.start(1, ordering="local").ready
    sites = [net.start_at(index, host) for index, host in ((1, HIDDEN), (2, NORTH), (3, SOUTH))]
    net.until_training(1, is_in_slices)
    assert_complete(sites)
    assert len({digest(site) for site in sites}) == 1
    sent = links.moved(ROUTER).sent
    assert sent > MODEL, "each merger got its part of the model, and both together all of it"
    assert sent < 1.9 * MODEL, "and once, to look at it and to merge it"
    assert links.moved(SN).received < MODEL // 4, "the relay has carried what is said, and no models"
