"""`swarm report`: from ledgers in memory and on disk, and from a real SN."""

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from support.chainfile import written
from support.network import CONTRACT, Ledger, session
from support.rounds import SITES, finish, publish, report_all, submit, three_sites
from swarmlearning.cli.main import app
from swarmlearning.cli.report import recorded
from swarmlearning.cli.trainings import COLUMNS, table_of
from swarmlearning.ledger.bodies import Back, Lost, Register, ReportPerformance, Reset
from swarmlearning.ledger.contracts import network
from swarmlearning.views.report import Performance, TrainingReport


def two_rounds() -> Ledger:
    """The first without site-2, the second the last; each site reports after each."""
    ledger = three_sites()
    ledger.send("sn-1", Lost("site-2", 1), network.CONTRACT)
    submit(ledger, "site-1", "site-3")
    publish(ledger, "1" * 64)
    report_all(ledger, "site-1", "site-3")
    ledger.send("sn-1", Back("site-2", 1), network.CONTRACT)
    ledger.send("site-2", ReportPerformance(0, None, None, 1, 3, loaded=False))
    finish(ledger)
    for site, loss in zip(SITES, (0.25, 0.5, 0.75), strict=True):
        ledger.send(site, ReportPerformance(1, loss, 0.9, 3, 3))
    return ledger


def reported(ledger: Ledger, contract: str = "", run: int | None = None) -> TrainingReport:
    return recorded(ledger.blocks, "", contract, run)


def swarm_report(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, words)], env={"COLUMNS": "200"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder with the ledger of `two_rounds`."""
    return written(two_rounds(), tmp_path / "run" / "sn" / "chain.sqlite").parents[1]


def test_a_report_has_what_each_site_reported_after_each_round() -> None:
    found = reported(two_rounds())
    assert [one for one in found.performances if one.round == 1] == [
        Performance(1, "site-1", 0.25, 0.9, 3, 3),
        Performance(1, "site-2", 0.5, 0.9, 3, 3),
        Performance(1, "site-3", 0.75, 0.9, 3, 3),
    ]


def test_rounds_in_a_report_have_the_block_times_of_their_results() -> None:
    first, second = reported(two_rounds()).rounds
    assert 0 < first.time_ms < second.time_ms


def test_the_curves_are_a_line_for_each_site_and_round() -> None:
    rows = list(csv.DictReader(io.StringIO(table_of(reported(two_rounds())))))
    assert list(rows[0]) == COLUMNS
    assert [(row["round"], row["site"]) for row in rows] == [(str(n), site) for n in (0, 1) for site in SITES]
    assert (rows[1]["part"], rows[1]["loss"]) == ("lost", "")
    assert (rows[5]["loss"], rows[5]["metric"], rows[5]["epochs"]) == ("0.75", "0.9", "3")
    assert rows[5]["time"].endswith("Z")


def test_a_name_in_a_csv_file_never_becomes_a_spreadsheet_formula() -> None:
    ledger = Ledger()
    ledger.actor("site-1", "SL")
    ledger.send("site-1", Register("SL", "=1+1", ledger.actors["site-1"].pem, "0"), network.CONTRACT)
    ledger.send("site-1", session(min_peers=1))
    submit(ledger, "site-1")
    publish(ledger, "1" * 64)
    (row,) = csv.DictReader(io.StringIO(table_of(reported(ledger))))
    assert row["site"] == "'=1+1"


def test_an_earlier_run_of_a_contract_is_still_reported() -> None:
    ledger = two_rounds()
    ledger.join("op", "OPERATOR")
    ledger.send("op", Reset(forced=False))
    assert reported(ledger).rounds == []
    assert reported(ledger).run == 2
    first = reported(ledger, CONTRACT, 1)
    assert [each.number for each in first.rounds] == [0, 1]
    assert first.over


def test_a_damaged_block_is_the_report_s_problem_and_what_stands_before_it_is_kept() -> None:
    ledger = two_rounds()
    ledger.blocks[-1] = b"x"
    found = reported(ledger)
    assert found.problem.startswith(f"block {len(ledger.blocks) - 1}")
    assert len(found.rounds) == 2


def test_the_report_command_shows_a_training_from_a_run_folder_and_writes_its_curves(
    folder: Path, tmp_path: Path
) -> None:
    done = swarm_report("--data-dir", folder, "--csv", tmp_path / "out" / "curves.csv", "--report", tmp_path / "r.json")
    assert done.exit_code == 0, done.output
    assert "partial: 1/2 rounds with 3/3" in done.stdout
    assert f"model {'f' * 64}" in done.stdout
    assert len((tmp_path / "out" / "curves.csv").read_text().splitlines()) == 1 + 2 * 3
    assert json.loads((tmp_path / "r.json").read_text())["holds"] == dict.fromkeys(SITES, "f" * 64)


def test_the_report_as_json_is_complete(folder: Path) -> None:
    found = json.loads(swarm_report("--data-dir", folder, "--json").stdout)
    assert found["contract"] == CONTRACT
    assert len(found["performances"]) == 6


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "name the ledger by one of --data-dir"),
        (("--data-dir", "here", "--sn-ip", "10.0.0.1"), "name the ledger by one of --data-dir"),
        (("--data-dir", "nowhere"), "no such chain file"),
    ],
)
def test_a_report_without_a_ledger_is_a_clear_error(words: tuple[str, ...], text: str) -> None:
    done = swarm_report(*words)
    assert done.exit_code == 1
    assert text in done.stderr
    assert not done.stdout


def test_a_report_of_an_unknown_training_is_refused_by_name(folder: Path) -> None:
    done = swarm_report("--data-dir", folder, "--contract", "other")
    assert done.exit_code == 1
    assert done.stderr == "swarm report: the ledger has no training of contract other\n"
    assert not done.stdout


def test_a_report_of_an_unknown_run_is_refused_by_its_number_and_contract(folder: Path, tmp_path: Path) -> None:
    done = swarm_report("--data-dir", folder, "--run", "9", "--csv", tmp_path / "curves.csv")
    assert done.exit_code == 1
    assert done.stderr == f"swarm report: the ledger has no run 9 of contract {CONTRACT}\n"
    assert not done.stdout
    assert not (tmp_path / "curves.csv").exists()


@pytest.mark.parametrize("words", [("status",), ("report",), ("contract", "list")])
def test_an_sn_named_with_its_port_is_refused_before_it_is_looked_for(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*words, "--sn-ip", "10.0.0.1:30304"])
    assert done.exit_code == 1
    assert "'10.0.0.1:30304' is neither a host name nor an IP address" in done.stderr
