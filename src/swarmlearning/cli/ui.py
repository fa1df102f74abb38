"""`swarm ui`: the web interface, SLM-UI. Its own modules are imported when it runs; they need the extra `ui`."""

import asyncio
import getpass
import importlib.util
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarmlearning.cli import uibackup
from swarmlearning.cli.command import command
from swarmlearning.cli.options import (
    Credentials,
    DataDir,
    LicenseOptions,
    NetworkId,
    NodeProcess,
    data_directory,
    sn_address,
)
from swarmlearning.cli.running import run_node
from swarmlearning.errors import UserError
from swarmlearning.identity.source import WatchedSource
from swarmlearning.node.errors import NodeError
from swarmlearning.node.expiry import warn_of_own, while_working
from swarmlearning.node.logfile import kept_log
from swarmlearning.node.logs import banner, start_logging
from swarmlearning.node.ready import Ready

if TYPE_CHECKING:
    from swarmlearning.ui.settings import Serving, UiEnvironment, UiSettings
    from swarmlearning.ui.store.database import Database

NEEDED = ("jinja2", "argon2", "asyncssh")
"""Modules of the extra `ui`."""
PORT = 30302
NAME = "SLM-UI"

app = typer.Typer(invoke_without_command=True, help="Run the web interface, or care for what it keeps.")
uibackup.add_to(app)


@dataclass(frozen=True, kw_only=True)
class UiOptions:
    """The options of the web interface, as `swarm ui --help` lists them."""

    host: Annotated[
        str, typer.Option("--host", envvar="SLM_UI_HOST", help="Address to listen on; 0.0.0.0 for all.")
    ] = "127.0.0.1"
    port: Annotated[int, typer.Option("--port", envvar="SLM_UI_PORT", min=0, max=65535, help="Port for browsers.")] = (
        PORT
    )
    public_port: Annotated[
        int | None,
        typer.Option(
            envvar="SLM_UI_PUBLIC_PORT", min=1, max=65535, help="The port that browsers use, if that is another one."
        ),
    ] = None
    http_redirect_port: Annotated[
        int | None,
        typer.Option(
            envvar="SLM_UI_HTTP_PORT", min=0, max=65535, help="Also listen on this port for HTTP, and lead to HTTPS."
        ),
    ] = None
    https_cert: Annotated[
        Path | None,
        typer.Option(
            envvar="SLM_UI_HTTPS_CERT",
            help="Certificate for browsers (PEM, with intermediates); by default the one of --cert.",
        ),
    ] = None
    https_key: Annotated[
        Path | None, typer.Option(envvar="SLM_UI_HTTPS_KEY", help="Private key of that certificate (PEM).")
    ] = None
    http: Annotated[
        bool, typer.Option("--http", help="Without TLS: for this machine alone, or behind a proxy that adds it.")
    ] = False
    behind_proxy: Annotated[
        str,
        typer.Option(
            envvar="SLM_UI_BEHIND_PROXY",
            help="IP address of the reverse proxy whose X-Forwarded-* headers are believed.",
        ),
    ] = ""
    sn_ip: Annotated[str, typer.Option(envvar="SN_NODE_IP", help="Address of any SN of the network.")] = "127.0.0.1"
    sn_api_port: Annotated[int, typer.Option(envvar="SN_API_SERVER_PORT", help="API port of that SN.")] = 30304
    network_id: NetworkId = ""
    bundle: Annotated[
        Path | None,
        typer.Option(help="Folder of the bundle that hosts get (make bundle); by default bundle/ in the data folder."),
    ] = None
    data_dir: DataDir = None
    credentials: Credentials
    license: LicenseOptions
    process: NodeProcess

    def source(self) -> WatchedSource | None:
        """The identity; None where none is named: the UI then begins with its set-up. Raises `IdentityError`."""
        files = self.credentials.files
        if self.credentials.agent() is None and not (files.cert or files.key):
            return None
        return self.credentials.source("UI")

    def serving(self) -> "Serving":
        """Where and how to serve. Raises `NodeError`."""
        from swarmlearning.ui.settings import Serving

        if (self.https_cert is None) != (self.https_key is None):
            raise NodeError("--https-cert and --https-key belong together: give both, or none")
        if self.http and self.https_cert is not None:
            raise NodeError("--http is without a certificate: leave out --https-cert and --https-key, or --http")
        if self.http and self.http_redirect_port is not None:
            raise NodeError("--http serves no HTTPS to which --http-redirect-port could lead: leave out one of them")
        return Serving(
            host=self.host,
            port=self.port,
            certificate=self.https_cert,
            key=self.https_key,
            plain=self.http,
            proxy=self.behind_proxy,
            public_port=self.public_port,
            redirect_port=self.http_redirect_port,
        )

    def settings(self, environment: "UiEnvironment", source: WatchedSource | None) -> "UiSettings":
        """All settings. Raises `UserError`."""
        from swarmlearning.ui.settings import UiSettings

        return UiSettings(
            folder=data_directory(self.data_dir, "ui"),
            address=sn_address(self.sn_ip, self.sn_api_port),
            source=source,
            network_id=self.network_id,
            serving=self.serving(),
            idle_minutes=environment.slm_ui_idle_minutes,
            longest_hours=environment.slm_ui_session_hours,
            bundle=self.bundle,
            secrets=environment.secret_box(),
            licenses=self.license.servers(),
        )


@app.callback()
@command("swarm ui")
def ui(context: typer.Context, options: UiOptions) -> None:
    """Serve the web interface to browsers, until Ctrl-C.

    The first start creates the first user, an admin: by SLM_UI_ADMIN_USER and SLM_UI_ADMIN_PASSWORD_FILE, or it asks;
    without a terminal it prints a link by which that is done in the browser. Without a certificate (--http) the page
    Set-up leads to a network; from then on the UI uses the certificate that it got there.
    """
    if context.invoked_subcommand is not None:
        return
    require_extra()
    from swarmlearning.ui.memory import give_back
    from swarmlearning.ui.serving import kept, serve
    from swarmlearning.ui.settings import UiEnvironment
    from swarmlearning.ui.setup.identity import kept_network

    give_back()
    environment = UiEnvironment()
    source = options.source()
    settings = options.settings(environment, source)
    print(banner(NAME), flush=True)
    log = options.process.log
    start_logging(options.process.log_level, log.form, NAME)
    with kept(settings.folder) as database, kept_log(settings.folder, "SLM", "UI", log):
        if source is None and (own := kept_network(settings.folder, database)) is not None:
            source = own.source
            settings = replace(settings, source=source, address=own.sn, network_id=own.network_id)
        ensure_admin(database, environment)

        def ready(facts: dict[str, str]) -> None:
            print(f"SLM-UI : {facts['ui']}", flush=True)
            Ready(options.process.ready_fd).report(facts)

        def first(link: str) -> None:
            print(
                f"There is no user yet. To create the first one, an admin, open within 15 minutes:\n  {link}",
                flush=True,
            )

        work = serve(settings, database, ready, first)
        # The standard loop, as for a SWOP. uvloop leaves the far ends of a process's pipes open in that process, beside
        # 0, 1 and 2, and so in all that it starts: a node that the UI starts here would hold them, and its command
        # would never be seen to end. The standard loop closes all but 0, 1 and 2, which nodes have redirected.
        loop = asyncio.new_event_loop
        if source is None:
            run_node(work, loop)
        else:
            run_node(while_working(work, warn_of_own(source)), loop, source.look)


@app.command()
@command("swarm ui password")
def password(
    name: Annotated[str, typer.Argument(help="Name of the user.")],
    *,
    data_dir: DataDir = None,
) -> None:
    """Set a user's password anew, where nobody can log in any more (stop the UI first). Its sessions end."""
    require_extra()
    from swarmlearning.ui.security.passwords import hashed
    from swarmlearning.ui.serving import kept
    from swarmlearning.ui.store.users import set_password

    with kept(data_directory(data_dir, "ui")) as database:
        chosen = ask_password(name)
        database.now(lambda sql: set_password(sql, name, hashed(chosen)))
    print(f"The password of {name} is set; the sessions of {name} have ended.")


def require_extra() -> None:
    """Raises `NodeError` where the packages of the extra `ui` are not installed."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise NodeError(f"the web interface needs {', '.join(missing)}: pip install 'swarmlearning[ui]'")


def ensure_admin(database: "Database", environment: "UiEnvironment") -> None:
    """Creates the first user where there is none, and where somebody has named one or can be asked. Raises
    `UserError`."""
    from swarmlearning.ui.security.passwords import hashed, require_good
    from swarmlearning.ui.store.users import Users, add_user

    if not Users(database).none():
        return
    given = environment.first_admin()
    if given is None:
        if not sys.stdin.isatty():
            return  # a link is printed by which that is done in the browser
        print("There is no user yet: this creates the first one, an admin.")
        name = input(f"Name [{getpass.getuser()}]: ").strip() or getpass.getuser()
        given = name, ask_password(name)
    name, chosen = given
    require_good(chosen, name)
    database.now(lambda sql: add_user(sql, name, "admin", hashed(chosen)))
    print(f"User {name} is created, an admin.", flush=True)


def ask_password(name: str) -> str:
    """A good password, typed twice. Raises `NodeError` without a terminal."""
    from swarmlearning.ui.security.passwords import require_good

    if not sys.stdin.isatty():
        raise NodeError("a password is asked for on a terminal, and there is none")
    while True:
        chosen = getpass.getpass(f"Password of {name}: ")
        try:
            require_good(chosen, name)
        except UserError as fault:
            print(fault)
            continue
        if chosen == getpass.getpass("Once more: "):
            return chosen
        print("These are two different ones.")
