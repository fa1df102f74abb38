"""The demo: what it finds wrong, and the whole of it once, as the README begins with it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.examples import imports, stated_bar
from support.forking import NODES
from support.processes import COMMAND, script_interpreter
from swarmlearning.cli import demo
from swarmlearning.cli.report import Report
from swarmlearning.cli.runfolder import RunFolder
from swarmlearning.supervise.processes import RunError

SITES = ["site-1", "site-2", "site-3"]
MODEL = "a" * 64


def a_report(**changes: Any) -> Report:
    report = Report(
        status="complete: 9/9 rounds with 3/3",
        over=True,
        sites=[{"name": site, "samples": 100, "alone_accuracy": 0.7} for site in SITES],
        swarm_accuracy=0.9,
        pooled_accuracy=0.91,
        model=MODEL,
        digests=dict.fromkeys(SITES, MODEL),
        rounds=[],
        ledger_verified=True,
        wall_seconds=20.0,
    )
    return msgspec.structs.replace(report, **changes)


def test_a_demo_that_keeps_its_promises_has_no_failures() -> None:
    assert demo.failures(a_report()) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"digests": {"site-1": MODEL, "site-2": "b" * 64, "site-3": MODEL}}, "site-2 bbbb"),
        ({"digests": {"site-1": MODEL, "site-2": MODEL, "site-3": None}}, "site-3 none"),
        ({"digests": dict.fromkeys(SITES, "b" * 64)}, f"do not hold the ledger's final model {MODEL}"),
        ({"ledger_verified": False, "status": "the ledger does not verify (…)"}, "the ledger does not verify"),
        ({"over": False, "status": "not over: 3/3"}, "not over"),
        ({"swarm_accuracy": 0.7}, "the swarm reached 0.700, the best single site 0.700"),
        ({"swarm_accuracy": None}, "an accuracy is missing"),
    ],
)
def test_every_broken_promise_of_the_demo_is_named(changes: dict[str, Any], text: str) -> None:
    (found,) = demo.failures(a_report(**changes))
    assert text in found


def test_comparisons_come_from_the_runs_without_a_swarm(tmp_path: Path) -> None:
    def write(root: Path, site: str, accuracy: float) -> None:
        RunFolder(root).site(site).mkdir(parents=True)
        (RunFolder(root).site(site) / "metrics.json").write_text(json.dumps({"accuracy": accuracy}))

    for number, site in enumerate(SITES):
        write(tmp_path / "alone", site, 0.5 + number / 10)
    write(tmp_path / "pooled", "pooled", 0.95)
    found = demo.compared(a_report(pooled_accuracy=None), RunFolder(tmp_path))
    assert [site["alone_accuracy"] for site in found.sites] == [0.5, 0.6, 0.7]
    assert found.pooled_accuracy == 0.95


def test_a_demo_without_the_examples_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "SCRIPT", tmp_path / "train.py")
    with pytest.raises(RunError, match="Clone the project and run `make demo` in it"):
        demo._check_installation()


def test_a_real_demo_keeps_its_promises(tmp_path: Path) -> None:
    with script_interpreter(tmp_path, f"{NODES}\n{imports('digits')}", {}) as python:
        shown = subprocess.run(
            [python, *COMMAND[1:], "demo", "--runs-dir", tmp_path / "runs", "--no-live"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    assert shown.returncode == 0, shown.stdout
    assert "ledger verified" in shown.stdout
    report = json.loads((tmp_path / "runs" / "latest" / "report.json").read_text())
    assert set(report["digests"]) == set(SITES)
    assert set(report["digests"].values()) == {report["model"]}
    assert report["ledger_verified"] is True
    assert len({site["samples"] for site in report["sites"]}) == 3
    best = max(site["alone_accuracy"] for site in report["sites"])
    assert report["swarm_accuracy"] >= best + 0.05
    assert report["swarm_accuracy"] >= report["pooled_accuracy"] - 0.03
    assert report["swarm_accuracy"] >= stated_bar("digits")
    assert [each["contributors"] for each in report["rounds"]] == [SITES] * len(report["rounds"])
