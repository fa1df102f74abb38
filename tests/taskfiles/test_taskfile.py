"""Task files: read, kept as lines, and read back."""

from swarmlearning.taskfiles.definition import RunSwarm, SharedContent
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
