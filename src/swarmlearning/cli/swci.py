"""`swarm swci`: the Swarm Command Interface, with the option names of the original's script.

It ends with 0; with 1 where a command failed while EXIT ON FAILURE was on, or it could not start; with 2 for options
that are wrong; with 130 by Ctrl-C in a script.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from swarmlearning.cli.command import command
from swarmlearning.cli.options import Credentials, DataDir, NetworkId, data_directory
from swarmlearning.files import make_private
from swarmlearning.node.errors import NodeError
from swarmlearning.node.logs import banner
from swarmlearning.node.settings import SwciEnvironment
from swarmlearning.swci.session import Session, SessionSettings
from swarmlearning.swci.shell import Screen, interact, run_script

LARGEST_SCRIPT = 1 << 20
INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class SwciOptions:
    """The options of SWCI, as `swarm swci --help` lists them."""

    usr_dir: Annotated[
        Path | None, typer.Option(help="Folder with scripts and task files; by default USR_DIR. Without: no script.")
    ] = None
    init_script_name: Annotated[
        str, typer.Option(help="Script in that folder that runs first; by default SWCI_STARTUP_SCRIPT, or swci-init.")
    ] = ""
    network_id: NetworkId = ""
    data_dir: DataDir = None
    credentials: Credentials

    def script(self, environment: SwciEnvironment, folder: Path | None) -> list[str]:
        """The lines of the script that runs first; none without one. Raises `NodeError`."""
        named = self.init_script_name or environment.swci_startup_script
        if folder is None:
            if named:
                raise NodeError(f"--init-script-name: {named}: a script lies in the user directory: give --usr-dir")
            return []
        path = folder / (named or "swci-init")
        if not named and not path.exists():
            return []
        return _lines(path)


@command("swarm swci")
def swci(options: SwciOptions) -> None:
    """Run the command interface: first the script, then what is typed. HELP lists the commands."""
    environment = SwciEnvironment()
    if environment.swci_mode.upper() != "CLI":
        raise NodeError(f"SWCI_MODE={environment.swci_mode}: this version has the mode CLI only")
    folder = options.usr_dir or environment.usr_dir
    if folder is not None and not folder.is_dir():
        raise NodeError(f"--usr-dir: {folder}: bad path")
    script = options.script(environment, folder)
    home = data_directory(options.data_dir, "swci")
    history = _history(home)
    settings = SessionSettings(
        identity=options.credentials.identity(),
        home=home,
        user_directory=folder,
        network_id=options.network_id,
        run_task_minutes=environment.run_task_minutes,
        other_task_minutes=environment.other_task_minutes,
    )
    try:
        failed = asyncio.run(_run(settings, script, history))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(1 if failed else 0)


async def _run(settings: SessionSettings, script: Sequence[str], history: Path) -> bool:
    """Runs the script, then the shell; True where a failure has ended the session."""
    session = Session(settings)
    screen = Screen(session, sys.stdout, notes=sys.stdout.isatty())
    print(banner("SWCI"), flush=True)
    try:
        await run_script(session, screen, script)
        if not session.ended:
            await interact(session, screen, history)
    finally:
        await session.close()
    return session.failed


def _history(home: Path) -> Path:
    """The file of what has been typed, which only its owner reads. Raises `NodeError`."""
    path = home / "history"
    try:
        make_private(home)
        path.touch(mode=0o600)
        path.chmod(0o600)
    except OSError as error:
        raise NodeError(f"{path}: cannot be written: {error.strerror}; choose another --data-dir") from error
    return path


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_SCRIPT + 1)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise NodeError(f"--init-script-name: {path}: bad file: {error}") from error
    if len(content) > LARGEST_SCRIPT:
        raise NodeError(f"--init-script-name: {path}: bad file: larger than {LARGEST_SCRIPT} bytes")
    return text.splitlines()
