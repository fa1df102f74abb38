"""Starts a node in a container, and its sidecars after it."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from swarmscripts.errors import ScriptError
from swarmscripts.mounts import Mount, read_mount
from swarmscripts.options import Given
from swarmscripts.runtime import Runtime

INFORMATION = "/tmp/container_info_file"
"""What a container knows of itself: three lines, its ID, its image's name, the image's ID."""

SHARED_GROUP = "58000"
"""The group of the images' folders: all nodes and the training belong to it, whatever users they run as."""

OWN = ("name", "hostname", "volume", "env", "user", "interactive", "tty", "attach")
"""Options of the runtime that are read here; all others are handed on as they are."""


@dataclass(frozen=True)
class Needs:
    """What a node needs of its container."""

    environment: Sequence[tuple[str, str]] = ()
    published: Sequence[str] = ()
    """Ports as `host:container`."""
    mounts: Sequence[Mount] = ()
    arguments: Sequence[str] = ()
    """Further arguments of `create`."""


NOTHING = Needs()


@dataclass(frozen=True)
class Container:
    """What is handed to `create`. A sidecar may share the main container's processes and volumes."""

    image: str
    arguments: Sequence[str]
    command: Sequence[str]
    detached: bool
    shares_processes: bool = False
    shares_volumes: bool = False


def container(given: Given, needs: Needs, image: str, user: str, rest: Iterable[str] = ()) -> Container:
    """The container of these options; `user`: who it runs as, empty for the image's. Raises `ScriptError`."""
    mounts = [*needs.mounts, *(read_mount(text) for text in given.all("volume"))]
    arguments: list[str] = []
    for name, value in needs.environment:
        arguments += ["--env", f"{name}={value}"]
    for ports in needs.published:
        arguments += ["--publish", ports]
    for mount in mounts:
        arguments += ["--volume", mount.text]
    for text in given.all("env"):
        arguments += ["--env", text]
    arguments += [*needs.arguments, *_identity_of(given, user), *_terminal(given), *_handed_on(given)]
    return Container(
        image=image_of(given, image),
        arguments=arguments,
        command=[*shlex.split(given.last("cmd")), *rest],
        detached=given.flag("detach"),
        shares_processes=given.flag("pid-main"),
        shares_volumes=given.flag("volumes-from-main"),
    )


def image_of(given: Given, default: str) -> str:
    """`--image`, or the default one with another name or tag. Raises `ScriptError` without any."""
    if whole := given.last("image"):
        return whole
    name, _, tag = default.partition(":")
    name, tag = given.last("image-name") or name, given.last("image-tag") or tag
    if not name:
        raise ScriptError("mandatory parameter --image not specified")
    return f"{name}:{tag}" if tag else name


def start(runtime: Runtime, containers: Sequence[Container]) -> int:
    """Creates and starts the containers, the main one first, and shows the first that is not detached until it ends.

    Returns the exit status of that one, 0 where all are detached: their IDs are printed. What has been created is
    removed again when a later one cannot be started. Raises `ScriptError`.
    """
    shown = next((place for place, each in enumerate(containers) if not each.detached), None)
    started: list[str] = []
    try:
        for place, each in enumerate(containers):
            started.append(_create(runtime, each, started[0] if started else ""))
            _inform(runtime, started[-1], each.image)
            if place == shown == len(containers) - 1:
                return runtime.run("container", "start", "--attach", "--interactive", started[-1])
            runtime.output("container", "start", started[-1])
    except ScriptError:
        if started:
            runtime.output("container", "rm", "--force", *started)
        raise
    if shown is None:
        print("\n".join(started), flush=True)
        return 0
    return _show(runtime, started[shown])


def _show(runtime: Runtime, identifier: str) -> int:
    """Attaches the terminal to a container that runs; without a terminal its whole log is shown. Its exit status."""
    if os.isatty(0):
        runtime.run("container", "logs", identifier)
        return runtime.run("container", "attach", identifier)
    runtime.run("container", "logs", "--follow", identifier)
    return int(runtime.output("container", "wait", identifier))


def _create(runtime: Runtime, each: Container, main: str) -> str:
    shared = []
    if main and each.shares_processes:
        shared += ["--pid", f"container:{main}"]
    if main and each.shares_volumes:
        shared += ["--volumes-from", main]
    return runtime.output("container", "create", *each.arguments, *shared, each.image, *each.command).split()[-1]


def _inform(runtime: Runtime, identifier: str, image: str) -> None:
    """Puts `INFORMATION` into the container: a SWOP finds the image of its SLs by it."""
    image_id = runtime.output("container", "inspect", "--format", "{{.Image}}", identifier)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "container_info_file")
        file.write_text(f"{identifier}\n{image}\n{image_id}\n")
        file.chmod(0o644)
        runtime.output("container", "cp", str(file), f"{identifier}:{INFORMATION}")


def _identity_of(given: Given, user: str) -> Iterator[str]:
    """The container's names, and the user it runs as."""
    if name := given.last("name"):
        yield from ("--name", name)
    if hostname := given.last("hostname") or name:
        yield from ("--hostname", hostname)
    if user:
        yield from ("--user", user)


def _terminal(given: Given) -> Iterator[str]:
    if "attach" in given and given.flag("detach"):
        raise ScriptError("--attach: conflicts with --detach")
    yield f"--interactive={given.last('interactive') or 'true'}"
    if "tty" in given:
        yield f"--tty={given.last('tty')}"
    elif os.isatty(0) and not given.flag("detach"):
        yield "--tty=true"
    for stream in given.all("attach"):
        yield from ("--attach", stream)


def _handed_on(given: Given) -> Iterator[str]:
    for option, value in given.values:
        if not option.handed_on or option.name in OWN:
            continue
        if option.is_flag:
            yield f"--{option.name}={value}"
        else:
            yield from (f"--{option.name}", value)
