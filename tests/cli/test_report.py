"""The report: from ledgers made in memory and written to a chain file, and from what scripts left."""

import io
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from rich.console import Console

from support.network import Ledger
from support.rounds import SITES, UNUSABLE, finish, merge_again, publish, report_all, submit, three_sites
from swarmlearning.cli.report import (
    Report,
    make_report,
    metrics,
    own_digest,
    read_ledger,
    save,
    succeeded,
)
from swarmlearning.cli.runfolder import RunFolder
from swarmlearning.cli.summary import summary
from swarmlearning.ledger.bodies import (
    Back,
    CloseSession,
    Contribution,
    Freeze,
    Lost,
    Missing,
    Publish,
    Receipt,
    ReportPerformance,
    Void,
)
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.contracts import network
from swarmlearning.ordering.local import open_chain_file
from swarmlearning.supervise.processes import RunError
from swarmlearning.tensors.digest import Format, digest_file
from swarmlearning.tensors.file import Tensor, write
from swarmlearning.views.render import report_text
from swarmlearning.views.report import Influence, RoundReport, TrainingReport


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    made.sn.mkdir(parents=True)
    for site in SITES:
        made.site(site).mkdir(parents=True)
    return made


@pytest.fixture
def ledger() -> Ledger:
    return three_sites()


def store(folder: RunFolder, blocks: list[bytes]) -> None:
    with closing(open_chain_file(folder.chain)) as connection:
        rows = [(height, sha256(raw), raw) for height, raw in enumerate(blocks)]
        connection.executemany("INSERT INTO blocks VALUES (?, ?, ?)", rows)


def read(folder: RunFolder, ledger: Ledger) -> TrainingReport:
    store(folder, ledger.blocks)
    return read_ledger(folder.chain)


def test_a_training_with_all_sites_in_every_round_is_reported_as_complete(folder: RunFolder, ledger: Ledger) -> None:
    leaders = []
    for number in range(3):
        submit(ledger, *SITES)
        assert ledger.training.round is not None
        leaders.append(ledger.training.round.leader)
        publish(ledger, f"{number}" * 64)
        report_all(ledger)
    assert ledger.training.round is not None
    leaders.append(ledger.training.round.leader)
    finish(ledger)
    report_all(ledger)
    found = read(folder, ledger)
    assert [(each.number, each.leader) for each in found.rounds] == list(enumerate(leaders))
    assert [each.contributors for each in found.rounds] == [SITES] * 4
    assert found.model == "f" * 64
    assert found.holds == dict.fromkeys(SITES, "f" * 64)
    assert found.over
    assert not found.problem
    assert report_text(found) == "complete: 4/4 rounds with 3/3"


def test_a_report_has_each_site_s_part_in_a_round(folder: RunFolder, ledger: Ledger) -> None:
    leader = ledger.training.round.leader  # type: ignore[union-attr]
    late = next(site for site in SITES if site != leader)
    submit(ledger, *(site for site in SITES if site != late))
    ledger.send(leader, Freeze(0, 0))
    submit(ledger, late)
    publish(ledger, "0" * 64)  # round 0: one is late
    report_all(ledger)
    submit(ledger, "site-1", "site-2")
    submit(ledger, "site-3", digest=UNUSABLE)
    publish(ledger, "1" * 64)  # round 1: one is excluded
    report_all(ledger)
    ledger.send("sn-1", Lost("site-2", 1), network.CONTRACT)
    submit(ledger, "site-1", "site-3")
    publish(ledger, "2" * 64)  # round 2: one is lost
    report_all(ledger, "site-1", "site-3")
    ledger.send("sn-1", Back("site-2", 1), network.CONTRACT)
    ledger.send("site-2", ReportPerformance(2, None, None, 1, 1, loaded=False))
    submit(ledger, "site-1", "site-3")
    publish(ledger, "3" * 64)  # round 3: one is there, but absent
    found = read(folder, ledger)
    first, second, third, fourth = found.rounds
    assert (first.late, first.absent, first.excluded) == ([late], [], {})
    assert first.contributors == [site for site in SITES if site != late]
    assert second.contributors == ["site-1", "site-2"]
    assert second.excluded == {"site-3": "non-finite: NaN in a"}
    assert (third.contributors, third.lost, third.absent) == (["site-1", "site-3"], ["site-2"], [])
    assert (fourth.contributors, fourth.lost, fourth.absent) == (["site-1", "site-3"], [], ["site-2"])
    assert report_text(found) == (
        f"not over: 0/4 rounds with 3/3, the others with at least 2/3: round 0 without {late} (late), "
        "round 1 without site-3 (excluded), round 2 without site-2 (lost), round 3 without site-2 (absent)"
    )


def test_a_report_has_the_influence_of_each_contributor_on_a_round(folder: RunFolder, ledger: Ledger) -> None:
    submit(ledger, *SITES)
    current = ledger.training.round
    assert current is not None
    stated = {"site-1": (0.25, 0.9), "site-2": (0.5, None), "site-3": (None, None)}
    parts = tuple(Contribution(uid, uid[-1] * 64, 1, 1, *figures) for uid, figures in stated.items())
    ledger.send(current.leader, Publish(0, 0, "0" * 64, 1, Receipt("mean", parts, ())))
    (found,) = read(folder, ledger).rounds
    assert found.influence == {name: Influence(*figures) for name, figures in stated.items()}


def test_a_site_that_has_not_reported_to_hold_the_final_model_holds_none(folder: RunFolder, ledger: Ledger) -> None:
    finish(ledger)
    leader = ledger.training.result.leader  # type: ignore[union-attr]
    found = read(folder, ledger)
    assert found.holds == {site: "f" * 64 if site == leader else None for site in SITES}


def test_a_round_that_was_merged_again_counts_once_in_the_report(folder: RunFolder, ledger: Ledger) -> None:
    merge_again(ledger, "9" * 64)
    found = read(folder, ledger)
    assert [each.number for each in found.rounds] == [0]
    assert found.model == "9" * 64


def test_a_round_whose_result_nobody_holds_any_more_does_not_count_in_the_report(
    folder: RunFolder, ledger: Ledger
) -> None:
    submit(ledger, *SITES)
    publish(ledger, "0" * 64)
    for site in SITES:
        ledger.send(site, Missing(0))
    ledger.send("sn-1", Void(0))
    found = read(folder, ledger)
    assert (found.rounds, found.model) == ([], "")


def test_a_partial_training_is_not_called_complete(folder: RunFolder, ledger: Ledger) -> None:
    ledger.send("sn-1", Lost("site-2", 1), network.CONTRACT)
    submit(ledger, "site-1", "site-3")
    publish(ledger, "0" * 64)
    report_all(ledger, "site-1", "site-3")
    for site in ("site-1", "site-3"):
        ledger.send(site, CloseSession("snapshot"))
    submit(ledger, "site-1", "site-3")
    publish(ledger, "1" * 64)
    assert report_text(read(folder, ledger)) == (
        "partial: 0/2 rounds with 3/3, the others with at least 2/3: rounds 0 to 1 without site-2 (lost)"
    )


def test_an_altered_block_is_found_and_the_rounds_before_it_are_reported(folder: RunFolder, ledger: Ledger) -> None:
    submit(ledger, *SITES)
    publish(ledger, "0" * 64)
    height = len(ledger.blocks)
    report_all(ledger)
    altered = bytearray(ledger.blocks[height])
    altered[len(altered) // 2] ^= 1
    ledger.blocks[height] = bytes(altered)
    found = read(folder, ledger)
    assert found.problem.startswith(f"block {height}")
    assert [each.number for each in found.rounds] == [0]
    assert report_text(found).startswith(f"the ledger does not verify (block {height}")


def test_damage_to_the_chain_file_is_found(folder: RunFolder, ledger: Ledger) -> None:
    store(folder, ledger.blocks)
    with closing(sqlite3.connect(folder.chain)) as connection, connection:
        connection.execute("DELETE FROM blocks WHERE height = 2")
    found = make_report(folder, SITES, 1.0)
    assert "block 2 is missing" in found.status
    assert not found.ledger_verified
    assert not succeeded(found)


def test_a_missing_chain_file_does_not_verify(folder: RunFolder) -> None:
    assert "no such chain file" in read_ledger(folder.chain).problem
    store(folder, [])
    assert "has no block" in read_ledger(folder.chain).problem


def test_metrics_and_models_that_scripts_left_go_into_the_report(folder: RunFolder, ledger: Ledger) -> None:
    finish(ledger)
    report_all(ledger)
    store(folder, ledger.blocks)
    for number, site in enumerate(SITES):
        stated = {"samples": 10 * number, "accuracy": 0.9 + number / 100, "device": "cpu"}
        (folder.site(site) / "metrics.json").write_text(json.dumps(stated))
    write(folder.site("site-2") / "model.safetensors", {"a": Tensor.of(np.zeros(3), "a")})
    found = make_report(folder, SITES, 1.234)
    assert found.sites[1] == {
        "name": "site-2",
        "samples": 10,
        "alone_accuracy": None,
        "accuracy": 0.91,
        "device": "cpu",
    }
    assert found.swarm_accuracy == 0.9
    assert found.digests["site-1"] == found.digests["site-3"] == found.model == "f" * 64
    assert found.digests["site-2"] not in (None, found.model)  # what the script wrote is another model
    assert succeeded(found)


def test_a_report_is_made_without_any_file_of_the_scripts(folder: RunFolder, ledger: Ledger) -> None:
    finish(ledger)
    store(folder, ledger.blocks)
    found = make_report(folder, SITES, 1.0)
    assert found.swarm_accuracy is None
    assert found.sites[0] == {"name": "site-1", "samples": None, "alone_accuracy": None}


@pytest.mark.parametrize("text", ["[1, 2]", "{", ""])
def test_metrics_that_are_no_json_object_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(RunError, match=r"metrics\.json has to hold a JSON object"):
        metrics(tmp_path)


# --- the file and the words


def a_report(**changes: Any) -> Report:
    rounds = [
        RoundReport(0, "site-1", ["site-1", "site-2"], [], ["site-3"], [], {}),
        RoundReport(1, "site-2", ["site-1", "site-2"], ["site-3"], [], [], {}),
        RoundReport(2, "site-3", ["site-1"], [], [], ["site-2"], {"site-3": "digest: differs"}),
    ]
    report = Report(
        status="partial: 0/3 rounds with 3/3",
        over=True,
        sites=[{"name": site, "samples": 5, "alone_accuracy": 0.5} for site in SITES],
        swarm_accuracy=0.75,
        pooled_accuracy=None,
        model="f" * 64,
        digests={"site-1": "f" * 64, "site-2": "f" * 64, "site-3": None},
        rounds=rounds,
        ledger_verified=True,
        wall_seconds=1.5,
    )
    return msgspec.structs.replace(report, **changes)


def text(report: Report) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(summary(report, console))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_report_file_has_the_documented_keys(tmp_path: Path) -> None:
    paths = [tmp_path / "report.json", tmp_path / "other" / "copy.json"]
    save(a_report(), *paths, None)
    plain = json.loads(paths[0].read_text())
    assert plain == json.loads(paths[1].read_text())
    assert {
        "sites",
        "swarm_accuracy",
        "pooled_accuracy",
        "digests",
        "rounds",
        "ledger_verified",
        "wall_seconds",
    } <= plain.keys()
    assert {"name", "samples", "alone_accuracy"} <= plain["sites"][0].keys()
    assert {"number", "leader", "contributors"} <= plain["rounds"][0].keys()


def test_a_report_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot write the report to"):
        save(a_report(), tmp_path / "file" / "report.json")


def test_the_summary_shows_each_site_in_each_round() -> None:
    lines = text(a_report()).splitlines()
    assert lines[0] == "partial: 0/3 rounds with 3/3; ledger verified; accuracy 75.0 %"
    assert [line.split() for line in lines[3:6]] == [
        ["site-1", "◆●●", "3/3", "f" * 16],
        ["site-2", "●◆·", "2/3", "f" * 16],
        ["site-3", "-l◇", "0/3", "none"],
    ]
    assert lines[6].split("   ") == ["◆ led and contributed", "◇ led", "● contributed", "l late", "- lost", "· absent"]


def test_the_summary_names_a_ledger_that_does_not_verify() -> None:
    assert "LEDGER NOT VERIFIED" in text(a_report(ledger_verified=False))


def test_the_summary_of_a_long_training_shows_the_newest_rounds() -> None:
    rounds = [RoundReport(number, "site-1", SITES, [], [], [], {}) for number in range(500)]
    shown = text(a_report(rounds=rounds))
    assert "rounds 460 to 499" in shown
    assert "500/500" in shown


def test_a_summary_without_rounds_is_its_status() -> None:
    assert len(text(a_report(rounds=[])).splitlines()) == 1


def test_the_summary_shows_models_that_were_not_trained_for_their_round() -> None:
    rounds = [msgspec.structs.replace(each, repeated=each.contributors) for each in a_report().rounds]
    lines = text(a_report(rounds=rounds)).splitlines()
    assert [re.split(r" {2,}", line.strip())[2] for line in lines[3:6]] == ["3/3, 3 repeated", "2/3, 2 repeated", "0/3"]
    assert lines[3].split()[1] == "◆○○"
    assert "○ repeated" in lines[6]


@pytest.mark.parametrize("format", [1, 2])
def test_a_site_s_model_is_the_final_one_in_either_format_of_its_name(tmp_path: Path, format: Format) -> None:
    path = tmp_path / "model.safetensors"
    assert own_digest(tmp_path, "0" * 64) is None
    write(path, {"a": Tensor.of(np.zeros(3), "a")})
    final = digest_file(path, format=format).root
    assert own_digest(tmp_path, final) == final
    assert own_digest(tmp_path, "0" * 64) == own_digest(tmp_path, None) == digest_file(path).root
