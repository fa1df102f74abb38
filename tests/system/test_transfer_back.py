"""What was merged travels back as a coded change: real processes, and the bytes that they receive."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from support.certs import make_workspace
from support.operating import Operator
from support.processes import Processes
from support.swarm import Gate, Swarm, assert_complete, digest
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.history import steps
from swarmlearning.ordering.local import read_chain_file
from swarmlearning.views.times import RoundTimes

CONTRACT = "back"
SMALL, LARGE = 20_000, 720_000
"""Rows of 8 values: 640 KB, merged by one leader; and 23 MB, of which three are merged in slices."""
PAIR = 1_100_000
"""35 MB: two are merged in slices."""
INT4, INT8 = 0.14, 0.27
"""Of a model's bytes, at most."""
CODED = ("--transfer", "int4", "--transfer-back", "int8")


@pytest.fixture
def swarm(processes: Processes, tmp_path: Path) -> Swarm:
    names = ["SN-1", "SL-1", "SL-2", "SL-3", "SWCI-1"]
    return Swarm(processes, tmp_path, make_workspace(tmp_path / "cert", names))


def created(swarm: Swarm, size: int, *options: str) -> list[str]:
    """Starts the SN, creates the contract, and returns the options of a script."""
    swarm.start_sn()
    Operator(swarm).does("contract", "create", CONTRACT, *options)
    return ["--contract", CONTRACT, "--size", str(size)]


def received(swarm: Swarm, index: int) -> int:
    """Bytes of models and changes that a site has fetched, as its diary has them."""
    found: dict[tuple[str, int], int] = {}
    for record in diary(swarm, index):
        for span in record.spans:
            if span.what == "fetch":
                key = span.uid, record.begun_ms + span.begin
                found[key] = max(found.get(key, 0), span.bytes)
    return sum(found.values())


def diary(swarm: Swarm, index: int) -> Iterator[RoundTimes]:
    lines = (swarm.directory / f"sl-{index}" / "rounds.jsonl").read_bytes().splitlines()
    yield from (msgspec.json.decode(line, type=RoundTimes) for line in lines)


def changes(swarm: Swarm, run: int = 1) -> dict[int, str]:
    """By round that has changed the model, the coded change that its merge is."""
    chains = (step.chain for step in steps(read_chain_file(swarm.directory / "sn" / "chain.sqlite")))
    states = (swarm.training(chain, CONTRACT) for chain in chains)
    results = ((state.result, state.change) for state in states if state.run == run)
    return {one.closed.number: change for one, change in results if one and one.digest != one.closed.base}


def is_awaited_again(state: Training, uid: str) -> bool:
    return uid in state.members and state.members[uid].incarnation == 2 and state.members[uid].awaited


def test_a_site_receives_a_quarter_of_what_was_merged_also_with_an_outer_step(swarm: Swarm) -> None:
    rounds, model = 6, 32 * SMALL
    ml = [*created(swarm, SMALL, *CODED), "--rounds", str(rounds), "--outer", "nesterov"]
    assert_complete([swarm.start_sl(index, *ml) for index in (1, 2, 3)])
    made = changes(swarm)
    assert not made.pop(0)  # it has no base
    assert sorted(made) == [*range(1, rounds)]
    assert len({*made.values()} - {""}) == len(made)
    # In each round a leader takes in two models, and gives out two.
    at_most = 4 + (rounds - 1) * (2 * INT4 + 2 * INT8)
    assert 4 < sum(received(swarm, index) for index in (1, 2, 3)) / model < at_most


def test_newcomers_and_sites_with_a_lost_disk_fetch_the_model(swarm: Swarm, gate: Gate) -> None:
    ml = [*created(swarm, SMALL, "--transfer-back", "int8"), "--min-peers", "2"]
    holds = ("--hold-at", "3", "--hold-at", "5", "--gate", str(gate.path))
    sites = [swarm.start_sl(index, *ml, "--rounds", "7", *holds) for index in (1, 2)]
    swarm.until(lambda state: state.rounds == 3, CONTRACT)
    late = swarm.start_sl(3, *ml, "--rounds", "4")
    uids = [site.ready["uid"] for site in (*sites, late)]
    swarm.until(lambda state: uids[2] in state.members and state.members[uids[2]].awaited, CONTRACT)
    gate.let(2)
    swarm.until(
        lambda state: state.rounds == 5 and state.result is not None and len(state.result.holders) == 3, CONTRACT
    )
    sites[1].kill()
    shutil.rmtree(swarm.directory / "sl-2" / "models")
    sites[1] = swarm.start_sl(2, *ml, "--rounds", "2")
    swarm.until(lambda state: is_awaited_again(state, uids[1]), CONTRACT)
    gate.let(1)
    assert_complete([*sites, late])
    made = changes(swarm)
    assert not made.pop(0)
    assert len({*made.values()} - {""}) == len(made) >= 6


def test_a_newcomer_fetches_the_model_where_others_have_slices_as_changes(swarm: Swarm, gate: Gate) -> None:
    ml = [*created(swarm, PAIR, "--transfer-back", "int8"), "--min-peers", "2"]
    holds = ("--hold-at", "2", "--gate", str(gate.path))
    sites = [swarm.start_sl(index, *ml, "--rounds", "3", *holds) for index in (1, 2)]
    swarm.until(lambda state: state.rounds == 1 and bool(state.slicings), CONTRACT)
    swarm.until(lambda state: state.rounds == 2, CONTRACT)
    late = swarm.start_sl(3, *ml, "--rounds", "1")
    uid = late.ready["uid"]
    swarm.until(lambda state: uid in state.members and state.members[uid].awaited, CONTRACT)
    gate.let(2)
    assert_complete([*sites, late])


FAULTY = """
from swarmlearning.ledger.bodies import Exclusion
from swarmlearning.sl import merging

honest = merging.merge_round

async def merge(task, training, *more):
    if task.round == 2 and not training.round.barred:
        unusable = [Exclusion(one.uid, "non-finite", "layer.weight") for one in task.submissions]
        return merging._without_result(task, "mean", tuple(unusable))
    return await honest(task, training, *more)

merging.merge_round = merge
"""


def test_neither_a_round_whose_models_are_all_left_out_nor_a_former_run_is_in_what_comes_back(
    swarm: Swarm, tmp_path: Path
) -> None:
    """Whoever merges round 2 first finds all models unusable, so it is merged by the next leader. The same scripts come
    to the same model in the next run, as nothing that coding has left out in the first one counts there."""
    faulty, rounds = tmp_path / "faulty", 5  # the last one is of what the scripts close with
    faulty.mkdir()
    (faulty / "sitecustomize.py").write_text(FAULTY)
    ml = [*created(swarm, SMALL, *CODED), "--rounds", str(rounds - 1)]
    first = [swarm.start_sl(index, *ml, environment={"PYTHONPATH": str(faulty)}) for index in (1, 2, 3)]
    assert_complete(first)
    state = swarm.training(swarm.chain(), CONTRACT)
    assert state.result is not None
    assert (state.rounds, len(state.result.receipt.contributions)) == (rounds, 3)
    assert sum("reports the model of this site as unusable" in site.output for site in first) == 3
    Operator(swarm).does("contract", "reset", CONTRACT)
    second = [swarm.start_sl(index, *ml) for index in (1, 2, 3)]
    assert [site.wait() for site in second] == [0, 0, 0]
    ended = [line for site in second for line in site.output.splitlines() if line.startswith("DIGEST ")]
    assert (len(ended), len(set(ended))) == (6, 1), "each site in each run"
    state = swarm.training(swarm.chain(), CONTRACT)
    assert (state.run, state.rounds) == (2, rounds)
    made = changes(swarm, run=2)
    assert not made.pop(0)
    assert sorted(made) == [*range(1, rounds)]
    assert "" not in made.values()


UNREACHED = """
from swarmlearning.rounds.linking import Linking
from swarmlearning.sl.slices import SliceWork
from swarmlearning.sl.unusable import Unusable

honest = SliceWork._get

async def get(self, one, info, chunks, task):
    if task.recipe.round == 1:
        return Unusable(one.uid, "unreachable", "not-held")
    return await honest(self, one, info, chunks, task)

SliceWork._get = get
Linking.measured = lambda self, link: None  # one leader is never tried where no link is known, however slow slices are
"""


def test_a_round_that_cannot_be_merged_in_slices_comes_back_as_the_change_of_one_leader(
    swarm: Swarm, tmp_path: Path
) -> None:
    faulty = tmp_path / "faulty"
    faulty.mkdir()
    (faulty / "sitecustomize.py").write_text(UNREACHED)
    ml = [*created(swarm, LARGE, *CODED), "--rounds", "2"]
    sites = [swarm.start_sl(index, *ml, environment={"PYTHONPATH": str(faulty)}) for index in (1, 2, 3)]
    swarm.until(
        lambda state: state.round is not None and state.round.number == 1 and bool(state.round.unreachable), CONTRACT
    )
    assert_complete(sites)
    made = changes(swarm)
    assert not made[0]
    assert made[1]


LIAR = """
from swarmlearning.sl import merging

honest = merging.code_model

def lie(coding, base, merged, change, on_read):
    kept = honest(coding, base, merged, change, on_read)
    with merged.open("r+b") as file:
        file.seek(coding.header.data_start + 4096)
        file.write(bytes(256))
    return kept

merging.code_model = lie
"""
SPOILER = """
from swarmlearning.models.store import TensorStore

honest = TensorStore.commit

def spoil(self, path, info):
    kept = honest(self, path, info)
    if info.lengths:
        with kept.open("r+b") as file:
            file.seek(-1, 2)
            last = file.read(1)[0]
            file.seek(-1, 2)
            file.write(bytes([last ^ 1]))
    return kept

TensorStore.commit = spoil
"""


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (LIAR, "with the base it gives a model other than that on the ledger"),
        (SPOILER, "sent wrong bytes, chunk"),
    ],
    ids=["codes another model", "serves other bytes"],
)
def test_where_a_leader_and_its_change_cannot_be_believed_the_model_is_fetched(
    swarm: Swarm, tmp_path: Path, code: str, why: str
) -> None:
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    (hostile / "sitecustomize.py").write_text(code)
    ml = [*created(swarm, SMALL, "--transfer-back", "int8"), "--rounds", "4"]
    sites = [swarm.start_sl(index, *ml) for index in (1, 2)]
    liar = swarm.start_sl(3, *ml, environment={"PYTHONPATH": str(hostile)})
    assert_complete([*sites, liar])
    assert why in "".join(site.output for site in sites)


def trained(folder: Path, environment: dict[str, str], *options: str) -> tuple[str, Swarm]:
    """The digest of a training's model of `LARGE` size, with all that makes bytes fewer."""
    folder.mkdir()
    with Processes(folder) as processes:
        names = ["SN-1", "SL-1", "SL-2", "SL-3", "SWCI-1"]
        swarm = Swarm(processes, folder, make_workspace(folder / "cert", names))
        ml = [*created(swarm, LARGE, *CODED), "--outer", "nesterov", *options]
        sites = [swarm.start_sl(index, *ml, environment=environment) for index in (1, 2, 3)]
        assert_complete(sites)
        return digest(sites[0]), swarm


def test_who_merges_changes_nothing_and_slices_travel_back_in_a_quarter_of_the_bytes(tmp_path: Path) -> None:
    rounds, model = 3, 32 * LARGE
    alone, one_leader = trained(tmp_path / "leader", {"SL_SLICES": "never"}, "--rounds", str(rounds))
    together, swarm = trained(tmp_path / "slices", {}, "--rounds", str(rounds))
    assert together == alone
    assert "" not in [change for number, change in changes(one_leader).items() if number]
    assert changes(swarm)[1] == ""  # it is its slices that have names
    # Of each slice the merger takes in two models, and gives out two.
    at_most = 4 + (rounds - 1) * (2 * INT4 + 2 * INT8)
    assert sum(received(swarm, index) for index in (1, 2, 3)) / model < at_most
