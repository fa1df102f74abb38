"""What is known of the nodes that run as processes of this host: one folder each, with a record, log and data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from swarmscripts.errors import ScriptError

RECORD = "process.json"


@dataclass(frozen=True)
class Record:
    """A process that was started. `began`: its start as the kernel counts it, which tells it from a later process with
    the same ID; `host` and `api_port`: where an SN's API is; `keeper`: the process that keeps its log."""

    kind: str
    name: str
    pid: int
    began: str
    host: str = ""
    api_port: str = ""
    keeper: int = 0

    @property
    def runs(self) -> bool:
        """Whether it still runs."""
        return began(self.pid) == self.began


def place(name: str) -> Path:
    """The folder of the node with this name. Raises `ScriptError` for a name that is no file name."""
    if not name or name != Path(name).name or name.startswith("."):
        raise ScriptError(f"--name: {name}: use letters, digits, '-', '_' and '.'")
    return root() / name


def root() -> Path:
    """The folder of all nodes that this user runs as processes."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "swarmlearning" / "scripts"


def write(record: Record) -> None:
    """Keeps a record in its node's folder, which is there."""
    folder = place(record.name)
    new = folder / f".{RECORD}"
    new.write_text(json.dumps(asdict(record)))
    new.replace(folder / RECORD)


def records() -> Iterator[Record]:
    """All records, in the order of their names. Raises `ScriptError` for one that cannot be read."""
    for file in sorted(root().glob(f"*/{RECORD}")):
        try:
            yield Record(**json.loads(file.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise ScriptError(f"{file}: cannot be read ({error}); if that node does not run, delete it") from error


def remove(record: Record) -> None:
    """Forgets a process; its log and data stay."""
    (place(record.name) / RECORD).unlink(missing_ok=True)


def began(pid: int) -> str:
    """When a process began, in the kernel's ticks since its own start; empty where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] == "Z" else fields[19]
