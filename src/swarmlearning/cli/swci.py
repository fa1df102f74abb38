"""`swarm swci`: the Swarm Command Interface, with the option names of the original's script.

It ends with 0; with 1 where a command failed while EXIT ON FAILURE was on, or it could not start; with 2 for options
that are wrong; with 130 by Ctrl-C in a script.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, get_args

import typer

from swarmlearning.cli.command import command
from swarmlearning.cli.options import Credentials, DataDir, LicenseOptions, NetworkId, data_directory
from swarmlearning.cli.running import run_node
from swarmlearning.files import make_private
from swarmlearning.license.servers import LicenseServers
from swarmlearning.node.errors import NodeError
from swarmlearning.node.expiry import warn_of_own, while_working
from swarmlearning.node.logs import banner, start_logging
from swarmlearning.node.settings import SwciEnvironment
from swarmlearning.operator.licensing import licensed_session
from swarmlearning.swci.session import Session, SessionSettings
from swarmlearning.swci.shell import Screen, interact, run_script

LARGEST_SCRIPT = 1 << 20
INTERRUPTED = 130
DEFAULT_SCRIPT = "swci-init"

Mode: TypeAlias = Literal["CLI", "WEB"]
After: TypeAlias = Callable[[Session, Screen], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class SwciOptions:
    """The options of SWCI, as `swarm swci --help` lists them."""

    usr_dir: Annotated[
        Path | None, typer.Option(help="Folder with scripts and task files; by default USR_DIR. Without: no script.")
    ] = None
    init_script_name: Annotated[
        str, typer.Option(help="Script in that folder that runs first; by default SWCI_STARTUP_SCRIPT, or swci-init.")
    ] = ""
    bind_ip: Annotated[str, typer.Option(help="Address that the mode WEB listens on; by default all.")] = "0.0.0.0"
    network_id: NetworkId = ""
    data_dir: DataDir = None
    credentials: Credentials
    license: LicenseOptions

    def mode(self, environment: SwciEnvironment, folder: Path | None) -> Mode:
        """The mode. Raises `NodeError` for one that there is not, or that lacks its user directory."""
        modes: tuple[Mode, ...] = get_args(Mode)
        mode = next((each for each in modes if each == environment.swci_mode.upper()), None)
        if mode is None:
            raise NodeError(f"SWCI_MODE={environment.swci_mode}: there are the modes {' and '.join(modes)}")
        if mode == "WEB" and folder is None:
            raise NodeError("SWCI_MODE=WEB: clients upload files to the user directory: give --usr-dir")
        return mode

    def script_path(self, environment: SwciEnvironment, folder: Path | None) -> Path | None:
        """Where the script that runs first lies or would lie; None without a user directory. Raises `NodeError`."""
        named = self.init_script_name or environment.swci_startup_script
        if folder is None and named:
            raise NodeError(f"--init-script-name: {named}: a script lies in the user directory: give --usr-dir")
        return folder / (named or DEFAULT_SCRIPT) if folder is not None else None


@command("swarm swci")
def swci(options: SwciOptions) -> None:
    """Run the command interface: first the script, then what is typed. HELP lists the commands."""
    environment = SwciEnvironment()
    folder = options.usr_dir or environment.usr_dir
    if folder is not None and not folder.is_dir():
        raise NodeError(f"--usr-dir: {folder}: bad path")
    mode = options.mode(environment, folder)
    path = options.script_path(environment, folder)
    script = _lines(path) if path is not None and (path.name != DEFAULT_SCRIPT or path.exists()) else []
    home = data_directory(options.data_dir, "swci")
    servers = options.license.servers()
    settings = SessionSettings(
        source=(source := options.credentials.source("SWCI")),
        home=home,
        user_directory=folder,
        network_id=options.network_id,
        run_task_minutes=environment.run_task_minutes,
        other_task_minutes=environment.other_task_minutes,
        web=mode == "WEB",
    )
    print(banner("SWCI"), flush=True)
    if mode == "WEB":
        start_logging("WARNING")
        after = partial(_serve, script=path, bind=options.bind_ip, port=environment.swci_web_port)
        work = while_working(_run(settings, servers, script, after), source.watch(), warn_of_own(source))
        failed = run_node(work, look=source.look)
    else:
        history = _history(home)
        try:
            work = _run(settings, servers, script, partial(interact, history=history))
            failed = asyncio.run(while_working(work, source.watch()))
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(1 if failed else 0)


async def _serve(session: Session, _screen: Screen, script: Path | None, bind: str, port: int) -> None:
    """Serves the web mode; its modules are imported for it alone."""
    from swarmlearning.swci.web.serving import serve

    await serve(session, script, bind, port)


async def _run(settings: SessionSettings, servers: LicenseServers, script: Sequence[str], after: After) -> bool:
    """Runs the script, then what comes `after` it; True where a failure has ended the session."""
    session = Session(settings)
    screen = Screen(session, sys.stdout, notes=sys.stdout.isatty())
    async with licensed_session(servers, settings.source, settings.home):
        try:
            await run_script(session, screen, script)
            if not session.ended:
                await after(session, screen)
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
