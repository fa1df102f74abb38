"""Task files of every form, and of each platform's shape: all are read, and come back from the ledger's lines."""

import pytest

from support.operate_data import VALUES, files, filled_in, raw
from swarmlearning.documents.faults import DocumentError
from swarmlearning.taskfiles.definition import (
    Credentials,
    Definition,
    MakeSwarmUserContent,
    MakeUserContainer,
    Operation,
    PullImage,
    RunSwarm,
    SharedContent,
)
from swarmlearning.taskfiles.taskfile import definition, read_task_file

FORMS: dict[str, Definition] = {
    "pull_public": PullImage("docker.io/tensorflow", "tensorflow", "2.7.0"),
    "pull_with_config": PullImage("localhost:5000/team", "user-env", "1.10", "/srv/swarm/docker/config.json"),
    "pull_with_login": PullImage(
        "registry.example.org/team", "user-env", "latest", Credentials("swarm", "0x1F: #not a comment")
    ),
    "build_content": MakeSwarmUserContent(
        "BUILDCONTENT",
        (
            Operation(
                "DOWNLOAD",
                "https://files.example.org/wheels/swarmlearning_client-0.1.0-py3-none-any.whl",
                "swarmlearning_client-0.1.0-py3-none-any.whl",
            ),
        ),
    ),
    "swarm_content": MakeSwarmUserContent(
        "SWARMCONTENT",
        (
            Operation(
                "DOWNLOAD", "http://files.example.org:8000/model.tar.gz?version=2&part=1", "archives/model.tar.gz"
            ),
            Operation("EXTRACT", "archives/model.tar.gz", "model"),
            Operation("DOWNLOAD", "file:///srv/swarm/labels.csv"),
        ),
    ),
    "build_without_context": MakeUserContainer(
        ("FROM python:3.11-slim AS base", "# the client comes with the node", 'RUN pip install "numpy<3"')
    ),
    "run_with_nothing": RunSwarm('-c "exit 0"', "/bin/sh", "/w"),
    "run_with_everything": RunSwarm(
        'model/train.py --rate 1e-3 --name "breast: cancer"',
        "python3",
        "/tmp/test",
        (
            ("DATA_DIR", "/tmp/test/app-data"),
            ("MODEL_DIR", "model"),
            ("MAX_EPOCHS", "010"),
            ("TIME", "12:30:45"),
            ("SWITCH", "on"),
            ("SHARE", ".5"),
            ("NOTHING", ""),
            ("LONG", "a value that is longer than a line of the ledger can be: it is folded, and comes back as it was"),
            ("QUOTED", 'a "quote", a backslash \\, a tab \t, é and 日本'),
            (
                "A_NAME_THAT_IS_SO_LONG_THAT_IT_HAS_TO_BE_WRITTEN_AS_AN_EXPLICIT_KEY_OF_YAML_TO_BE_FOLDED_TOO",
                "1",
            ),
        ),
        "/tmp/test/app-data",
        (
            SharedContent("/srv/swarm/model", "/tmp/test/model", "BIND"),
            SharedContent("hf-cache", "/tmp/test/cache", "VOLUME"),
        ),
    ),
}


def test_every_form_has_its_expectation() -> None:
    assert files("tasks/*") == sorted(f"tasks/{name}.yaml" for name in FORMS)


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_read(name: str) -> None:
    assert read_task_file(raw(f"tasks/{name}.yaml"), name).definition == FORMS[name]


@pytest.mark.parametrize("name", files("tasks/*") + files("*/taskdefs/*"))
def test_a_task_comes_back_from_the_ledgers_lines(name: str) -> None:
    task = read_task_file(filled_in(name), name)
    assert definition(task.type, task.lines) == task.definition
    assert all(len(line) < 80 and line.isprintable() for line in task.lines)


@pytest.mark.parametrize("name", [name for name in files("*/taskdefs/*") if b"<" in raw(name)])
def test_a_placeholder_that_stands_there_still_is_named(name: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read_task_file(raw(name), name)
    faults = caught.value.faults
    assert {fault.field for fault in faults} <= {"Body.SharedContent[0].Src"}
    assert all(any(f"<{placeholder}>" in fault.message for placeholder in VALUES) for fault in faults)


def test_a_password_for_the_ledger_is_warned_of() -> None:
    (warning,) = read_task_file(raw("tasks/pull_with_login.yaml"), "").warnings
    assert "all members of the network can read" in warning
    assert "config.json" in warning
    assert read_task_file(raw("tasks/pull_with_config.yaml"), "").warnings == ()
    assert "0x1F" not in repr(FORMS["pull_with_login"])
