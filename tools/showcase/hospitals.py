"""Who takes part: the hospitals with their certificates, and what their SWOPs are given."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from swarmlearning.choices import DEFAULT_TASKRUNNER
from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.identity.workspace import Workspace
from swarmlearning.supervise.processes import RunError

HOST: Final = "127.0.0.1"
DAYS: Final = 90
CONTRACT: Final = "thorax-findings"
TRAIN: Final = Path(__file__).with_name("train.py")


class Hospital(NamedTuple):
    """An organisation: its ID, its name for people, and how many pairs of SL and script it has."""

    id: str
    name: str
    pairs: int

    @property
    def sn(self) -> str:
        """Its SN's certificate."""
        return f"SN-{self.id}"

    @property
    def swop(self) -> str:
        """Its SWOP's certificate."""
        return f"SWOP-{self.id}"

    @property
    def sls(self) -> list[str]:
        """Its SLs' certificates."""
        return [f"SL-{self.id}-{number}" for number in range(1, self.pairs + 1)]


HOSPITALS: Final = (
    Hospital("nordklinik", "Nordklinik", 2),
    Hospital("st-anna", "St. Anna Hospital", 1),
    Hospital("uniklinik", "Uniklinik Süd", 1),
)
OURS: Final = HOSPITALS[0]
"""The one whose UI it is."""
UI: Final = f"UI-{OURS.id}"
PAIRS: Final = sum(each.pairs for each in HOSPITALS)


class Task(NamedTuple):
    """A task that trains: its name, what is noted and tagged of its run, and the options of the script."""

    name: str
    note: str
    tags: str
    options: Mapping[str, str]


TASKS: Final = (
    Task("baseline", "First model of all three hospitals.", "pilot, baseline", {"rate": "0.05", "sync": "5"}),
    Task("larger-steps", "A higher rate of learning, and fewer merges.", "pilot", {"rate": "0.15", "sync": "10"}),
    Task("robust", "Merged by the median, which one odd site cannot bend.", "pilot, robust", {"method": "coordmedian"}),
)


def make_certificates(root: Path) -> Workspace:
    """An authority for each hospital, and a certificate for each node. Raises `RunError`."""
    workspace = Workspace(root)
    try:
        for each in HOSPITALS:
            authority = create_authority(each.id, DAYS)
            workspace.save_authority(each.id.upper(), authority)
            for node in (each.sn, each.swop, *each.sls, *((UI,) if each is OURS else ())):
                workspace.save_node(node, issue(authority, node, [], [HOST], DAYS))
    except OSError as error:
        raise RunError(f"{root}: certificates cannot be written: {error}") from error
    return workspace


def founding(workspace: Workspace) -> str:
    """The file that describes the organisations of the network."""
    return "\n".join(
        f'[[organisation]]\nid = "{each.id}"\nname = "{each.name}"\n[[organisation.authority]]\n'
        f'certificate = "{workspace.authority_certificate(each.id)}"\n'
        for each in HOSPITALS
    )


def profile(workspace: Workspace, hospital: Hospital, ports: Iterator[int], first: int, pace: float) -> str:
    """The profile of a hospital's SWOP; `first`: the number of its first site, `pace` of its scripts."""

    def node(index: int, name: str) -> dict[str, Any]:
        files = {"KEY": workspace.key(name), "CERT": workspace.certificate(name), "CAPATH": workspace.capath}
        identity = [
            {"aType": kind, "mType": "BIND", "src": str(path), "tgt": str(path)} for kind, path in files.items()
        ]
        return {
            "idx": index,
            "identity": [{"attribute": each} for each in identity],
            "slhostname": name.removeprefix("SL-"),
            "slhostip": HOST,
            "slport": next(ports),
            "privatedata": None,
            "slenvvars": None,
            "usrhostname": None,
            "usrenvvars": [{"SITE": str(first + index)}, {"PACE": str(pace)}],
        }

    content = {
        "groupname": hospital.id,
        "taskrunner": DEFAULT_TASKRUNNER,
        "resourcemgr": {"mgrtype": "PROCESS"},
        "apisrv": {"locator": {"host": None, "port": None, "service": None}},
        "nodes": [{"slnodedef": node(index, name)} for index, name in enumerate(hospital.sls)],
    }
    return yaml.safe_dump(content, sort_keys=False)


def policy(hospital: Hospital) -> str:
    """A site's policy: tasks of our operators run there."""
    return yaml.safe_dump({"trust": ["own", *([] if hospital is OURS else [OURS.id])]})


def task_file(task: Task, folder: Path) -> str:
    """The file of a task; the scripts work in this folder."""
    options = {"contract": CONTRACT, "peers": str(PAIRS), **task.options}
    words = (word for name, value in options.items() for word in (f"--{name}", value))
    body = {
        "Command": " ".join((str(TRAIN), *words)),
        "Entrypoint": sys.executable,
        "WorkingDir": str(folder),
        "Envvars": None,
        "PrivateContent": None,
        "SharedContent": None,
    }
    head = {"Name": task.name, "TaskType": "RUN_SWARM", "Author": OURS.id, "Prereq": "ROOTTASK", "Outcome": task.name}
    return yaml.safe_dump({**head, "Body": body}, sort_keys=False)
