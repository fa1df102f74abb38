"""One half of a site is killed beside the living other: the training goes on with both, and nothing of it is lost."""

from collections import defaultdict

import pytest

from support.processes import Process
from support.swarm import Gate, Swarm, assert_complete, has_models
from swarmlearning.ledger.bodies import Submit
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.history import rounds, steps
from swarmlearning.ordering.local import read_chain_file

ROUNDS = 4
WAITS_FOR_SITE_1 = has_models(2, 2)


def start(swarm: Swarm, gate: Gate) -> tuple[dict[int, Process], dict[int, Process]]:
    """SLs and ML stand-ins of three sites that need each other; site 1 waits at the gate before its third sync."""
    swarm.start_sn()
    sls = {index: swarm.start_sl(index) for index in (1, 2, 3)}
    ml = ("--rounds", str(ROUNDS))
    mls = {index: swarm.train(index, sl, *ml) for index, sl in sls.items() if index != 1}
    mls[1] = swarm.train(1, sls[1], *ml, "--gate", str(gate.path), "--hold-at", "2")
    return sls, mls


def trained(swarm: Swarm) -> dict[str, set[int]]:
    """By member, the rounds for which it handed in what it has trained; all took part in every round."""
    walked = list(steps(read_chain_file(swarm.directory / "sn" / "chain.sqlite")))
    assert {len(record.contributed) for record in rounds(walked)} == {3}
    found = defaultdict(set)
    for step in walked:
        for signed in step.block.transactions:
            body = signed.content.body
            if isinstance(body, Submit) and body.submission == "trained":
                found[signed.content.sender].add(body.round)
    return found


@pytest.mark.parametrize("index", [1, 2], ids=["while its script trains", "while its script waits"])
def test_an_sl_killed_beside_its_living_script_is_restarted_and_training_completes(
    swarm: Swarm, gate: Gate, index: int
) -> None:
    sls, mls = start(swarm, gate)
    swarm.until(WAITS_FOR_SITE_1)
    sls[index].kill()
    swarm.start_sl(index)
    gate.let()
    assert_complete(list(mls.values()))
    assert list(trained(swarm).values()) == [set(range(ROUNDS))] * 3
    if index == 2:
        assert "The SL node went away" in mls[2].output
        assert "The SL node is back" in mls[2].output


def test_an_sl_stopped_by_its_operator_is_not_waited_for_and_returns(swarm: Swarm, gate: Gate) -> None:
    sls, mls = start(swarm, gate)
    swarm.until(WAITS_FOR_SITE_1)
    sls[2].stop()
    stopped = network.node(swarm.chain().world, sls[2].ready["uid"])
    assert stopped is not None
    assert stopped.left  # it has reported that: its lease has not ended yet
    swarm.start_sl(2)
    gate.let()
    assert_complete(list(mls.values()))
    assert list(trained(swarm).values()) == [set(range(ROUNDS))] * 3


def test_a_script_killed_beside_its_living_sl_is_restarted_and_training_completes(swarm: Swarm, gate: Gate) -> None:
    sls, mls = start(swarm, gate)
    swarm.until(WAITS_FOR_SITE_1)
    mls[1].kill()
    uid = sls[1].ready["uid"]
    swarm.until(lambda state: uid in state.members and state.members[uid].attendance == "ml-lost")
    mls[1] = swarm.train(1, sls[1], "--rounds", str(ROUNDS - 2))
    assert_complete(list(mls.values()))
    assert trained(swarm)[uid] == {0, 1, 2}  # its first sync only takes the latest model
