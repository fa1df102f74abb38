"""Scripts as operators have them for each platform run unchanged, from the first line to the last."""

from pathlib import Path

import pytest

from support.operate_data import OPERATE, VALUES, filled_in
from support.operations import listening
from support.scripted_session import play_alone
from swarmlearning.swci.language import is_remark, parse

EXAMPLES = sorted(path.parent.name for path in OPERATE.glob("*/swci-init"))


def project(name: str, folder: Path) -> Path:
    """A platform's files in a folder, with a site's values in place of placeholders."""
    for path in (OPERATE / name).rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(OPERATE / name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(filled_in(str(path.relative_to(OPERATE))))
    return folder


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_script_of_each_platform_runs(name: str, tmp_path: Path) -> None:
    folder = project(name, tmp_path)
    script = (folder / "swci-init").read_text()
    commands = sum(not is_remark(line) for line in script.splitlines())
    shown = play_alone(listening(), script, folder)
    assert "ERROR " not in shown
    assert shown.endswith(f"SWCI:{commands - 1} > EXIT\n")
    assigned = script.upper().count("ASSIGN TASK")
    assert shown.count("TASK_STATE : COMPLETE") == assigned > 0


def test_a_script_with_every_command_is_understood_to_the_end(tmp_path: Path) -> None:
    folder = project("mnist", tmp_path)
    shown = play_alone(listening(), (OPERATE / "scripts" / "every-command").read_text(), folder)
    errors = [line for line in shown.splitlines() if line.startswith("ERROR ")]
    assert [line for line in errors if line.startswith("ERROR : column")] == []
    assert len(errors) == 3, errors  # no SWOP listens to its second taskrunner


def test_a_task_is_made_line_by_line(tmp_path: Path) -> None:
    folder = project("mnist", tmp_path)
    script = (OPERATE / "scripts" / "line-by-line").read_text()
    before = "CREATE CONTEXT x WITH IP sn1\nSWITCH CONTEXT x\nCREATE TASK FROM taskdefs/user_env_tf_build_task.yaml\n"
    shown = play_alone(listening(), before + script, folder)
    assert "ERROR " not in shown
    assert "    Envvars: [MIN_PEERS: 2]\n" in shown


def test_no_line_of_any_script_is_refused() -> None:
    assert VALUES
    for path in [*OPERATE.glob("*/swci-init"), *(OPERATE / "scripts").iterdir()]:
        for line in path.read_text().splitlines():
            if not is_remark(line):
                assert parse(line)
