"""A site with a privacy lock among others, with real processes: what it gives, what that costs, and what it refuses."""

import asyncio
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from dp_accounting import NeighboringRelation
from dp_accounting.dp_event import GaussianDpEvent
from dp_accounting.pld import PLDAccountant

from support.local_sn import fetch
from support.processes import COMMAND, Process
from support.swarm import Gate, Swarm, assert_complete, has_models, identity_options
from swarmlearning.ledger.bodies import Privacy
from swarmlearning.ledger.contracts.training.state import Result, Training
from swarmlearning.ledger.contracts.training.submissions import NO_MODEL, Submission
from swarmlearning.ledger.history import steps
from swarmlearning.ordering.local import read_chain_file
from swarmlearning.sl.lockmemory import FILE
from swarmlearning.tensors.file import Array, read

NORM = 3.0
CLIPPED = f"norm: {NORM}\ncontributors: 3\n"
NOISY = f"""norm: {NORM}
noise: 2
epsilon: 4
delta: 1e-5
protects: whole-change-per-round
outside: losses-metrics-weights
"""


def policy_file(folder: Path, text: str) -> Path:
    path = folder / "privacy.yaml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def start(swarm: Swarm, policy: Path, gate: Gate, *own: str, rounds: str = "3") -> list[Process]:
    """Site 1 with this policy, and two others that wait at the gate before their second model."""
    swarm.start_sn()
    others = ("--rounds", rounds, "--hold-at", "1", "--gate", str(gate.path))
    locked = swarm.start_sl(1, "--rounds", rounds, *own, privacy_policy=policy)
    return [locked, *(swarm.start_sl(index, *others) for index in (2, 3))]


def entry_of(training: Training, round_number: int) -> Submission:
    """What the locked site has submitted to this round."""
    current = training.round
    assert current is not None
    assert current.number == round_number
    (own,) = (entry for entry in current.submissions.values() if entry.privacy is not None)
    return own


def model(swarm: Swarm, digest: str) -> dict[str, Array]:
    return read(swarm.directory / "sl-1" / "models" / f"{digest}.safetensors")


def length(given: dict[str, Array], base: dict[str, Array]) -> float:
    """The L2 norm of the change over all floats."""
    changes = [given[name].astype(np.float64) - base[name] for name in given if given[name].dtype.kind == "f"]
    return math.sqrt(math.fsum(float(value) ** 2 for change in changes for value in change.flat))


def statements(swarm: Swarm) -> list[Submission]:
    """All that the locked site has submitted, in order."""
    found: dict[tuple[int, str], Submission] = {}
    for step in steps(read_chain_file(swarm.directory / "sn" / "chain.sqlite")):
        training = swarm.training(step.chain)
        for entry in training.round.submissions.values() if training.round else ():
            if entry.privacy is not None:
                assert training.round is not None
                found.setdefault((training.round.number, entry.digest), entry)
    return list(found.values())


def results(swarm: Swarm) -> list[Result]:
    """All results that stood."""
    found = {}
    for step in steps(read_chain_file(swarm.directory / "sn" / "chain.sqlite")):
        result = swarm.training(step.chain).result
        if result is not None:
            found[result.closed.number] = result
    return list(found.values())


def handed_over(swarm: Swarm) -> set[str]:
    """The digests of what the script of the locked site has handed over, as its lock remembers them."""
    known = json.loads((swarm.directory / "sl-1" / FILE).read_text())
    return {done["release"]["digest"] for each in known["released"].values() for done in each}


def test_what_a_script_hands_over_is_clipped_however_long_it_is(swarm: Swarm, gate: Gate, tmp_path: Path) -> None:
    sites = start(swarm, policy_file(tmp_path, CLIPPED), gate)
    first = swarm.until(lambda state: state.rounds == 1)
    assert first.result is not None
    training = swarm.until(has_models(1, 1))
    entry = entry_of(training, 1)
    assert entry.privacy == Privacy(NORM, contributors=3)
    assert training.round is not None
    base = model(swarm, training.round.base)
    given = model(swarm, entry.digest)
    assert NORM * 0.999 < length(given, base) <= NORM  # the script has changed it by about 700
    assert given["steps"] == base["steps"]
    for index in (1, 2, 3):  # one of them leads: nobody gets it before the contributors are fixed
        path = f"/models/{entry.digest}"
        status, _, _ = asyncio.run(fetch(sites[0].ready["fs"], swarm.identities[f"SL-{index}"], path))
        assert status == 403
    gate.let(2)
    assert_complete(sites)
    found = statements(swarm)
    assert (found[0].kind, found[0].digest, found[0].weight) == ("withheld", NO_MODEL, 0)
    assert found[0].privacy == Privacy(NORM, contributors=3, withheld="no-base")
    assert {entry.kind for entry in found[1:]} <= {"trained", "carried", "snapshot"}
    assert {part.reason for round_ in results(swarm) for part in round_.receipt.exclusions} == set()
    assert "whole change of a round is clipped to L2 norm 3" in sites[0].output
    assert "initialModels: [" in sites[0].output


def test_a_site_at_its_budget_gives_nothing_more_and_the_others_go_on(swarm: Swarm, gate: Gate, tmp_path: Path) -> None:
    policy = policy_file(tmp_path, NOISY)
    swarm.start_sn()
    others = ("--rounds", "4", "--hold-at", "1", "--gate", str(gate.path))
    sites = [swarm.start_sl(index, *others) for index in (2, 3)]
    locked = swarm.start_sl(1, privacy_policy=policy)
    script = swarm.train(1, locked, "--rounds", "4")
    before = entry_of(swarm.until(has_models(1, 1)), 1)
    record = policy.with_name("privacy.yaml.given.jsonl")
    assert len(record.read_text().splitlines()) == 1
    kept = shutil.copy(swarm.directory / "sl-1" / "models" / f"{before.digest}.safetensors", tmp_path / "kept")
    locked.kill()
    locked = swarm.start_sl(1, privacy_policy=policy)
    gate.let(2)
    assert_complete([*sites, script])
    assert locked.wait() == 0
    assert "The privacy budget of this site is spent" in locked.output
    found = [entry for entry in statements(swarm) if entry.privacy]
    given = [entry for entry in found if entry.kind != "withheld"]
    assert given[0] == before
    assert len(given) == len(record.read_text().splitlines())
    accountant = PLDAccountant(NeighboringRelation.REPLACE_SPECIAL)
    for number, entry in enumerate(given, 1):
        assert entry.privacy is not None
        accountant.compose(GaussianDpEvent(2.0))
        assert entry.privacy.epsilon == pytest.approx(accountant.get_epsilon(1e-5), rel=1e-3)
        assert (entry.privacy.releases, entry.privacy.noise, entry.privacy.delta) == (number, 2.0, 1e-5)
        assert entry.privacy.epsilon <= 4
    assert found[-1].privacy is not None
    assert (found[-1].kind, found[-1].privacy.withheld) == ("withheld", "budget")
    assert "the privacy lock gives no model (budget)" in locked.output
    handed = handed_over(swarm)
    assert handed
    ledger = (swarm.directory / "sn" / "chain.sqlite").read_bytes()
    for digest in handed:  # a figure of the change before the noise
        for shown in (digest[:16], digest[:12]):
            assert shown not in locked.output
            assert shown.encode() not in ledger
            assert shown not in record.read_text()
    assert_proved(swarm, 1, Path(kept))


def assert_proved(swarm: Swarm, number: int, model: Path) -> None:
    """The site proves from an SN's ledger which model it gave to a round; whoever has a chain file verifies that."""
    identity = identity_options(swarm.identities["SL-1"]).items()
    where = ["--sn-ip", "127.0.0.1", "--sn-api-port", str(swarm.port)]
    words = [str(word) for name, value in identity for word in (f"--{name}", value)]
    proof = swarm.directory / "proof.json"
    ledger = ["--data-dir", str(swarm.directory / "sn")]
    options = {"prove": ["--round", str(number), *where, *words], "verify": ["--model", str(model), *ledger]}
    for name in options:
        done = swarm.processes.start(name, *COMMAND, "privacy", name, proof, *options[name])
        assert done.wait() == 0, done.output
    assert f"{model} is the model that it gave" in done.output
    assert "with noise of it: ε = " in done.output
