"""What a person uploads in the story: a script, profiles, one of them with a fault, tasks, and the authority."""

import shutil
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from support.ports import fixed_port
from support.swarm import ML
from swarmlearning.choices import DEFAULT_TASKRUNNER

SITES: Final = {2: "SL-2", 3: "SL-3"}
"""By the number of its host: the SL of each SWOP."""
MARKUP: Final = "<img src=x onerror=hit=1><script>hit=2</script>"
"""What a node calls itself, and what a script prints."""
HOLD: Final = 2
"""Merges after which the scripts of the first run wait for the gate, and once more after the next one."""
ROUNDS: Final = {"first": 5, "second": 3}
"""By task: the rounds that its scripts train."""
FAULTY: Final = "faulty.yaml"
GATE: Final = "gate"


def profile_name(number: int) -> str:
    """The file of the profile for a host."""
    return f"site-{number}.yaml"


def write_files(folder: Path, authority: Path) -> None:
    """Writes all of them; scripts work in the folder, where their gate is."""
    folder.mkdir()
    shutil.copy(authority, folder / "authority.pem")
    (folder / "train.sh").write_text(f"echo '{MARKUP}'\nexec {sys.executable} {ML} --index $SITE \"$@\"\n")
    (folder / FAULTY).write_text("groupname: north\ntaskrunner: 12:\n")
    for number, sl in SITES.items():
        (folder / profile_name(number)).write_text(yaml.safe_dump(_profile(number, sl), sort_keys=False))
    for name, rounds in ROUNDS.items():
        held = f" --hold-at {HOLD} --hold-at {HOLD + 1} --gate {GATE}" if name == "first" else ""
        command = f"train.sh --rounds {rounds} --min-peers {len(SITES)}{held}"  # paths may be too long for a task
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(_task(name, command, folder), sort_keys=False))


def _task(name: str, command: str, folder: Path) -> dict[str, Any]:
    body = {
        "Command": command,
        "Entrypoint": "/bin/sh",
        "WorkingDir": str(folder),
        "Envvars": None,
        "PrivateContent": None,
        "SharedContent": None,
    }
    head = {"Name": name, "TaskType": "RUN_SWARM", "Author": "ada", "Prereq": "ROOTTASK", "Outcome": name}
    return {**head, "Body": body}


def _profile(number: int, sl: str) -> dict[str, Any]:
    certs = f"<PROJECT-CERTS>/{sl.lower()}"
    files = {"KEY": f"{certs}-key.pem", "CERT": f"{certs}-cert.pem", "CAPATH": "<PROJECT-CACERTS>"}
    identity = [{"aType": kind, "mType": "BIND", "src": path, "tgt": path} for kind, path in files.items()]
    node = {
        "idx": 0,
        "identity": [{"attribute": each} for each in identity],
        "slhostname": sl,
        "slhostip": "<HOST_ADDRESS>",
        "slport": fixed_port(),
        "privatedata": None,
        "slenvvars": None,
        "usrhostname": None,
        "usrenvvars": [{"SITE": str(number)}],
    }
    return {
        "groupname": f"site-{number}",
        "taskrunner": DEFAULT_TASKRUNNER,
        "resourcemgr": {"mgrtype": "PROCESS"},
        "apisrv": {"locator": {"host": None, "port": None, "service": None}},
        "nodes": [{"slnodedef": node}],
    }
