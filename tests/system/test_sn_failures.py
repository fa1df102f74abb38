"""SNs that die or hang while a training runs: it goes on, and whoever comes back has the same chain."""

from support.sns import Network
from support.swarm import Gate, assert_complete, has_models
from support.tools import needs
from swarmlearning.ledger.bodies import Publish, Submit

pytestmark = needs("etcd")

PAIR = ("--min-peers", "2")
SHORT_SECONDS = 1.0
"""For an answer that will not come."""


def test_training_goes_on_when_two_of_five_sns_die_with_etcd_s_leader_among_them_and_return(
    net: Network, gate: Gate
) -> None:
    net.found(5)
    sites = [
        net.start_site(1, "--rounds", "3", *PAIR, at=1),
        net.start_site(2, "--rounds", "3", *PAIR, "--hold-at", "1", "--gate", str(gate.path), at=2),
    ]
    net.until_training(3, has_models(1, 1))
    leader = net.leader()
    dead = (leader, 2 if leader == 1 else 1)
    survivors = [number for number in net.sns if number not in dead]
    for number in dead:
        net.sns[number].kill()
    gate.let()
    assert_complete(sites)
    net.assert_one_chain(*survivors)
    for number in dead:
        net.start(number)
    net.assert_one_chain(*net.sns)
    status = net.until_status(leader, lambda status: all(sn["present"] for sn in status["sns"]))
    assert status["fault_tolerance"] == "5 voters: survives 2 failures"


def test_training_goes_on_when_one_of_three_sns_hangs_and_resumes_later(net: Network, gate: Gate) -> None:
    net.found(3)
    sites = [
        net.start_site(1, "--rounds", "3", *PAIR, at=1),
        net.start_site(2, "--rounds", "3", *PAIR, "--hold-at", "1", "--gate", str(gate.path), at=2),
    ]
    net.until_training(3, has_models(1, 1))
    frozen = net.leader()
    other = 2 if frozen == 1 else 1
    raw = net.write(frozen)
    net.sns[frozen].freeze()
    assert net.offer(frozen, raw, SHORT_SECONDS) is None
    height = net.offer(other, raw)
    assert height is not None
    gate.let()
    assert_complete(sites)
    before = net.height(other)
    net.sns[frozen].thaw()
    net.until_status(frozen, lambda status: status["height"] >= before)
    assert net.offer(frozen, raw) == height
    net.assert_one_chain(1, 2, 3)
    assert [at.height for at, signed in net.transactions(frozen) if signed.raw == raw] == [height]


def test_sites_whose_sn_dies_in_a_round_complete_that_round_through_another(net: Network, gate: Gate) -> None:
    net.found(3)
    sites = [
        net.start_site(1, "--rounds", "2", *PAIR, at=2),
        net.start_site(2, "--rounds", "2", *PAIR, "--hold-at", "1", "--gate", str(gate.path), at=2),
    ]
    members = sorted(site.ready["uid"] for site in sites)
    net.until_training(1, has_models(1, 1))
    dead = net.sns[2].ready["uid"]
    net.sns[2].kill()
    gate.let()
    assert_complete(sites)
    net.assert_one_chain(1, 3)
    sent = [(at.sealer, signed.content.sender, signed.content.body) for at, signed in net.transactions(1)]
    submitted = [(sealer, sender) for sealer, sender, body in sent if isinstance(body, Submit) and body.round == 1]
    assert sorted(sender for _, sender in submitted) == members
    assert [sealer == dead for sealer, _ in submitted] == [True, False]
    (published,) = [body for _, _, body in sent if isinstance(body, Publish) and body.round == 1]
    assert sorted(part.uid for part in published.receipt.contributions) == members


def test_a_site_that_restarts_while_its_sn_is_gone_goes_on_through_one_that_it_knew(net: Network, gate: Gate) -> None:
    net.found(3)
    held = ("--rounds", "2", "--min-peers", "2", "--hold-at", "0", "--hold-at", "1", "--gate", str(gate.path))
    sites = [net.start_site(number, *held, at=number) for number in (1, 2)]
    net.until(lambda state: len(state.members) == len(sites))
    gate.let(len(sites))
    net.until(lambda state: state.round is not None and state.round.number == 1)
    net.sns[2].kill()
    sites[1].kill()
    sites[1] = net.start_site(2, *held, at=2)
    gate.let(3 * len(sites))
    assert_complete(sites)
    assert "Retrying 1 of 12" in sites[1].output
