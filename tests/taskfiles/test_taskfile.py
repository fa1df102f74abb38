"""Task files: read, kept as lines, and read back."""

import msgspec
import pytest

from swarmlearning.choices import ROOT_TASK, TaskType
from swarmlearning.documents.faults import DocumentError
from swarmlearning.ledger.contracts.tasks.bodies import MAX_LINES, AppendTaskBody
from swarmlearning.taskfiles.definition import MakeUserContainer, RunSwarm, SharedContent
from swarmlearning.taskfiles.lines import MOST_LINES, WIDTH
from swarmlearning.taskfiles.taskfile import definition, read_task_file

RUN = b"""
Name: run_digits
TaskType: RUN_SWARM
Author: team
Prereq: build_env
Outcome: run_digits
Body:
  Command: model/train.py
  Entrypoint: python3
  WorkingDir: /tmp/test
  Envvars: ["DATA_DIR": app-data, MAX_EPOCHS: 2, "MIN_PEERS": 010]
  PrivateContent: /tmp/test/app-data/
  SharedContent:
  - Src: /srv/model
    Tgt: /tmp/test/model
    MType: BIND
"""


def test_a_run_task_is_read() -> None:
    task = read_task_file(RUN, "run.yaml")
    assert task.definition == RunSwarm(
        "model/train.py",
        "python3",
        "/tmp/test",
        (("DATA_DIR", "app-data"), ("MAX_EPOCHS", "2"), ("MIN_PEERS", "010")),
        "/tmp/test/app-data",
        (SharedContent("/srv/model", "/tmp/test/model", "BIND"),),
    )
    assert definition("RUN_SWARM", task.lines) == task.definition
    assert all(len(line) < 80 for line in task.lines)


@pytest.mark.parametrize(
    "lines",
    [
        ("BuildType: INLINE", "BuildSteps:", "- FROM python", "BuildContext: null"),
        ("BuildSteps: [FROM python]", "", "# a comment", "BuildType: inline"),
        ("Body:", "  BuildType: INLINE", "  BuildSteps:", "  - FROM python"),
        ('{"BuildType": "INLINE", "BuildSteps": ["FROM python"]}',),
    ],
)
def test_lines_that_somebody_has_appended_are_a_definition_in_any_form(lines: tuple[str, ...]) -> None:
    assert definition("MAKE_USER_CONTAINER", lines) == MakeUserContainer(("FROM python",))


@pytest.mark.parametrize(
    ("kind", "lines", "message"),
    [
        ("MAKE_USER_CONTAINER", (), "task body:1:1: the file is empty"),
        ("RUN_SWARM", ("BuildType: INLINE",), "task body:1:1: BuildType: unknown key"),
        ("MAKE_USER_CONTAINER", ("BuildType: INLINE", "BuildSteps: x"), "task body:2:13: BuildSteps: expected a list"),
    ],
)
def test_lines_that_are_no_definition_are_refused_by_number(
    kind: TaskType, lines: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DocumentError) as caught:
        definition(kind, lines)
    assert message in str(caught.value)


def test_a_body_of_more_lines_than_the_ledger_keeps_is_refused() -> None:
    variables = "\n".join(f"  - V{number}: {'v' * 4000}" for number in range(10))
    data = RUN.replace(b'["DATA_DIR": app-data, MAX_EPOCHS: 2, "MIN_PEERS": 010]', f"\n{variables}".encode())
    with pytest.raises(DocumentError, match=r"run.yaml:8:3: Body: it takes 5\d\d lines on the ledger; at most 512"):
        read_task_file(data, "run.yaml")


def test_the_ledger_keeps_what_is_written_for_it() -> None:
    assert MOST_LINES == MAX_LINES
    for width, accepted in ((WIDTH, True), (WIDTH + 1, False)):
        body = {"index": 1, "lines": ["x" * width]}
        if accepted:
            msgspec.convert(body, AppendTaskBody)
        else:
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert(body, AppendTaskBody)


def test_a_task_without_a_prerequisite_names_the_one_that_is_always_there() -> None:
    assert read_task_file(RUN.replace(b"build_env", ROOT_TASK.encode()), "run.yaml").prerequisite == "ROOTTASK"
