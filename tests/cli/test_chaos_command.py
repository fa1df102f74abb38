"""`swarm chaos` as it is called: what it refuses before anything is started."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from swarmlearning.cli.chaos.plans import READY
from swarmlearning.cli.main import app


def test_the_list_of_chaos_plans_has_a_line_for_each() -> None:
    done = CliRunner().invoke(app, ["chaos", "--list"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(READY)
    assert all(plan.about in line for plan, line in zip(READY.values(), lines, strict=True))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--plan", "meteor"], "there is no plan 'meteor', and no such file; `swarm chaos --list` shows the plans"),
        (["--plan", "leader-kill", "--", "no-such-program"], "there is no program 'no-such-program'"),
    ],
)
def test_a_refused_chaos_command_leaves_nothing_behind(tmp_path: Path, words: list[str], complaint: str) -> None:
    done = CliRunner().invoke(app, ["chaos", "--json", "--runs-dir", str(tmp_path / "runs"), *words])
    assert done.exit_code == 1
    assert done.stdout == ""
    assert f"swarm chaos: {complaint}" in done.stderr
    assert not (tmp_path / "runs").exists()
