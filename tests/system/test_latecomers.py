"""Sites that come late, once or always: the others do not wait, and what the late ones train counts."""

from pathlib import Path

from support.swarm import Gate, Swarm, assert_complete
from swarmlearning.ledger.bodies import Submit
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.history import rounds, steps
from swarmlearning.ordering.local import read_chain_file

PAIR = ("--min-peers", "2")
AT_ONCE = {"SL_WAIT_FOR_FULL_QUORUM_SECONDS": "0"}
MISSED = 20


def contributed(swarm: Swarm, uid: str) -> list[int]:
    """The rounds with a model of this member."""
    walked = steps(read_chain_file(swarm.directory / "sn" / "chain.sqlite"))
    return [record.number for record in rounds(walked) if uid in record.contributed]


def test_a_site_that_joins_in_round_five_contributes_from_then_on(swarm: Swarm, gate: Gate) -> None:
    swarm.start_sn()
    ml = ("--rounds", "8", *PAIR, "--hold-at", "5", "--gate", str(gate.path))
    sites = [swarm.start_sl(index, *ml) for index in (1, 2)]
    swarm.until(lambda state: state.rounds == 5)
    late = swarm.start_sl(3, "--rounds", "3", *PAIR)
    uid = late.ready["uid"]
    swarm.until(lambda state: uid in state.members and state.members[uid].awaited)
    gate.let(2)
    assert_complete([*sites, late])
    assert contributed(swarm, uid)[0] == 5


def test_a_site_twenty_times_slower_is_not_waited_for_and_its_work_is_carried_over(
    swarm: Swarm, gate: Gate, tmp_path: Path
) -> None:
    swarm.start_sn()
    others = Gate(tmp_path / "others")
    holds = ("--hold-at", "1", "--hold-at", str(MISSED + 1), "--gate", str(others.path))
    ml = ("--rounds", str(MISSED + 3), *PAIR, *holds)
    sites = [swarm.start_sl(index, *ml, environment=AT_ONCE) for index in (1, 2)]
    slow = swarm.start_sl(3, "--rounds", "3", *PAIR, "--hold-at", "1", "--gate", str(gate.path), environment=AT_ONCE)
    uid = slow.ready["uid"]
    swarm.until(lambda state: state.result is not None and uid in state.result.holders)
    others.let(2)
    swarm.until(lambda state: state.rounds == MISSED + 1)

    def is_in(state: Training) -> bool:
        return state.round is not None and uid in state.round.submissions

    gate.let()
    state = swarm.until(lambda state: state.rounds == MISSED + 1 and is_in(state))
    assert state.round is not None
    assert state.round.submissions[uid].kind == "carried"
    others.let(2)
    assert_complete([*sites, slow])
    others.close()
    assert MISSED + 1 in contributed(swarm, uid)
    sent = [
        signed.content.body
        for step in steps(read_chain_file(swarm.directory / "sn" / "chain.sqlite"))
        for signed in step.block.transactions
        if signed.content.sender == uid
    ]
    carried = [body.round for body in sent if isinstance(body, Submit) and body.submission == "carried"]
    assert carried[0] == MISSED + 1  # nothing for the rounds before; without a grace it may miss a later one too
