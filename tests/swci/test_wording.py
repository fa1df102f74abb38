"""What SWCI's errors tell an operator to type is what SWCI takes."""

import re
from pathlib import Path

import pytest

import swarmlearning
from swarmlearning.swci.wording import in_swci

SOURCE = Path(swarmlearning.__file__).parent
FILES = (
    *(SOURCE / "operator" / f"{name}.py" for name in ("tasks", "taskrunners")),
    *(SOURCE / "ledger" / "contracts" / "tasks").glob("*.py"),
    *(SOURCE / "ledger" / "contracts" / "taskrunner").glob("*.py"),
)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("there is no task 'x'; `swarm task list` shows them", "there is no task 'x'; `LIST TASKS` shows them"),
        ("end it: swarm taskrunner reset default.x", "end it: RESET TASKRUNNER default.x"),
        ("adds it: swarm taskrunner assign run r --target u-1", "adds it: ASSIGN TASK run TO r TARGET u-1"),
        ("swarm contract reset x --force", "swarm contract reset x --force"),
    ],
)
def test_commands_are_those_of_swci_where_it_has_them(said: str, shown: str) -> None:
    assert in_swci(said) == shown


def test_every_command_in_errors_about_tasks_and_taskrunners_is_one_of_swci() -> None:
    text = "\n".join(path.read_text() for path in FILES)
    named = set(re.findall(r"swarm (?:task|taskrunner|node) [a-z]+", text))
    assert named
    left = {command for command in named if in_swci(f"{command} a b --target c").startswith("swarm")}
    assert left == set()
