"""`swarm doctor` and the log of a node: how its last start has ended, and which of its lines say why."""

import logging
import os
import time
from pathlib import Path

import pytest

from swarmlearning.cli.doctor.lines import examine_log, last_start, sign_of
from swarmlearning.cli.doctor.offline import examine_host
from swarmlearning.cli.options import Credentials
from swarmlearning.doctor.findings import Report
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.errors import NodeError
from swarmlearning.node.logfile import LogSettings, kept_log, log_in
from swarmlearning.node.logs import Form


def first(report: Report) -> str:
    return report.ordered[0].code if report.wrong else ""


def test_a_log_says_why_its_node_has_ended(tmp_path: Path) -> None:
    place = tmp_path / "sl"
    reason = "SN 10.0.0.1:30304 refuses this node: its certificate is revoked"

    def end() -> None:
        with DataDirectory(place), kept_log(place):
            (place / "models").mkdir()
            raise NodeError(reason)

    with pytest.raises(NodeError):
        end()
    report = Report()
    examine_host(Credentials(), place, None, report)
    assert first(report) == "shut-out"
    assert reason in report.wrong[0].text
    assert any("certificates and the network" in line for line in report.unknown)


def test_a_log_that_breaks_off_is_of_a_process_that_was_killed(tmp_path: Path) -> None:
    with DataDirectory(tmp_path):
        (tmp_path / "node.log").write_text("2026-11-29 10:00:00,000 : swarm.SL : INFO : Waiting for the ML process\n")
    report = Report()
    examine_host(Credentials(), tmp_path, None, report)
    assert first(report) == "killed"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("contract x: model structure is 8278, this session has 03ac. All sites must agree", "model-differs"),
        ("contract x: minPeers is 2, this session has 3. All sites must agree", "terms-differ"),
        ("", "ended"),
    ],
)
def test_a_script_that_has_failed_is_no_node_that_was_killed(error: str, code: str, tmp_path: Path) -> None:
    with DataDirectory(tmp_path):
        lines = [f"2026-11-29 10:00:00,000 : swarm.SL : ERROR : {error}"] if error else []
        lines.append("2026-11-29 10:00:01,000 : swarm.mlApp : ERROR : The training command has failed: exit status 1")
        (tmp_path / "node.log").write_text("".join(f"{line}\n" for line in lines))
    report = Report()
    examine_host(Credentials(), tmp_path, None, report)
    assert [each.code for each in report.wrong] == [code]


def test_the_exception_that_a_script_has_failed_with_is_told(tmp_path: Path) -> None:
    with DataDirectory(tmp_path):
        (tmp_path / "node.log").write_text(
            "2026-11-29 10:00:00,000 : swarm.SL : INFO : The ML process leaves: ValueError: labels must be 0..9\n"
            "2026-11-29 10:00:01,000 : swarm.mlApp : ERROR : The training command has failed: exit status 1\n"
        )
    report = Report()
    examine_host(Credentials(), tmp_path, None, report)
    assert report.ordered[0].text == "has failed, and its node ended with it: ValueError: labels must be 0..9"
    assert report.ordered[0].remedy.startswith("correct what that message names")


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_script_s_end_is_read_in_either_form_wherever_the_log_is(
    form: Form, elsewhere: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place, folder = tmp_path / "sl", tmp_path / "logs" if elsewhere else None
    caplog.set_level("INFO")
    with DataDirectory(place) as node, kept_log(place, "site-1", node.uid, LogSettings(form, folder)):
        (place / "models").mkdir()
        logging.getLogger("swarm.SL").info("UID %s, start 1", node.uid)
        logging.getLogger("swarm.SL").info('The ML process leaves: ValueError: labels must be "0..9"')
        logging.getLogger("swarm.mlApp").error("The training command has failed: exit status 1")
    assert (place / "node.log").exists() != elsewhere
    report = Report()
    examine_host(Credentials(), place, None, report)
    assert [each.code for each in report.wrong] == ["ended"]
    assert report.wrong[0].text == 'has failed, and its node ended with it: ValueError: labels must be "0..9"'


def test_a_log_that_is_in_its_data_directory_again_is_read_there(tmp_path: Path) -> None:
    with kept_log(tmp_path, "site-1", "1234", LogSettings(folder=tmp_path / "logs")) as path:
        assert log_in(tmp_path) == path == tmp_path / "logs" / "site-1-1234.log"
    with kept_log(tmp_path, "site-1", "1234") as path:
        assert log_in(tmp_path) == path == tmp_path / "node.log"


def test_a_script_that_says_nothing_has_its_exit_status_told(tmp_path: Path) -> None:
    with DataDirectory(tmp_path):
        failed = "2026-11-29 10:00:01,000 : swarm.mlApp : ERROR : The training command has failed: exit status 2\n"
        (tmp_path / "node.log").write_text(failed)
    report = Report()
    examine_host(Credentials(), tmp_path, None, report)
    assert report.ordered[0].text == "has failed, and its node ended with it: exit status 2"
    [note] = report.notes
    assert note.startswith("the log ends at 2026-11-29 10:00:01; why a later start has ended before it had a log")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("this node belongs to network 'swarm', 12, but found network 'banks', 34: connect to", "wrong-network"),
        ("a block follows rules version 2, and this release knows 1", "old-version"),
        ("the SN refuses this node: UID 1 belongs to CN=SL-2, not to CN=SL-1; each node (other-subject)", "in-use"),
        ("the SN refuses this node: its certificate is revoked (revoked)", "shut-out"),
        ("cannot use /sl/models: No such file or directory; check the data directory", "not-writable"),
        ("acquireLicense: 304: The request for tokens", "license"),
        ("Unable to contact API-Server: SN 10.0.0.1:1 and this node do not trust each other: x", "wrong-ca"),
        ("node x was started again elsewhere. If its data directory was copied: each node needs", "superseded"),
        ("cannot listen on 127.0.0.1:1: the port is in use; stop the process", "port-taken"),
    ],
)
def test_what_a_node_ends_with_is_a_sign_of_its_cause(line: str, code: str) -> None:
    found = sign_of(line)
    assert found is not None
    assert found.code == code


@pytest.mark.parametrize(("tries", "age_s", "code"), [(3, 0, "silent"), (2, 0, ""), (3, 3600, "")])
def test_a_node_that_runs_and_only_tries_its_sn_in_vain_is_cut_off(
    tries: int, age_s: int, code: str, tmp_path: Path
) -> None:
    line = "2026-11-29 21:49:28,483 : WARNING : SN 10.0.0.1:30304 cannot be reached: no route; trying again\n"
    log = tmp_path / "node.log"
    log.write_text("2026-11-29 21:49:20,000 : swarm.SL : INFO : Round 1: merged 2 models\n" + tries * line)
    os.utime(log, (time.time() - age_s,) * 2)
    report = Report()
    examine_log(log, running=True, report=report)
    assert first(report) == code
    assert not code or "10.0.0.1:30304 cannot be reached: no route" in report.ordered[0].text


def test_a_node_that_runs_and_waits_for_its_script_says_so(tmp_path: Path) -> None:
    log = tmp_path / "node.log"
    waits = "2026-11-29 21:55:17,369 : swarm.SL : INFO : Waiting for the ML process on /sl/channel/ml.sock"
    log.write_text(f"{waits}\n2026-11-29 21:55:40,001 : swarm.logs : INFO : 'CN=SWCI-1' reads the log node.log\n")
    report = Report()
    examine_log(log, running=True, report=report)
    assert report.notes == [f"no script has connected to this SL, see what the script does: {waits}"]


def test_a_wrong_network_id_is_corrected_and_no_data_directory_given_up() -> None:
    found = sign_of("--network-id names network 11, but found network 'swarm', 22: connect to an SN of the one named")
    assert found is not None
    assert (found.code, found.remedy.partition(" (")[0]) == ("wrong-network", "correct --network-id")


def test_only_the_newest_start_is_looked_at(tmp_path: Path) -> None:
    uid = "123e4567-e89b-42d3-a456-426614174000"
    log = tmp_path / "node.log"
    log.write_text(f"x : INFO : UID {uid}, start 1\nold\nx : INFO : UID {uid}, start 2\nnew\n")
    assert last_start(log) == [f"x : INFO : UID {uid}, start 2", "new"]
