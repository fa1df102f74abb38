"""The container runtime of this host: docker or podman, by its command."""

from __future__ import annotations

import grp
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from swarmscripts.errors import ScriptError
from swarmscripts.options import Option

VARIABLE = "SWARM_RUNTIME"
"""Chooses one of `CHOICES` where a host has several."""
CHOICES = ("docker", "podman", "process")

_HELP_LINE = re.compile(r"^\s+(?:-(?P<letter>\w), )?--(?P<name>[a-z][\w-]*)(?: (?P<type>\S+))?(?:\s{2,}.*)?$")


@dataclass(frozen=True)
class Runtime:
    """How to call it; `name` is `docker` or `podman`."""

    name: str
    command: tuple[str, ...]

    def output(self, *arguments: str) -> str:
        """What a command prints, without white space around it. Raises `ScriptError` with its message if it fails."""
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True)
        if done.returncode:
            said = done.stderr.strip() or f"exit status {done.returncode}"
            raise ScriptError(f"{' '.join((self.name, *arguments[:2]))}: {said}")
        return done.stdout.strip()

    def run(self, *arguments: str) -> int:
        """Runs a command on this terminal; returns its exit status."""
        return subprocess.run([*self.command, *arguments]).returncode

    def create_options(self) -> tuple[Option, ...]:
        """The options of `container create`, as this version of the runtime lists them."""
        return options_in(self.output("container", "create", "--help"))

    def containers_of(self, image: str, *arguments: str) -> list[str]:
        """The IDs of the containers of an image that run, or with `--all` of all. Raises `ScriptError`."""
        ancestor = image
        if self.name == "podman":  # compares whole names, with the registry's, or IDs
            ancestor = self.output("image", "ls", "--quiet", "--no-trunc", image).removeprefix("sha256:")
            if not ancestor:
                return []
        return self.output("container", "ls", *arguments, "--quiet", "--filter", f"ancestor={ancestor}").split()

    @property
    def is_rootless(self) -> bool:
        """Whether root in a container is the user who starts it."""
        return self.name == "podman" and os.geteuid() != 0


def find_runtime(environ: Mapping[str, str], sudo: bool = False) -> Runtime | None:
    """The runtime to use; None where nodes run as processes. Raises `ScriptError` for one that is not there."""
    chosen = environ.get(VARIABLE, "")
    if chosen and chosen not in CHOICES:
        raise ScriptError(f"{VARIABLE}={chosen}: choose one of {', '.join(CHOICES)}")
    if chosen == "process":
        return None
    for name in (chosen,) if chosen else ("docker", "podman"):
        if shutil.which(name, path=environ.get("PATH")):
            as_root = sudo or (name == "docker" and _needs_sudo(environ))
            return Runtime(name, ("sudo", name) if as_root else (name,))
    if chosen:
        raise ScriptError(f"{VARIABLE}={chosen}: there is no {chosen} on this host's PATH")
    return None


def options_in(text: str) -> tuple[Option, ...]:
    """The options in a runtime's help: one a line, `-e, --env list   Set …`; those without a type are flags."""
    matches = [match for line in text.splitlines() if (match := _HELP_LINE.match(line))]
    return tuple(
        Option(match["name"], match["type"] or "", letter=match["letter"] or "", handed_on=True)
        for match in matches
        if match["name"] != "help"
    )


def _needs_sudo(environ: Mapping[str, str]) -> bool:
    """Whether docker is for root and its group, and this user is neither."""
    if os.geteuid() == 0 or environ.get("DOCKER_HOST"):
        return False
    groups: Sequence[int] = os.getgroups()
    return 0 not in groups and group_id("docker") not in groups


def group_id(name: str) -> int | None:
    """The ID of a group of this host; None where there is none of that name."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
