"""Sites give coded changes in place of models: real processes, one of them killed in the middle."""

from pathlib import Path

import pytest

from support.certs import make_workspace
from support.operating import Operator
from support.processes import Processes
from support.swarm import Gate, Swarm, assert_complete, has_models
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.tensors.digest import ModelDigest

CONTRACT = "coded"
ROUNDS = 4
SMALL, LARGE = 20_000, 720_000
"""Rows of 8 values: 640 KB, merged by one leader; and 23 MB, of which three are merged in slices."""
SHARE = {"int4": 0.14, "int8": 0.27}
"""Of a model's bytes, at most."""


def files(swarm: Swarm, digests: set[str]) -> list[ModelDigest]:
    """The chunk lists of these models and changes that some site still has."""
    paths = [path for index in (1, 2, 3) for path in (swarm.directory / f"sl-{index}").rglob("*.chunks")]
    return [ModelDigest.from_bytes(path.read_bytes()) for path in paths if path.stem in digests]


@pytest.fixture
def swarm(processes: Processes, tmp_path: Path) -> Swarm:
    names = ["SN-1", "SL-1", "SL-2", "SL-3", "SWCI-1"]
    return Swarm(processes, tmp_path, make_workspace(tmp_path / "cert", names))


@pytest.mark.parametrize(("size", "transfer"), [(SMALL, "int4"), (LARGE, "int8")])
def test_sites_that_give_coded_changes_end_with_the_same_model_also_one_that_was_killed(
    swarm: Swarm, gate: Gate, size: int, transfer: str
) -> None:
    swarm.start_sn()
    Operator(swarm).does("contract", "create", CONTRACT, "--transfer", transfer)
    ml = ("--rounds", str(ROUNDS), "--contract", CONTRACT, "--size", str(size))
    sls = {index: swarm.start_sl(index) for index in (1, 2, 3)}
    scripts = [swarm.train(index, sls[index], *ml) for index in (2, 3)]
    scripts.append(swarm.train(1, sls[1], *ml, "--gate", str(gate.path), "--hold-at", "3"))
    uids = {index: sl.ready["uid"] for index, sl in sls.items()}
    state = swarm.until(has_models(2, 3), CONTRACT)
    assert state.round is not None
    given = files(swarm, {one.digest for one in state.round.submissions.values()})
    assert len(given) >= 2
    assert all(info.layout.is_coded for info in given)
    assert all(info.size < SHARE[transfer] * 32 * size for info in given)
    sls[2].kill()
    swarm.start_sl(2)
    gate.let()
    assert_complete(scripts)
    state = swarm.training(swarm.chain(), CONTRACT)
    assert_all_merged(state, uids)
    assert len(list((swarm.directory / "sl-1" / "residuals").iterdir())) > 1


HOSTILE = """
from swarmlearning.merge import encoding

honest = encoding.encode

def lie(transfer, values):
    coded, stands_for = honest(transfer, values)
    coded[1] |= 0x80
    return coded, stands_for

encoding.encode = lie
"""


def test_a_site_whose_changes_are_not_coded_rightly_is_left_out_by_name_and_the_others_go_on(
    swarm: Swarm, gate: Gate, tmp_path: Path
) -> None:
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    (hostile / "sitecustomize.py").write_text(HOSTILE)
    swarm.start_sn()
    Operator(swarm).does("contract", "create", CONTRACT, "--transfer", "int8")
    ml = ("--rounds", "2", "--contract", CONTRACT, "--size", str(SMALL), "--min-peers", "2")
    waiting = ("--hold-at", "0", "--gate", str(gate.path))
    sites = [swarm.start_sl(index, *ml, *waiting) for index in (1, 2)]
    liar = swarm.start_sl(3, *ml, *waiting, environment={"PYTHONPATH": str(hostile)})
    swarm.until(lambda state: len(state.members) == 3, CONTRACT)
    gate.let(3)
    assert_complete([*sites, liar])  # it goes on with what the others have merged
    found = swarm.training(swarm.chain(), CONTRACT).result
    assert found is not None
    for one in found.receipt.exclusions:  # none where it was late
        assert (one.uid, one.reason) == (liar.ready["uid"], "malformed")
        assert "'layer.weight', block of values from 0: the scale is negative" in one.detail
    assert "was left out of the merge: malformed: 'layer.weight', block of values" in liar.output


def assert_all_merged(state: Training, uids: dict[int, str]) -> None:
    assert state.result is not None
    receipt = state.result.receipt
    assert {part.uid for part in receipt.contributions} == set(uids.values())
    assert receipt.exclusions == ()
