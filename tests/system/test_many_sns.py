"""Several SNs by real processes and real etcd members: they may be killed, joined and started again at any time."""

from pathlib import Path

from support.processes import Processes
from support.sns import Network, ThisHost
from support.swarm import Gate, assert_complete, has_models
from support.tools import needs

pytestmark = needs("etcd")

PAIR = ("--min-peers", "2")


def test_training_goes_on_when_the_sentinel_dies_a_fourth_sn_joins_and_the_sentinel_returns(
    net: Network, gate: Gate
) -> None:
    sentinel, *_ = net.found(3)
    ml = ("--rounds", "3", "--min-peers", "4")
    sites = [net.start_site(index, *ml, at=1 + index % 3) for index in (1, 2, 3)]
    sites.append(net.start_site(4, *ml, "--hold-at", "1", "--gate", str(gate.path)))
    net.until_training(2, has_models(3, 1))
    sentinel.kill()
    joined = net.start(4, through=3)
    assert joined.ready["network"]
    status = net.until_status(4, lambda status: sum(bool(node["training"]) for node in status["nodes"]) == 4)
    assert {node["training"]["total_epochs"] for node in status["nodes"] if node["type"] == "SL"} == {3}
    gate.let()
    assert_complete(sites)
    net.assert_one_chain(2, 3, 4)
    net.start(1)
    net.assert_one_chain(1, 2, 3, 4)


def test_training_goes_on_after_all_sns_are_killed_in_a_round_and_restarted(net: Network, gate: Gate) -> None:
    sns = net.found(3)
    sites = [
        net.start_site(1, "--rounds", "2", *PAIR),
        net.start_site(2, "--rounds", "2", *PAIR, "--hold-at", "1", "--gate", str(gate.path)),
    ]
    net.until_training(3, has_models(1, 1))
    for sn in sns:
        sn.kill()
    for number in (3, 1, 2):
        net.start(number)
    gate.let()
    assert_complete(sites)
    net.assert_one_chain(1, 2, 3)


@needs("ipv6")
def test_a_network_of_ipv6_addresses_trains(processes: Processes, tmp_path: Path) -> None:
    net = Network(processes, tmp_path, ThisHost("::1"))
    net.found(3)
    sites = [net.start_site(index, "--rounds", "2", *PAIR, at=index) for index in (1, 2)]
    assert sites[0].ready["fs"].startswith("[::1]:")
    assert_complete(sites)
    net.assert_one_chain(1, 2, 3)
    net.kill_sns()


def test_a_second_sn_beside_a_local_chain_is_refused_with_advice_and_joins_once_the_chain_is_in_etcd(
    net: Network,
) -> None:
    alone = net.start(1, ordering="local")
    network = alone.ready["network"]
    complaint = net.start(2, through=1).complaint()
    assert "--ordering etcd" in complaint
    assert "apt-get install etcd-server" in complaint
    before = net.height(1)
    alone.stop()
    again = net.start(1)
    assert again.ready["network"] == network
    assert net.start(2, through=1).ready["network"] == network
    net.until_status(1, lambda status: status["fault_tolerance"].startswith("2 voters: survives none"))
    assert net.height(2) > before
    net.assert_one_chain(1, 2)


def test_an_sn_of_another_network_is_refused_with_both_names(
    net: Network, processes: Processes, tmp_path: Path
) -> None:
    net.start(1)
    second = net.start(2, through=1)
    assert second.ready
    second.stop()
    other = Network(processes, tmp_path / "other")
    other.identities = net.identities
    other.name = "banks"
    first = other.start(1)
    assert first.ready
    other.directory = net.directory
    complaint = other.start(2, through=1).complaint()
    assert "belongs to network 'swarm'" in complaint
    assert "found network 'banks'" in complaint


def test_an_sn_that_leaves_is_removed_and_joins_anew_when_it_is_restarted(net: Network) -> None:
    sns = net.found(3)
    sns[2].stop()
    assert net.operate(3, "leave").wait() == 0
    net.until_status(1, lambda status: status["fault_tolerance"].startswith("2 voters") and len(status["sns"]) == 2)
    net.start(3, through=2)
    net.until_status(1, lambda status: status["fault_tolerance"].startswith("3 voters"))
    net.assert_one_chain(1, 2, 3)
