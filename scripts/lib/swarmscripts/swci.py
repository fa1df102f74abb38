"""`run-swci`: starts the command interface."""

from __future__ import annotations

from collections.abc import Sequence

from swarmscripts.common import USR, file_in_user_folder, present, user_folder
from swarmscripts.containers import Needs
from swarmscripts.errors import ScriptError
from swarmscripts.mounts import Mount
from swarmscripts.options import Given, Option
from swarmscripts.runtime import Runtime
from swarmscripts.script import Script, main

OPTIONS = (
    Option("usr-dir", "DIR", "user folder, with the script to begin with; without one all is interactive"),
    Option("init-script-name", "FILE", "that script"),
)


def check(given: Given) -> None:
    """Raises `ScriptError` for a script that is not there."""
    if given.last("init-script-name") and not given.last("usr-dir"):
        raise ScriptError("mandatory parameter --usr-dir not specified: --init-script-name is a file in it")
    user_folder(given)
    file_in_user_folder(given, "init-script-name", "file")


def needs(given: Given, _runtime: Runtime) -> Needs:
    """The variables and mounts of the container, which is removed when the command interface ends."""
    folder = user_folder(given)
    return Needs(
        present(("SWCI_STARTUP_SCRIPT", given.last("init-script-name"))),
        mounts=[Mount(folder, USR)] if folder else [],
        arguments=[] if "rm" in given else ["--rm=true"],
    )


def arguments(given: Given) -> Sequence[str]:
    """The options of `swarm swci`."""
    found: list[str] = ["--usr-dir", user_folder(given)] if given.last("usr-dir") else []
    return [*found, "--init-script-name", given.last("init-script-name")] if given.last("init-script-name") else found


SWCI = Script("swci", "Starts the command interface (SWCI).", OPTIONS, check, needs, arguments)


def run(words: Sequence[str]) -> int:
    """Returns the exit status."""
    return main(SWCI, words)
