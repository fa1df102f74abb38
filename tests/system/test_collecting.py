"""The short form of `make e2e-logs`: one SN, three SLs and a SWOP, and both kinds of archives."""

from pathlib import Path

from support.collected import Story, files
from support.processes import Processes
from support.swarm import Gate


def test_an_archive_has_what_a_diagnosis_needs_and_no_secret(processes: Processes, gate: Gate, tmp_path: Path) -> None:
    with Story(processes, tmp_path, sns=1, sls=3) as story:
        story.run(gate)
        assert {"log line", "settings", "SWCI-1"} <= set(story.planted())
        said = story.over_network(tmp_path / "network.tar.gz")
        story.of_folders(tmp_path / "folders.tar.gz")
    online, offline = files(tmp_path / "network.tar.gz"), files(tmp_path / "folders.tar.gz")
    assert story.leaks(online) == story.leaks(offline) == {}
    checks = [*story.checks(said, online), *story.folder_checks(offline)]
    assert [check.name for check in checks if not check.held] == [], said
