"""`swarm chaos` for real: leaders killed and frozen in every phase of a round."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.processes import COMMAND
from swarmlearning.ledger.history import RoundRecord, rounds, steps
from swarmlearning.ordering.local import read_chain_file
from swarmlearning.views.nodes import sl_names

SECONDS = 800.0
"""A machine under heavy load included; a minute otherwise."""
ALL_PHASES = ["collecting", "merging", "publishing", "distributing"]


@dataclass
class Outcome:
    """The output of `swarm chaos`, each fault, each round, and the names of the sites by UID."""

    report: dict[str, Any]
    faults: list[dict[str, Any]]
    rounds: dict[int, RoundRecord]
    names: dict[str, str]


def run(directory: Path, sites: int, **plan: object) -> Outcome:
    """Runs a plan with the script that comes with the command; it ends well."""
    file = directory / "plan.json"
    file.write_text(json.dumps({"name": "tested", **plan}))
    options: list[str | Path] = ["--plan", file, "-n", str(sites), "--json", "--model-mb", "4", "--runs-dir"]
    command = [*COMMAND, "chaos", *options, directory / "runs"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = done.stdout.splitlines()
    folder = directory / "runs" / "latest"
    walked = list(steps(read_chain_file(folder / "sn" / "chain.sqlite")))
    return Outcome(
        report=json.loads(line),
        faults=json.loads((folder / "faults.json").read_text()),
        rounds={record.number: record for record in rounds(walked)},
        names=sl_names(walked[-1].chain.world),
    )


def recipe(fault: str, phases: Sequence[str], seconds: tuple[float, float]) -> dict[str, object]:
    return {"fault": fault, "target": "leader", "phases": phases, "seconds": seconds}


def assert_survived(outcome: Outcome, faults: int) -> None:
    """All faults have happened, and all is well."""
    report = outcome.report
    assert (report["plan"], report["seed"], report["faults"]) == ("tested", 1, faults)
    assert (report["digests_equal"], report["ledger_verified"]) == (True, True)
    assert report["rounds"] == len(outcome.rounds) == max(outcome.rounds) + 1
    assert 0 < report["recovery_s"]["median"] <= report["recovery_s"]["max"]
    assert set(report["participation"]) == set(outcome.names.values())
    for struck in outcome.faults[:-1]:  # after the last one training ends as soon as all are there again
        later = [record for number, record in outcome.rounds.items() if number > struck["round"] + 1]
        contributors = {outcome.names[uid] for record in later for uid in record.contributed}
        assert struck["site"] in contributors, "it never came back"


def test_a_training_survives_leaders_killed_in_all_phases(tmp_path: Path) -> None:
    """Some are started again before their lease is over, some after. `make nightly` kills a hundred."""
    killed = recipe("kill", ALL_PHASES, (0.0, 3.0))
    outcome = run(tmp_path, 3, faults=6, pause_rounds=[1, 1], recipes=[killed])
    assert_survived(outcome, 6)
    assert {struck["fault"]["phase"] for struck in outcome.faults} == set(ALL_PHASES)


def test_leaders_frozen_in_all_phases_return_as_ordinary_nodes(tmp_path: Path) -> None:
    """A leader that wakes up in the middle of its work publishes nothing any more: another has."""
    frozen = recipe("freeze", ALL_PHASES, (3.5, 4.0))
    outcome = run(tmp_path, 3, faults=4, pause_rounds=[1, 1], recipes=[frozen])
    assert_survived(outcome, 4)
    for struck in outcome.faults:
        if struck["fault"]["phase"] in ("collecting", "merging"):
            record = outcome.rounds[struck["round"]]
            assert record.term > 0
            assert outcome.names[record.leader] != struck["site"]
