"""Sites check a round together that they have merged in slices: real processes, and the command of docs/merging.md."""

from pathlib import Path

from support.processes import COMMAND, Process
from support.swarm import Gate, Swarm
from swarmlearning.ledger.contracts.training.checking import is_open
from swarmlearning.ledger.contracts.training.majorities import all_hold
from swarmlearning.ledger.contracts.training.state import Training

MODEL = ("--size", "720000", "--rounds", "2", "--hold-at", "1")
"""23 MB: three of them are 64 MiB, which are merged in slices."""

LYING = """
from swarmlearning.sl.slices import SliceWork

honest = SliceWork._write

def lie(self, task, info, chunks, parts, on_read):
    honest(self, task, info, chunks, parts, on_read)
    with parts.path.open("r+b") as file:
        file.seek(info.layout.bounds(chunks[-1])[0])
        file.write(bytes(4))

SliceWork._write = lie
"""


def verify(swarm: Swarm, index: int, *flags: str) -> Process:
    """Runs the command beside SL number `index`."""
    folder = swarm.directory / f"sl-{index}"
    return swarm.processes.start(f"verify-{index}", *COMMAND, "verify-round", "--data-dir", folder, *flags)


def stands(state: Training) -> bool:
    """True once all have the result of round 0, and wait at the gate."""
    return state.result is not None and all_hold(state)


def test_sites_that_check_a_round_find_it_right_and_see_how_much_of_it_has_been_checked(
    swarm: Swarm, gate: Gate
) -> None:
    swarm.start_sn()
    for index in (1, 2, 3):
        swarm.start_sl(index, *MODEL, "--gate", str(gate.path))
    swarm.until(lambda state: state.round is not None)
    waits = verify(swarm, 2, "--next")
    swarm.until(stands)
    assert waits.wait() == 0, waits.output
    assert "are right: 33 % of round 0\nIn all 33 % of round 0 have been checked, by 1 member, and" in waits.output
    assert "2 members have not checked theirs" in waits.output
    checks = verify(swarm, 1)
    assert checks.wait() == 0, checks.output
    assert "In all 67 % of round 0 have been checked, by 2 members, and all of that is right; 1 member" in checks.output
    gate.let(3)
    swarm.until(lambda state: state.checks is not None and not is_open(state))
    late = verify(swarm, 3)
    assert late.wait() == 1
    assert "be checked: " in late.output


def test_a_merger_that_lies_is_found_by_name(swarm: Swarm, gate: Gate, tmp_path: Path) -> None:
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    (hostile / "sitecustomize.py").write_text(LYING)
    swarm.start_sn()
    for index in (1, 2):
        swarm.start_sl(index, *MODEL, "--gate", str(gate.path))
    swarm.start_sl(3, *MODEL, "--gate", str(gate.path), environment={"PYTHONPATH": str(hostile)})
    swarm.until(stands)
    found = [verify(swarm, index) for index in (1, 2)]
    assert 3 in [each.wait() for each in found], "no part of either had a slice of site-3"
    wrong = next(each.output for each in found if each.wait() == 3)
    assert ", merged by site-3, has other bytes than the sites' models give, as site-" in wrong
    assert "merged by site-1" not in wrong
    assert "merged by site-2" not in wrong
