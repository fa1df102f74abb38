"""Rounds merged in slices by real processes: the first one is, where a leader would have to fetch 64 MiB."""

from pathlib import Path

import pytest

from support.processes import Processes
from support.swarm import Gate, Swarm, assert_complete, digest
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Training

MODEL = ("--size", "720000", "--rounds", "1")
"""23 MB: three of them are 64 MiB."""
LARGE = ("--size", "1100000", "--rounds", "1", "--min-peers", "2")
"""35 MB: the two that are left are as much."""
ALONE = {"SL_SLICES": "never"}


def is_in_slices(state: Training) -> bool:
    return bool(state.round and slicing_of(state, state.round.number)) or bool(state.slicings)


def trained(
    folder: Path, environment: dict[str, str], *options: str
) -> tuple[str, dict[str, tuple[int, float | None, float | None]]]:
    """The digest of a training's model, and what the receipt of its first round states of each site's."""
    folder.mkdir()
    with Processes(folder) as processes:
        swarm = Swarm(processes, folder)
        swarm.start_sn()
        sites = [swarm.start_sl(index, *MODEL, *options, environment=environment) for index in (1, 2, 3)]
        if not environment:
            swarm.until(is_in_slices)
        assert_complete(sites)
        names = {site.ready["uid"]: site.name for site in sites}
        first = swarm.until(lambda state: state.rounds == 1)
        assert first.result is not None
        parts = first.result.receipt.contributions
        stated = {names[part.uid]: (part.coefficient, part.distance, part.cosine) for part in parts}
        return digest(sites[0]), stated


@pytest.mark.parametrize("method", ["mean", "geomedian"])
def test_who_merges_changes_neither_the_model_nor_the_receipt(tmp_path: Path, method: str) -> None:
    """The models lie on a line, so the coefficients of the median are the same at all machines, to the bit."""
    model, in_slices = trained(tmp_path / "slices", {}, "--method", method)
    same, alone = trained(tmp_path / "leader", ALONE, "--method", method)
    assert model == same
    assert in_slices.keys() == alone.keys() == {"SL-1", "SL-2", "SL-3"}
    for name, (coefficient, distance, cosine) in in_slices.items():
        assert (coefficient, cosine) == (alone[name][0], alone[name][2])  # there is no base yet, and so no cosine
        assert distance == pytest.approx(alone[name][1], rel=1e-3)


def begun(state: Training) -> bool:
    """True once a slice of the round in progress is merged."""
    return any(each.roots for slicing in state.slicings for each in slicing.slices)


def test_a_round_in_slices_is_completed_without_a_merger_that_is_killed(swarm: Swarm, gate: Gate) -> None:
    swarm.start_sn()
    sites = [swarm.start_sl(index, *LARGE, "--hold-at", "0", "--gate", str(gate.path)) for index in (1, 2, 3)]
    swarm.until(lambda state: len(state.members) == 3)  # two of them could be through before the third begins
    gate.let(3)
    state = swarm.until(begun)
    leader = state.round.leader if state.round else ""
    killed = next(site for site in sites if site.ready["uid"] != leader)
    killed.kill()
    assert_complete([site for site in sites if site is not killed])
