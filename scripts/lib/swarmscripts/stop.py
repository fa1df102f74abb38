"""`stop-swarm`: ends the nodes of this host; the training beside them is not touched."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from swarmscripts import VERSION, processes, records
from swarmscripts.errors import ScriptError
from swarmscripts.runtime import Runtime, find_runtime

TITLES = {
    "sl": "Swarm Learning",
    "sn": "Swarm Network",
    "swci": "Swarm Command Interface",
    "swop": "Swarm Operator",
    "slm-ui": "Swarm Learning UI",
}
NODES = ("sl", "sn", "swci", "swop")
COMMANDS = {"slm-ui": "ui"}
"""Of processes, where it is not the name of the image."""
STOP_SECONDS = 60.0
"""Time for a process to end in good order."""

USAGE = """Usage: stop-swarm [OPTION]…

Ends the nodes of this host, by default all.

  --all    all kinds of nodes
  --sl     Swarm Learning nodes
  --sn     Swarm Network nodes
  --swci   command interfaces
  --swop   Swarm Operator nodes
  --slm-ui the web interface, which is ended only where it is named
  --keep   keep the stopped containers
  --sudo   call the container runtime by sudo
  --help   show this text"""


def run(words: Sequence[str]) -> int:
    """Returns the exit status."""
    given = [word.lower().removeprefix("--") for word in words]
    for word, name in zip(words, given):  # noqa: B905 - of one length
        if not word.startswith("--") or name not in (*TITLES, "all", "keep", "sudo", "help"):
            print(f"Invalid flag: {word}\n{USAGE}", file=sys.stderr)
            return 1
    if "help" in given:
        print(USAGE)
        return 0
    kinds = [kind for kind in TITLES if kind in given]
    try:
        return stop(_kinds(kinds, everything="all" in given), "keep" in given, "sudo" in given)
    except ScriptError as error:
        print(f"stop-swarm: {error}", file=sys.stderr)
        return 1


def _kinds(named: Sequence[str], everything: bool) -> Sequence[str]:
    """What to end: what is named, else the nodes."""
    if not everything:
        return named or NODES
    return [*NODES, *(kind for kind in named if kind not in NODES)]


def stop(kinds: Sequence[str], keep: bool, sudo: bool) -> int:
    """Ends the nodes of these kinds, in containers and as processes; the exit status. Raises `ScriptError`."""
    runtime = find_runtime(os.environ, sudo)
    statuses = [0]
    for kind in kinds:
        if runtime is not None:
            _stop_containers(runtime, kind, keep)
        if runtime is None or any(record.kind == COMMANDS.get(kind, kind) for record in records.records()):
            statuses.append(_stop_processes(kind))
    return max(statuses)


def _stop_containers(runtime: Runtime, kind: str, keep: bool) -> None:
    title, image = TITLES[kind], f"swarmlearning/{kind}:{VERSION}"
    if running := runtime.containers_of(image):
        print(f"Stopping all running {title} containers")
        runtime.output("container", "stop", *running)
    else:
        print(f"No running {title} containers found")
    if keep:
        return
    if stopped := runtime.containers_of(image, "--all"):
        print(f"Removing all {title} containers")
        runtime.output("container", "rm", *stopped)
    else:
        print(f"No {title} containers found")


def _stop_processes(kind: str) -> int:
    title = TITLES[kind]
    of_kind = [record for record in records.records() if record.kind == COMMANDS.get(kind, kind)]
    running = [record for record in of_kind if record.runs]
    print(f"Stopping all running {title} processes" if running else f"No running {title} processes found")
    status = 0
    for record in of_kind:
        if processes.stop(record, STOP_SECONDS):
            records.remove(record)
        else:
            print(
                f"stop-swarm: {record.name}, process {record.pid}, has not ended in {STOP_SECONDS:.0f} s",
                file=sys.stderr,
            )
            status = 1
    return status
