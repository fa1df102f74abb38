"""Sites give coded changes in place of models: real processes, one of them killed in the middle."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from support.certs import make_workspace
from support.operating import Operator
from support.processes import Processes
from support.swarm import Gate, Swarm, assert_complete, has_models
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.history import steps
from swarmlearning.ordering.local import read_chain_file
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


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Gate]:
    """Where a hostile site says that the ledger has refused what it has submitted."""
    made = Gate(tmp_path / "told")
    yield made
    made.close()


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
from swarmlearning.ledger.bodies import Submit
from swarmlearning.ledger.codes import Code
from swarmlearning.merge.coding import scales_before
from swarmlearning.rounds import contributing
from swarmlearning.sl import submitting
from swarmlearning.sl.changes import Changes
from swarmlearning.tensors.digest import Layout, digest_laid_out

kinds, honest = KINDS, Changes.make

def lie(self, task, model, norm=None):
    made = honest(self, task, model, norm)
    coding = self.codings.of(task.transfer, self._store.digest_info(task.base))
    piece, layout = next(each for each in coding.pieces if each.is_coded), coding.layout(task.base)
    content = made.path.read_bytes()
    what, value = kinds[task.round - 1]
    at = piece.at + (scales_before(piece.values) if what == "code" else 0)
    if what == "longer":
        lengths = *layout.lengths[:-1], layout.lengths[-1] + value
        layout = Layout(layout.size + value, layout.header, lengths, layout.base)
        made.path.write_bytes(content + bytes(value))
    elif what == "of":
        layout = coding.layout(value)
    elif what != "base":
        given = value.to_bytes(2, "little")
        made.path.write_bytes(content[:at] + given + content[at + 2 :])
    return made._replace(info=digest_laid_out(made.path, layout))

def submit(number, base, *more):
    return Submit(number, "f" * 64 if number == len(kinds) else base, *more)

def refused(code):
    if code == Code.STALE_BASE:
        open(TOLD, "wb", 0).write(b".")
    return False

Changes.make, contributing.Submit, submitting.is_transient = lie, submit, refused
"""
LIES = (
    (("scale", 0x7E96), "non-finite: layer.weight"),  # 1e38: what it stands for overflows
    (("longer", 8), "structure: its file is not laid out like those that this round merges"),
    (("of", "e" * 64), "structure: it is a change of model eeeeeeeeeeeeeeee, and the base of this round is "),
    (("scale", 0xBF80), "malformed: 'layer.weight', block of values from 0: the scale is negative"),
    (("code", 0x8888), "malformed: 'layer.weight', block of values from 0: the code -8 is no code"),
    (("scale", 0x0000), "block of values from 0: the scale is 0, and codes under it are not"),
    (("scale", 0x7F80), "block of values from 0: the scale is no finite number"),
    (("scale", 0x7FC1), "block of values from 0: the scale is no finite number"),
    (("scale", 0x7FC0), "non-finite: 'layer.weight', block of values from 0: its values are not finite, or too large"),
    (("scale", 0x0001), "block of values from 0: the scale is subnormal"),
)
"""What a hostile site gives, a kind a round, and why it is left out."""
BASE = ("base", 0)
"""The last one: it names a base that nobody has."""


@pytest.mark.parametrize(("size", "lies"), [(SMALL, LIES), (LARGE, LIES[:4])], ids=["one leader", "in slices"])
def test_whatever_a_hostile_site_gives_it_is_left_out_by_name_and_the_others_go_on(
    swarm: Swarm, gate: Gate, told: Gate, tmp_path: Path, size: int, lies: Sequence[tuple[tuple[str, int | str], str]]
) -> None:
    hostile, kinds = tmp_path / "hostile", [kind for kind, _ in lies]
    hostile.mkdir()
    code = HOSTILE.replace("KINDS", repr([*kinds, BASE])).replace("TOLD", repr(str(told.path)))
    (hostile / "sitecustomize.py").write_text(code)
    swarm.start_sn()
    Operator(swarm).does("contract", "create", CONTRACT, "--transfer", "int4")
    rounds = len(lies) + 2
    ml = ["--rounds", str(rounds), "--contract", CONTRACT, "--size", str(size), "--min-peers", "2"]
    waiting = [word for number in range(rounds) for word in ("--hold-at", str(number))]
    sites = [swarm.start_sl(index, *ml, *waiting, "--gate", str(gate.path)) for index in (1, 2)]
    liar = swarm.start_sl(3, *ml, environment={"PYTHONPATH": str(hostile)})
    uid = liar.ready["uid"]
    swarm.until(lambda state: len(state.members) == 3, CONTRACT)
    for number in range(rounds - 1):
        swarm.until(partial(has_model_of, uid, number), CONTRACT)
        gate.let(2)
    told.wait()  # the ledger has refused the last one
    liar.kill()
    gate.let(2)
    assert_complete(sites)
    left_out, in_slices = exclusions(swarm)
    assert {each for found in left_out.values() for each, _ in found} == {uid}
    for number, (_, why) in enumerate(lies, 1):
        assert any(why in text for _, text in left_out[number]), (number, left_out[number])
    assert in_slices == (size == LARGE)


def has_model_of(uid: str, number: int, state: Training) -> bool:
    return state.round is not None and state.round.number == number and uid in state.round.submissions


def exclusions(swarm: Swarm) -> tuple[dict[int, set[tuple[str, str]]], bool]:
    """By round, whom members have left out, and why; and whether a round was merged in slices."""
    found, in_slices = defaultdict[int, set[tuple[str, str]]](set), False
    for step in steps(read_chain_file(swarm.directory / "sn" / "chain.sqlite")):
        state = swarm.training(step.chain, CONTRACT)
        in_slices = in_slices or bool(state.slicings)
        if state.round:
            found[state.round.number] |= {(uid, bar.why) for uid, bar in state.round.barred.items()}
        if state.result:
            excluded = state.result.receipt.exclusions
            found[state.result.closed.number] |= {(each.uid, each.why) for each in excluded}
    return found, in_slices


def assert_all_merged(state: Training, uids: dict[int, str]) -> None:
    assert state.result is not None
    receipt = state.result.receipt
    assert {part.uid for part in receipt.contributions} == set(uids.values())
    assert receipt.exclusions == ()
