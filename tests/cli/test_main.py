"""`swarm` itself: which commands there are, and that each starts without what the others need."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from swarmlearning.cli.main import COMMANDS, app

HEAVY = {"aiohttp", "cryptography", "fastapi", "numpy", "psutil", "pydantic_settings", "rich"}
OTHERS_OF = {
    "sn": {"numpy", "psutil", "rich", "swarmlearning.sl", "swarmlearning.merge", "swarmlearning.cli.run"},
    "sl": {"fastapi", "psutil", "rich", "swarmlearning.sn", "swarmlearning.cli.run"},
}
"""By kind of node: what it does without."""


def imported_by(statement: str) -> set[str]:
    """The modules in a fresh interpreter after `statement`."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(shown.stdout.splitlines()[-1].split())


def test_the_version_is_printed_without_importing_any_command() -> None:
    modules = imported_by("from swarmlearning.cli.main import app\napp(['--version'], standalone_mode=False)")
    assert not modules & HEAVY
    assert {name for name in modules if name.startswith("swarmlearning.")} == {
        "swarmlearning.cli",
        "swarmlearning.cli.console",
        "swarmlearning.cli.main",
    }


@pytest.mark.parametrize("kind", OTHERS_OF)
def test_a_node_starts_without_the_libraries_of_other_commands(kind: str) -> None:
    modules = imported_by(f"from swarmlearning.cli.main import app\napp([{kind!r}], standalone_mode=False)")
    assert f"swarmlearning.{kind}.node" in modules
    assert not modules & OTHERS_OF[kind]


def test_every_command_is_listed_and_explained() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    explained = {words[1] for line in shown.output.splitlines() if len(words := line.split()) > 3}
    assert explained >= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_explains_its_options(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0
    assert f"Usage: swarm {command} " in shown.output
    assert "completion" not in shown.output


def test_a_mistyped_command_is_refused_with_the_one_that_is_near() -> None:
    shown = CliRunner().invoke(app, ["statsu"])
    assert shown.exit_code == 2
    assert "No such command 'statsu'. Did you mean 'status'" in shown.output
