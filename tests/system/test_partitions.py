"""SNs and SLs on hosts of their own, with a network between them that fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.namespaces import Namespaces
from support.processes import Processes
from support.sns import Network
from support.swarm import Gate, assert_complete
from support.tools import needs
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.history import rounds, steps

pytestmark = [needs("etcd"), needs("netns")]

SHORT_SECONDS = 1.0
"""For an answer that will not come."""


@pytest.fixture
def hosts() -> Iterator[Namespaces]:
    with Namespaces(3) as made:
        yield made


@pytest.fixture
def net(hosts: Namespaces, processes: Processes, tmp_path: Path) -> Iterator[Network]:
    made = Network(processes, tmp_path, hosts)
    yield made
    made.kill_sns()


@pytest.fixture
def gates(tmp_path: Path) -> Iterator[dict[int, Gate]]:
    made = {number: Gate(tmp_path / f"gate-{number}") for number in (1, 2, 3)}
    yield made
    for gate in made.values():
        gate.close()


def submitted(state: Training) -> set[str]:
    return set(state.round.submissions) if state.round else set()


def test_an_sn_that_is_cut_off_waits_while_the_majority_goes_on_and_follows_when_it_heals(
    hosts: Namespaces, net: Network, gates: dict[int, Gate]
) -> None:
    net.found(3)
    ml = ("--rounds", "5", "--min-peers", "2", "--hold-at", "0", "--hold-at", "1", "--hold-at", "3", "--gate")
    sites = {number: net.start_site(number, *ml, str(gates[number].path), at=number) for number in (1, 2, 3)}
    uids = {number: site.ready["uid"] for number, site in sites.items()}
    net.until_training(1, lambda state: len(state.members) == 3)
    for gate in gates.values():
        gate.let()
    net.until_training(1, lambda state: state.rounds == 1)
    cut = net.leader()
    majority = sorted({1, 2, 3} - {cut})
    raw = net.write(cut)

    hosts.partition([cut], majority)
    assert net.offer(cut, raw, SHORT_SECONDS) is None
    net.until_status(cut, lambda status: status["fault_tolerance"] == "no majority of voters answers: writes wait")
    for gate in gates.values():
        gate.let()
    net.until_training(majority[0], lambda state: state.rounds == 3)
    assert net.height(cut) < net.height(majority[0])
    assert net.offer(cut, raw, SHORT_SECONDS) is None

    hosts.heal()
    net.until_training(majority[0], lambda state: state.rounds == 3 and uids[cut] in submitted(state))  # carried over
    for gate in gates.values():
        gate.let()
    assert_complete(list(sites.values()))
    height = net.offer(cut, raw)
    net.assert_one_chain(1, 2, 3)
    assert [at.height for at, signed in net.transactions(cut) if signed.raw == raw] == [height]
    contributed = {record.number: set(record.contributed) for record in rounds(steps(net.blocks(cut)))}
    assert contributed[1] == contributed[2] == {uids[number] for number in majority}
    assert uids[cut] in contributed[0] & contributed[3]
