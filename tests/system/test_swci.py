"""One SWCI script drives a whole training: an SN, a SWOP, and two pairs of SL and training script as real processes."""

import re
from pathlib import Path

import yaml

from support.certs import make_workspace
from support.processes import COMMAND, Processes
from support.swarm import Swarm, identity_options
from support.swops import operations, script

NODES = ["SN-1", "SL-1", "SL-2", "SWOP-1", "SWCI-1"]
RUNNER = "defaulttaskbb.taskdb.sml.hpe"
CONTRACT = "defaultbb.cqdb.sml.hpe"
SCRIPT = f"""\
EXIT ON FAILURE
wait for ip 127.0.0.1 PORT
create context test with ip 127.0.0.1 PORT
switch context test
cd /platform/swarm/usr/
create task from build.yaml
finalize task build
create task from train.yaml
finalize task train
ASSIGN TASK build TO {RUNNER} WITH 1 PEERS
WAIT FOR TASKRUNNER {RUNNER}
RESET TASKRUNNER {RUNNER}
ASSIGN TASK train TO {RUNNER} WITH 2 PEERS
WAIT FOR TASKRUNNER {RUNNER}
LIST NODES
GET TASKRUNNER STATUS {RUNNER}
GET TASKRUNNER PEER STATUS {RUNNER} 0
PERFDATA {CONTRACT}
GET CONTRACT STATUS {CONTRACT}
RESET TASKRUNNER {RUNNER}
RESET CONTRACT {CONTRACT}
EXIT
"""


def write_tasks(folder: Path) -> None:
    """A build task, and one that trains with the stand-in for a script."""
    training = script("--min-peers", "2", working_dir=folder)
    common = {"Author": "test"}
    build = {"BuildContext": None, "BuildType": "INLINE", "BuildSteps": ["FROM python:3.11", "RUN pip install numpy"]}
    run = {
        "Command": training.command,
        "Entrypoint": training.entrypoint,
        "WorkingDir": training.working_dir,
        "Envvars": None,
        "PrivateContent": None,
        "SharedContent": None,
    }
    tasks = {
        "build": {"TaskType": "MAKE_USER_CONTAINER", "Prereq": "ROOTTASK", "Outcome": "environment", "Body": build},
        "train": {"TaskType": "RUN_SWARM", "Prereq": "build", "Outcome": "train", "Body": run},
    }
    for name, task in tasks.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"Name": name, **common, **task}))


def test_a_script_drives_a_whole_training(processes: Processes, tmp_path: Path) -> None:
    swarm = Swarm(processes, tmp_path, make_workspace(tmp_path / "cert", NODES))
    assert swarm.start_sn().ready
    folder = tmp_path / "usr"
    folder.mkdir()
    write_tasks(folder)
    (folder / "swci-init").write_text(SCRIPT.replace("PORT", str(swarm.port)))
    with operations(swarm) as ops:
        ops.start("SWOP-1", ["SL-1", "SL-2"])
        options = {"usr-dir": folder, "data-dir": tmp_path / "swci", **identity_options(swarm.identities["SWCI-1"])}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        swci = processes.start("SWCI", *COMMAND, "swci", *words)
        assert swci.wait() == 0, swci.output
    shown = swci.output
    assert "ERROR" not in shown
    assert shown.count("    TASK_STATE : COMPLETE\n") == 3
    assert re.search(r"\n    SENTINEL  +127\.0\.0\.1 +\d+ ", shown)
    assert re.search(rf"\n    SWOP +127\.0\.0\.1 +{swarm.port} +SWOP-1 ", shown)
    assert f"\n    TRAINING CONTRACT : {CONTRACT}\n" in shown
    assert "\n    SL PEERS SPAWNED : 2\n" in shown
    assert len(re.findall(r"\n    SL UID : \S+ , STATUS : COMPLETE , DESCRIPTION : ", shown)) == 2
    pairs = re.search(r"SWCI:\d+ > PERFDATA .*\n    SL NODE UID .*\n((?:    .*\n)*)SWCI", shown)
    assert pairs
    assert len(pairs[1].splitlines()) == 2
    assert "\n    CONTRACT STATE : COMPLETED\n" in shown
    assert shown.endswith("> EXIT\n")
