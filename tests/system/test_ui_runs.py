"""The pages Training and Experiments on a real swarm: what they show, what is noted through them, and who may."""

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.certs import make_workspace
from support.ml import CONTRACT
from support.operating import Operator
from support.processes import Processes
from support.swarm import Swarm, assert_complete
from support.ui import ADMIN, start_ui

RUN = f"{CONTRACT}/1"


@pytest.fixture
def swarm(processes: Processes, tmp_path: Path) -> Swarm:
    names = ["SN-1", "SL-1", "SL-2", "UI-1", "SWCI-1"]
    made = Swarm(processes, tmp_path, make_workspace(tmp_path / "cert", names))
    assert made.start_sn().ready
    return made


def until(holds: Callable[[], bool]) -> None:
    """Asks again and again, for minutes at most: the UI reads the ledger in its own time."""
    end = time.monotonic() + 150
    while not holds():
        assert time.monotonic() < end, "the UI does not show it"
        time.sleep(0.2)


def test_runs_are_shown_annotated_compared_and_saved_by_the_persons_of_the_ui(swarm: Swarm, tmp_path: Path) -> None:
    assert_complete(swarm.start_sites("--rounds", "2", "--min-peers", "2", count=2))
    ui = start_ui(swarm.processes, tmp_path / "ui", swarm.identities["UI-1"], swarm.address)
    with ui.admin() as ada:
        until(lambda: bool(ada.data("/experiments.json")["runs"]))
        [row] = ada.data("/training.json")["contracts"]
        assert (row["path"], row["state"]) == (CONTRACT, "COMPLETED")
        now = ada.data(f"/training/{CONTRACT}.json")
        assert (now["phase"], [each["activity"] for each in now["sites"]]) == ("over", ["done", "done"])
        assert "training is over" in ada.page(f"/training/{CONTRACT}").text
        assert ada.page("/training/none").status_code == 404
        assert ada.page("/experiments/none/1").status_code == 404
        ada.page(f"/experiments/{RUN}")
        assert ada.act("/experiments/annotate", run=RUN, text="the <b>pilot</b>\nof two").status_code == 303
        assert ada.act("/experiments/tag", run=RUN, add="pilot, 2026").status_code == 303
        found = ada.data(f"/experiments/{RUN}.json")
        summary = found["view"]["summary"]
        assert summary["tags"] == ["2026", "pilot"]
        assert [(each["lines"], each["by"]) for each in summary["notes"]] == [(["the <b>pilot</b>", "of two"], ADMIN)]
        shown = ada.page(f"/experiments/{RUN}").text
        assert "the &lt;b&gt;pilot&lt;/b&gt;" in shown
        assert f"swarm experiment tag {RUN} --add pilot --add 2026" in shown
        assert len(ada.data("/experiments/matrix", params={"run": RUN})["cells"]) == 2
        assert ada.data("/experiments/curves", params={"run": RUN})["round"] == [0, 1, 2]
        compared = ada.data("/experiments/compare.json", params={"run": [RUN, RUN]})
        assert (len(compared["drawn"]["series"]), compared["found"]["differing"]) == (2, [])
        assert ada.page("/experiments/compare", params={"run": [RUN]}).status_code == 200
        [line] = csv.DictReader(io.StringIO(ada.get("/experiments/runs.csv").text))
        assert line["tags"] == "2026, pilot"
        assert len(ada.get("/experiments/runs-all.json").json()) == 1
        ada.act("/experiments/hide", run=RUN)
        assert ada.data("/experiments.json")["runs"] == []
        assert len(ada.data("/experiments.json", params={"every": "true"})["runs"]) == 1
    notes = Operator(swarm).does("experiment", "list", "--all", "--json")
    assert f'"by": "{ADMIN}"' in notes
