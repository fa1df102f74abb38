"""The reference has all that the code has, and the site builds without a warning."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from reference import PAGES, codes, files, metrics, phases, runners, variables
from reference.commands import every_command, options_of
from reference.markdown import prose, table
from support.pages import DOCS
from swarmlearning.cli.main import COMMANDS
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.registry import KINDS
from swarmlearning.ledger.contracts.taskrunner.state import RunnerState
from swarmlearning.node.outcomes import Code as Outcome
from swarmlearning.node.variables import VARIABLES
from swarmlearning.rounds.phases import Phase

SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    return {name: page() for name, page in PAGES.items()}


def test_every_command_and_option_has_its_line(written: dict[str, str]) -> None:
    commands = list(every_command())
    assert {words[1] for words, _ in commands if len(words) > 1} == COMMANDS.keys()
    sections = dict(re.findall(r"^#+ `(swarm [^`]+)`$(.*?)(?=^#+ `|\Z)", written["cli"], re.MULTILINE | re.DOTALL))
    for words, command in commands[1:]:
        missing = [
            name
            for option in options_of(command)
            for name in option.opts
            if f"`{name}`" not in sections[" ".join(words)]
        ]
        assert not missing, f"{' '.join(words)}: {missing}"


def test_every_option_says_what_it_does() -> None:
    silent = [
        (words, option.opts) for words, command in every_command() for option in options_of(command) if not option.help
    ]
    assert not silent, "an option without a help text"


def test_every_variable_has_its_line(written: dict[str, str]) -> None:
    named = {name for name, _ in variables.of_options()} | {each.name for each in VARIABLES} | variables.of_scripts()
    named |= {field.upper() for each in variables.SETTINGS for field in each.model_fields}
    assert {name for name in named if name not in written["environment"]} == set()
    assert {"SWARM_CHANNEL", "SWARM_LOOPBACK", "SL_KEEP_BEST", "THIS_NODE_IP"} <= named


def test_every_code_has_its_line(written: dict[str, str]) -> None:
    values = {code.value for code in Code} | codes.alert_codes().keys()
    assert {value for value in values if f"`{value}`" not in written["codes"]} == set()
    assert len(codes.alert_codes()) > 8
    assert "meanings" not in written["codes"]
    assert set(get_args(Outcome)) - {"ok"} >= {"refused", "stalled"}


def test_every_metric_has_its_line(written: dict[str, str]) -> None:
    lines = dict(re.findall(r"^\| `([a-z_]+)` \| (.+) \|$", written["metrics"], re.MULTILINE))
    assert lines.keys() == metrics.names()
    assert {"swarm_node_info", "swarm_sn_lag_blocks", "swarm_sent_bytes_total", "process_open_fds"} <= lines.keys()
    assert lines["swarm_script_batches"] == "Batches that the script has trained."
    assert "| `swarm_" not in (DOCS / "metrics.md").read_text()


def test_every_alert_is_explained() -> None:
    explained = (DOCS / "watch.md").read_text()
    assert {code for code in codes.alert_codes() if f"`{code}`" not in explained} == set()


def test_every_transaction_has_its_line(written: dict[str, str]) -> None:
    bodies = {body.__name__ for kind in KINDS for body in kind.rules}
    assert {name for name in bodies if f"`{name}`" not in written["transactions"]} == set()


def test_every_key_of_a_profile_and_a_policy_has_its_line(written: dict[str, str]) -> None:
    assert files.keys("swop/profilefile.py") >= {"groupname", "hangSeconds", "slnodedef", "privacypolicy"}
    assert files.keys("swop/policyfile.py") >= {"trust", "shareLogs", "demandUser", "seconds"}
    for path in (path for paths in files.FILES.values() for path in paths):
        assert {key for key in files.keys(path) if f"`{key}`" not in written["yaml"]} == set(), path


def test_every_phase_is_in_the_diagram() -> None:
    names = {each.__name__ for each in get_args(Phase)}
    assert names == phases.PLACES.keys() == {type(each).__name__ for each in phases.EXAMPLES}
    assert {edge.start for edge in phases.transitions()} == names
    assert ("Delivering", "Served", "Evaluated") in phases.transitions()


def test_every_state_of_a_taskrunner_is_in_the_diagram() -> None:
    states = set(get_args(RunnerState))
    assert states == runners.PLACES.keys()
    assert {state for edge in runners.transitions() for state in edge[:2]} == states
    assert ("RUNNING", "ERROR", "failed") in runners.transitions()


def test_columns_of_a_docstring_keep_their_form() -> None:
    assert prose("Says it.\n\n    a    b\n\nMore.") == "Says it.\n\n    a    b\n\nMore."
    assert prose("NAME    what\nOTHER   else") == "```text\nNAME    what\nOTHER   else\n```"
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


def lines_of(output: str) -> Iterator[str]:
    return (line for line in output.splitlines() if "WARNING" in line or "ERROR" in line)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going"]
    built = subprocess.run(
        [*command, "--doctree-dir", tmp_path / "trees", DOCS, tmp_path / "html"], capture_output=True, text=True
    )
    assert built.returncode == 0, "\n".join(lines_of(built.stderr)) or built.stderr
    assert (tmp_path / "html" / "reference" / "cli.html").exists()
    assert "http://" not in re.sub(
        r'xmlns="[^"]*"|href="http://[^"]*"', "", (tmp_path / "html" / "index.html").read_text()
    )
