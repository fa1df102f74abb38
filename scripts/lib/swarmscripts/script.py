"""What the scripts that start a node have in common: from the command line to a container or a process."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from swarmscripts import VERSION, containers, processes
from swarmscripts.common import COMMON, SIDECAR, common_mounts, common_variables
from swarmscripts.containers import NOTHING, SHARED_GROUP, Container, Needs
from swarmscripts.dockeroptions import docker_options
from swarmscripts.errors import ScriptError
from swarmscripts.options import MAIN, Given, Option, Table, parse
from swarmscripts.runtime import Runtime, find_runtime

IMPLICIT_SIDECAR = "ml"
"""A sidecar that is there when an option of it is."""


@dataclass(frozen=True)
class Script:
    """One of them. Its functions raise `ScriptError` for options that are missing or wrong."""

    kind: str
    """`sn`, `sl`, `swop`, `swci` or `ui`: the command of `swarm`, and by default the image."""
    title: str
    options: Sequence[Option]
    check: Callable[[Given], None]
    needs: Callable[[Given, Runtime], Needs]
    """What the node needs of its container besides the common things."""
    arguments: Callable[[Given], Sequence[str]]
    """The arguments of `swarm <kind>` as a process, but for identity, name and data directory."""
    sidecar_needs: Needs = NOTHING
    """What the implicit sidecar needs; without any there is none."""
    called: str = ""
    """The name in that of the script and of the image, where it is not `kind`."""
    variables: Callable[[Given], Sequence[tuple[str, str]]] = lambda given: ()
    """The variables of `swarm <kind>` as a process."""

    @property
    def name(self) -> str:
        return f"run-{self.called or self.kind}"

    @property
    def image(self) -> str:
        return f"swarmlearning/{self.called or self.kind}:{VERSION}"


def main(script: Script, words: Sequence[str]) -> int:
    """Runs a script; returns its exit status."""
    try:
        return _run(script, words)
    except ScriptError as error:
        print(f"{script.name}: {error}", file=sys.stderr)
        return 1


def _run(script: Script, words: Sequence[str]) -> int:
    options = words[: words.index("--")] if "--" in words else words
    if "--help" in [word.lower() for word in options]:
        print(usage(script))
        return 0
    runtime = find_runtime(os.environ, sudo="--sudo" in [word.lower() for word in options])
    of_runtime = runtime.create_options() if runtime else docker_options()
    sidecars = list(dict.fromkeys(_sidecars(script, options)))
    tables = {name: Table([*SIDECAR, *of_runtime]) for name in sidecars}
    given, rest = parse(words, {MAIN: Table([*script.options, *COMMON, *of_runtime]), **tables})
    for word in rest:
        if script.sidecar_needs.environment and word.lower().startswith("--ml") and word in options:
            print(f"Error: {word} is an unsupported option.", file=sys.stderr)
            return 1
    main_given = given.pop(MAIN)
    script.check(main_given)
    if runtime is None:
        words, more = script.arguments(main_given), script.variables(main_given)
        return processes.start(script.kind, main_given, words, rest, given.get(IMPLICIT_SIDECAR), more)
    main_container = _main_container(script, main_given, runtime, rest)
    return containers.start(runtime, [main_container, *_sidecar_containers(script, given)])


def _main_container(script: Script, given: Given, runtime: Runtime, rest: Iterable[str]) -> Container:
    own = script.needs(given, runtime)
    label = ("--label", f"swarm-node-type={script.kind}") if "socket-path" in given else ()
    user_space = ("--userns", "keep-id") if runtime.is_rootless and "userns" not in given else ()
    needs = Needs(
        environment=[*common_variables(given), *own.environment],
        published=own.published,
        mounts=[*common_mounts(given), *own.mounts],
        arguments=["--group-add", SHARED_GROUP, *own.arguments, *label, *user_space],
    )
    return containers.container(given, needs, script.image, given.last("user") or _caller(), rest)


def _sidecar_containers(script: Script, given: dict[str, Given]) -> Iterator[Container]:
    for name, own in given.items():
        try:
            if name == IMPLICIT_SIDECAR and script.sidecar_needs.environment:
                shared = Given([*own.values, (Option("volumes-from-main"), "true")])
                user = _with_group(own.last("user")) or _caller()
                yield containers.container(shared, script.sidecar_needs, "", user)
            else:
                yield containers.container(own, NOTHING, "", own.last("user"))
        except ScriptError as error:
            raise ScriptError(f"sidecar {name}: {error}") from error


def _sidecars(script: Script, words: Iterable[str]) -> Iterator[str]:
    """The names of the sidecars on a command line."""
    following = False
    for word in words:
        name, _, value = word.partition("=")
        if following or (name.lower() == "--sidecar" and value):
            yield word if following else value
        following = word.lower() == "--sidecar"
        if word.lower().startswith(f"--{IMPLICIT_SIDECAR}-") and script.sidecar_needs.environment:
            yield IMPLICIT_SIDECAR


def _caller() -> str:
    """Who calls this script: containers run as this user, who can read the key and owns what they write."""
    return f"{os.getuid()}:{os.getgid()}"


def _with_group(user: str) -> str:
    """A user of this host with the group it has here; others as they are."""
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        return user
    return f"{user}:{entry.pw_gid}"


def usage(script: Script) -> str:
    """The text of `--help`."""
    lines = [f"Usage: {script.name} [OPTION]…", "", script.title, "", "Options, also as --OPTION=VALUE:"]
    for option in (*script.options, *COMMON):
        letter = f"-{option.letter}, " if option.letter else ""
        lines.append(f"  {f'{letter}--{option.name} {option.metavar}':<38} {option.help}".rstrip())
    lines += [
        "",
        "and every option of `docker container create`. Words after -- go to the node's command.",
        "Without docker and podman, and with SWARM_RUNTIME=process, the node runs as a process of this host.",
    ]
    if script.sidecar_needs.environment:
        lines.append("--ml-OPTION starts the training in a container beside the node: --ml-image, --ml-entrypoint, …")
    return "\n".join(lines)
