"""A swarm whose nodes have their identities from SPIFFE agents: it trains, and follows what the agents push."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.agent import Agent, Agents, TrustDomain
from support.operating import Operator
from support.processes import Processes
from support.swarm import Gate, Swarm, assert_complete, has_models
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.identity.spiffe import fetch
from swarmlearning.ledger.contracts import network


@pytest.fixture
def agents() -> Iterator[Agents]:
    found = Agents()
    yield found
    found.close()


def until_registered(swarm: Swarm, agents: Mapping[str, Agent]) -> None:
    """Waits until the ledger has what each agent has issued last."""
    wanted = {thumbprint(agent.issued[0].certificate) for agent in agents.values()}
    swarm.until_chain(lambda chain: {known.certificate for known in network.nodes(chain.world)} == wanted)


def test_certificates_and_a_root_change_while_a_swarm_of_two_trust_domains_trains(
    processes: Processes, tmp_path: Path, gate: Gate, agents: Agents
) -> None:
    one, two = TrustDomain("org1.example"), TrustDomain("org2.example")
    own = {
        "SN-1": agents.start(one, "sn", federated=[two]),
        "SL-1": agents.start(one, "sl", federated=[two]),
        "SL-2": agents.start(two, "sl", federated=[one]),
    }
    swarm = Swarm(processes, tmp_path, {name: fetch(agent.socket) for name, agent in own.items()})
    assert swarm.start_sn().ready
    ml = ("--rounds", "3", "--min-peers", "2")
    sites = [swarm.start_sl(1, *ml), swarm.start_sl(2, *ml, "--hold-at", "1", "--gate", str(gate.path))]
    swarm.until(has_models(1, 1))
    for agent in own.values():
        agent.renew()
    until_registered(swarm, own)
    one.prepare_root()
    for name in ("SN-1", "SL-1"):  # the agent of the other domain never hears of the root: the ledger does
        own[name].renew()
    until_registered(swarm, own)
    one.drop_root()
    for name in ("SN-1", "SL-1"):
        own[name].push()
    gate.let()
    assert_complete(sites)
    world = swarm.chain().world
    assert [each.incarnation for each in network.nodes(world)] == [1, 1, 1]
    organisations = {each.id: each.name for each in network.organisations(world)}
    assert organisations == {"org1-example": "org1.example", "org2-example": "org2.example"}


def test_an_operator_admits_a_trust_domain_by_the_roots_that_its_own_agent_has_or_a_file(
    processes: Processes, tmp_path: Path, agents: Agents
) -> None:
    one, two, three = (TrustDomain(f"org{number}.example") for number in (1, 2, 3))
    own = {
        "SN-1": agents.start(one, "sn"),
        "SWCI-1": agents.start(one, "swci", federated=[two]),
        "SWCI-2": agents.start(two, "swci", federated=[one]),
        "SL-1": agents.start(two, "sl", federated=[one]),
        "SL-2": agents.start(three, "sl", federated=[one]),
    }
    swarm = Swarm(processes, tmp_path, {name: fetch(agent.socket) for name, agent in own.items()})
    assert swarm.start_sn().ready
    operator = Operator(swarm)
    admit = ("organisation", "admit")
    unknown = operator.fails(*admit, "third", "--trust-domain", three.name)
    assert "your SPIFFE agent knows the trust domains org1.example, org2.example, not org3.example" in unknown
    operator.does(*admit, "second", "--trust-domain", two.name, "--name", "Second")
    roots = tmp_path / "three.pem"
    roots.write_text(to_pem(three.roots[0].certificate))
    operator.does(*admit, "third", roots, "--trust-domain", three.name)
    Operator(swarm, "SWCI-2").does("proposal", "sign", "1")
    listed = {each["id"]: each["name"] for each in json.loads(operator.does("organisation", "list", "--json"))}
    assert listed == {"org1-example": "org1.example", "second": "Second", "third": "org3.example"}
    assert_complete([swarm.start_sl(index, "--rounds", "1", "--min-peers", "2") for index in (1, 2)])
    members = {each.subject: each.organisation for each in network.nodes(swarm.chain().world) if each.type == "SL"}
    assert members == {"spiffe://org2.example/sl": "second", "spiffe://org3.example/sl": "third"}
    (followed,) = (each for each in network.authorities(swarm.chain().world) if each.organisation == "second")
    assert (followed.trust_domain, followed.bundle) == (two.name, True)
