"""`swarm experiment` by real processes: runs are listed, annotated, tagged, hidden and exported, past ones too."""

import csv
import json
from pathlib import Path

from support.certs import make_workspace
from support.ml import CONTRACT
from support.operating import Operator
from support.processes import Processes
from support.swarm import Swarm, assert_complete

RUN = f"{CONTRACT}/1"


def test_an_organisation_s_notes_about_a_run_are_on_the_ledger_and_in_its_lists(
    processes: Processes, tmp_path: Path
) -> None:
    swarm = Swarm(processes, tmp_path, make_workspace(tmp_path / "cert", ["SN-1", "SL-1", "SL-2", "SWCI-1"]))
    assert swarm.start_sn().ready
    operator = Operator(swarm)
    assert "no run" in operator.fails("experiment", "export", tmp_path / "none.csv", "--run", RUN)
    assert_complete(swarm.start_sites("--rounds", "2", "--min-peers", "2", count=2))
    assert f"run {RUN} is noted (block" in operator.does("experiment", "annotate", RUN, "the pilot\nof two sites")
    operator.does("experiment", "tag", RUN, "--add", "pilot", "--add", "2026")
    [found] = json.loads(operator.does("experiment", "list", "--json"))
    assert (found["id"], found["state"], found["rounds"], len(found["sites"])) == (RUN, "over", 3, 2)
    assert (found["tags"], found["notes"][0]["lines"]) == (["2026", "pilot"], ["the pilot", "of two sites"])
    assert "hidden from your organisation's lists" in operator.does("experiment", "hide", RUN)
    assert json.loads(operator.does("experiment", "list", "--json")) == []
    assert RUN in operator.does("experiment", "list", "--all")
    assert "1 runs are written to" in operator.does("experiment", "export", tmp_path / "runs.csv")
    [row] = csv.DictReader((tmp_path / "runs.csv").read_text().splitlines())
    assert (row["run"], row["state"], row["tags"]) == ("1", "over", "2026, pilot")
    operator.does("experiment", "export", tmp_path / "runs.json", "--run", RUN)
    [whole] = json.loads((tmp_path / "runs.json").read_text())
    assert len(whole["charts"]["matrix"]["cells"][0]) == 3
    assert "ends with .csv or .json" in operator.fails("experiment", "export", tmp_path / "runs.xlsx")
