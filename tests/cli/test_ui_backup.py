"""`swarm ui backup` and `restore`: the folder that the UI uses, there and back."""

from pathlib import Path

from typer.testing import CliRunner

from swarmlearning.cli.main import app
from swarmlearning.ui.projects.folder import Projects


def run(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["ui", *map(str, words)])
    return done.exit_code, done.output


def test_what_the_ui_keeps_comes_back_elsewhere(tmp_path: Path) -> None:
    Projects(tmp_path / "ui" / "projects").create("mnist", "alice")
    archive = tmp_path / "ui.tar.gz"
    status, text = run("backup", archive, "--data-dir", tmp_path / "ui")
    assert (status, text) == (0, f"{archive}: 1 files, {_size(tmp_path)}, with their digests\n")
    assert run("restore", archive, "--data-dir", tmp_path / "again")[0] == 0
    assert Projects(tmp_path / "again" / "projects").settings("mnist").author == "alice"
    status, text = run("restore", archive, "--data-dir", tmp_path / "again")
    assert status == 1
    assert "swarm ui restore: " in text
    assert "an empty folder only" in text


def test_what_is_in_no_backup_is_said_with_the_way_back(tmp_path: Path) -> None:
    Projects(tmp_path / "ui" / "projects").create("mnist", "alice")
    (tmp_path / "ui" / "office").mkdir()
    (tmp_path / "ui" / "office" / "ca.txt").touch()
    (tmp_path / "ui-identity").mkdir()
    archive = tmp_path / "ui.tar.gz"
    said = run("backup", archive, "--data-dir", tmp_path / "ui")[1]
    assert f"not in it: {tmp_path}/ui-identity, the UI's own key" in said
    assert "have the page Set-up issue a certificate" in run("restore", archive, "--data-dir", tmp_path / "again")[1]


def _size(tmp_path: Path) -> str:
    return f"{(tmp_path / 'ui' / 'projects' / 'mnist' / 'project.json').stat().st_size} bytes"
