"""Several SNs by real processes and real etcd members: they may be killed, joined and started again at any time."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.certs import make_workspace
from support.processes import COMMAND, Process, Processes
from support.swarm import Gate, Swarm, assert_complete, fixed_port, identity_options, run
from support.tools import needs
from swarmlearning.api.client import SnClient, Unavailable
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training import Training
from swarmlearning.ledger.history import steps
from swarmlearning.ordering.local import read_chain_file

pytestmark = needs("etcd")

PAUSE = 0.05
PAIR = ("--min-peers", "2")


class Network(Swarm):
    """A swarm with SNs 1 to 4, each with ports that it keeps."""

    def __init__(self, processes: Processes, directory: Path) -> None:
        names = [*(f"SN-{number}" for number in range(1, 5)), *(f"SL-{number}" for number in range(1, 5))]
        super().__init__(processes, directory, make_workspace(directory / "cert", names))
        self.ports = {number: fixed_port() for number in range(1, 5)}
        self.p2p_ports = {number: fixed_port() for number in range(1, 5)}

    def start(self, number: int, *, through: int = 0, ordering: str = "etcd") -> Process:
        """Starts SN `number`, or starts it again; the first founds the network, `through` says whom to join by."""
        options: dict[str, str | Path] = {
            "host-ip": "127.0.0.1",
            "node-name": f"SN-{number}",
            "sn-api-port": str(self.ports[number]),
            "sn-p2p-port": str(self.p2p_ports[number]),
            "ordering": ordering,
            "data-dir": self.directory / f"sn-{number}",
            **identity_options(self.identities[f"SN-{number}"]),
        }
        if through:
            options |= {"sentinel-ip": "127.0.0.1", "sentinel-api-port": str(self.ports[through])}
        sn = self.processes.node(f"SN-{number}", "sn", options, [] if through else ["--sentinel"])
        if number == 1:
            self.sn = sn
        return sn

    def found(self, count: int) -> list[Process]:
        """`count` SNs that all vote."""
        sns = [self.start(1)]
        assert sns[0].ready
        for number in range(2, count + 1):
            sns.append(self.start(number, through=number - 1))
            assert sns[-1].ready
        self.until_status(1, lambda status: status["bears"].startswith(f"{count} voters"))
        return sns

    def until_status(self, number: int, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """What SN `number` says once it is `reached`."""
        address = f"127.0.0.1:{self.ports[number]}"

        async def ask() -> dict[str, Any]:
            async with SnClient(address, client_context(self.identities["SL-1"])) as client:
                while True:
                    try:
                        status = await client.status()
                    except Unavailable:
                        status = None
                    if status is not None and reached(status):
                        return status
                    await asyncio.sleep(PAUSE)

        return run(ask())

    def until_training(self, number: int, reached: Callable[[Training], bool]) -> None:
        """Follows the chain at SN `number` until the training is `reached`."""
        address = f"127.0.0.1:{self.ports[number]}"

        async def follow() -> None:
            chain = Chain()
            async with SnClient(address, client_context(self.identities["SL-1"])) as client:
                async for raw in client.blocks(0):
                    chain = chain.append(raw).chain
                    if reached(self.training(chain)):
                        return

        run(follow())

    def height(self, number: int) -> int:
        return int(self.until_status(number, lambda status: True)["height"])

    def blocks(self, number: int) -> list[bytes]:
        """The chain file of a stopped or running SN, verified."""
        blocks = read_chain_file(self.directory / f"sn-{number}" / "chain.sqlite")
        assert [step.void for step in steps(blocks) if step.void is not None] == []
        return blocks

    def assert_one_chain(self, *numbers: int) -> None:
        """All these SNs come to the same height, and have the same blocks."""
        top = max(self.height(number) for number in numbers)
        for number in numbers:
            self.until_status(number, lambda status: status["height"] >= top)
        chains = [self.blocks(number)[: top + 1] for number in numbers]
        assert all(chain == chains[0] for chain in chains)


@pytest.fixture
def net(processes: Processes, tmp_path: Path) -> Network:
    return Network(processes, tmp_path)


def stop(sn: Process) -> None:
    """As an operator does: SIGTERM."""
    sn.signal(signal.SIGTERM)
    assert sn.wait() == 0


def has_models(count: int, number: int) -> Callable[[Training], bool]:
    def reached(state: Training) -> bool:
        return state.round is not None and state.round.number == number and len(state.round.submissions) == count

    return reached


def test_the_sentinel_dies_in_a_round_a_fourth_joins_and_the_sentinel_returns(net: Network, gate: Gate) -> None:
    sentinel, *_ = net.found(3)
    sites = [
        net.start_sl(1, "--rounds", "3", *PAIR),
        net.start_sl(
            2, "--rounds", "3", *PAIR, "--hold-at", "1", "--gate", str(gate.path), sn_api_port=str(net.ports[1])
        ),
    ]
    net.until_training(2, has_models(1, 1))
    sentinel.kill()
    joined = net.start(4, through=3)
    assert joined.ready["network"]
    gate.let()
    assert_complete(sites)
    net.assert_one_chain(2, 3, 4)
    net.start(1)
    net.assert_one_chain(1, 2, 3, 4)


def test_all_are_killed_in_a_round_and_started_again(net: Network, gate: Gate) -> None:
    sns = net.found(3)
    sites = [
        net.start_sl(1, "--rounds", "2", *PAIR),
        net.start_sl(2, "--rounds", "2", *PAIR, "--hold-at", "1", "--gate", str(gate.path)),
    ]
    net.until_training(3, has_models(1, 1))
    for sn in sns:
        sn.kill()
    for number in (3, 1, 2):
        net.start(number)
    gate.let()
    assert_complete(sites)
    net.assert_one_chain(1, 2, 3)


def test_a_local_chain_is_carried_over_and_a_second_sn_is_told_so(net: Network) -> None:
    alone = net.start(1, ordering="local")
    network = alone.ready["network"]
    complaint = net.start(2, through=1).complaint()
    assert "--ordering etcd" in complaint
    assert "apt-get install etcd-server" in complaint
    before = net.height(1)
    stop(alone)
    again = net.start(1)
    assert again.ready["network"] == network
    assert net.start(2, through=1).ready["network"] == network
    net.until_status(1, lambda status: status["bears"].startswith("2 voters: survives none"))
    assert net.height(2) > before
    net.assert_one_chain(1, 2)


def test_an_sn_of_another_network_is_refused_with_both_names(
    net: Network, processes: Processes, tmp_path: Path
) -> None:
    net.start(1)
    second = net.start(2, through=1)
    assert second.ready
    stop(second)
    other = Network(processes, tmp_path / "other")
    other.identities = net.identities
    other.name = "banks"
    first = other.start(1)
    assert first.ready
    other.directory = net.directory
    complaint = other.start(2, through=1).complaint()
    assert "belongs to network" in complaint


def test_who_leaves_is_removed_and_who_starts_it_again_joins_anew(net: Network) -> None:
    sns = net.found(3)
    stop(sns[2])
    identity = identity_options(net.identities["SN-3"])
    words = [word for option, value in identity.items() for word in (f"--{option}", value)]
    left = net.processes.start("leave", *COMMAND, "sn", "leave", "--data-dir", net.directory / "sn-3", *words)
    assert left.wait() == 0
    net.until_status(1, lambda status: status["bears"].startswith("2 voters") and len(status["sns"]) == 2)
    net.start(3, through=2)
    net.until_status(1, lambda status: status["bears"].startswith("3 voters"))
    net.assert_one_chain(1, 2, 3)
