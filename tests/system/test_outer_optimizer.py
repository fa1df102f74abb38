"""Real sites with an outer optimizer: all end with the same bits, also one that comes late and one with a lost disk."""

import shutil
from pathlib import Path

import pytest

from support.processes import Processes
from support.swarm import Gate, Swarm, assert_complete, digest
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.history import steps
from swarmlearning.ordering.local import read_chain_file

PAIR = ("--min-peers", "2")


def stepped(swarm: Swarm) -> dict[int, tuple[str, str, str]]:
    """Of each round the digests of its result, of what was merged for it, and of the momentum after it."""
    found: dict[int, tuple[str, str, str]] = {}
    for step in steps(read_chain_file(swarm.directory / "sn" / "chain.sqlite")):
        state = swarm.training(step.chain)
        if state.result is not None and (known := state.steps.get(state.result.digest)):
            found[state.result.closed.number] = state.result.digest, known.merged, known.momentum
    return found


def test_a_late_site_and_one_with_a_lost_disk_end_with_the_model_of_the_others(swarm: Swarm, gate: Gate) -> None:
    swarm.start_sn()
    holds = ("--hold-at", "3", "--hold-at", "5", "--gate", str(gate.path))
    outer = (*PAIR, "--outer", "nesterov")
    sites = [swarm.start_sl(index, "--rounds", "7", *outer, *holds) for index in (1, 2)]
    swarm.until(lambda state: state.rounds == 3)
    late = swarm.start_sl(3, "--rounds", "4", *outer)
    uids = [site.ready["uid"] for site in (*sites, late)]
    swarm.until(lambda state: uids[2] in state.members and state.members[uids[2]].awaited)
    gate.let(2)
    swarm.until(lambda state: state.rounds == 5 and state.result is not None and len(state.result.holders) == 3)
    sites[1].kill()
    shutil.rmtree(swarm.directory / "sl-2" / "models")
    sites[1] = swarm.start_sl(2, "--rounds", "2", *outer)
    swarm.until(lambda state: is_awaited_again(state, uids[1]))
    gate.let(1)
    assert_complete([*sites, late])
    found = stepped(swarm)
    assert sorted(found) == list(range(1, max(found) + 1))  # round 0 has no base to step from
    assert len({one for each in found.values() for one in each}) == 3 * len(found)


def is_awaited_again(state: Training, uid: str) -> bool:
    return uid in state.members and state.members[uid].incarnation == 2 and state.members[uid].awaited


def trained(folder: Path, environment: dict[str, str], *options: str) -> tuple[str, dict[int, tuple[str, str, str]]]:
    """The digest of a training's model, and what its rounds have made."""
    folder.mkdir()
    with Processes(folder) as processes:
        swarm = Swarm(processes, folder)
        swarm.start_sn()
        sites = [swarm.start_sl(index, *options, environment=environment) for index in (1, 2, 3)]
        in_slices = not environment and swarm.until(is_stepped_in_slices)
        assert_complete(sites)
        assert in_slices or environment
        return digest(sites[0]), stepped(swarm)


def is_stepped_in_slices(state: Training) -> bool:
    return bool(state.round and state.round.number and any(each.round == state.round.number for each in state.slicings))


@pytest.mark.parametrize("outer", ["nesterov", "adam"])
def test_who_merges_changes_neither_the_models_nor_the_momentum(tmp_path: Path, outer: str) -> None:
    options = ("--size", "720000", "--rounds", "3", "--outer", outer)
    one_leader = trained(tmp_path / "leader", {"SL_SLICES": "never"}, *options)
    assert trained(tmp_path / "slices", {}, *options) == one_leader
    assert sorted(one_leader[1]) == [1, 2, 3]
