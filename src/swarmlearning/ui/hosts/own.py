"""The environment that runs the UI, as the product of this machine: nothing is copied, and no bundle is needed.

It takes the place of a version that was installed: `current/bin` has commands that run it.
"""

import shlex
import sys
from typing import Final

from swarmlearning import __version__
from swarmlearning.ui.hosts.facts import Facts
from swarmlearning.ui.hosts.installing import claim, switch
from swarmlearning.ui.hosts.judging import Finding, Plan, faults, judge
from swarmlearning.ui.hosts.layout import COMPLETE
from swarmlearning.ui.hosts.machine import Machine, MachineError, checked
from swarmlearning.ui.hosts.probe import probe
from swarmlearning.ui.hosts.progress import Tell

NAME: Final = f"{__version__}-own"
_OF_A_COPY: Final = frozenset({"python-missing", "python-incomplete", "libc", "machine", "disk"})
"""What matters only where the product is copied: here it runs already."""

_FOLDER: Final = 'set -eu; umask 022; mkdir -p "$1/bin"'


def matters(code: str) -> bool:
    """Whether a finding of this code matters here."""
    return code not in _OF_A_COPY


def judged(facts: Facts, plan: Plan) -> tuple[Finding, ...]:
    """The findings on this machine, faults first."""
    return tuple(each for each in judge(facts, plan) if matters(each.code))


async def adopt(machine: Machine, plan: Plan, tell: Tell) -> str:
    """Lets nodes that start from now on run in the environment of this process; returns the version's name.

    Raises `MachineError`.
    """
    tell("check", "running")
    facts = await probe(machine, plan.layout)
    if in_the_way := faults(judged(facts, plan)):
        raise MachineError(f"{machine.name}: " + "; ".join(each.text for each in in_the_way))
    tell("check", "done", facts.system)
    tell("install", "running")
    whole = plan.layout.version(NAME)
    await claim(machine, plan.layout, NAME)
    checked(machine, await machine.run(_FOLDER, whole), f"making {whole}")
    python = shlex.quote(sys.executable)
    for name, command in (("swarm", f"{python} -P -m swarmlearning.cli.main"), ("python", python), ("python3", python)):
        await machine.put(f'#!/bin/sh\nexec {command} "$@"\n'.encode(), f"{whole}/bin/{name}", 0o755)
    await machine.put(b"", f"{whole}/{COMPLETE}", 0o644)
    await switch(machine, plan.layout, NAME)
    tell("install", "done", f"version {__version__}, as the UI itself")
    return NAME
