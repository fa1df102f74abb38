"""What the UI is started with: options, and variables of the environment by the names that are documented."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import Field

from swarmlearning.identity.source import WatchedSource
from swarmlearning.license.servers import NO_SERVERS, LicenseServers
from swarmlearning.node.errors import NodeError
from swarmlearning.node.settings import Environment
from swarmlearning.ui.hosts.secretbox import SecretBox

PORT: Final = 30302
"""The port of the original's installer, which people open in a browser, too."""
LONGEST_SECRET_FILE: Final = 4096
BUNDLE: Final = "bundle"


@dataclass(frozen=True)
class Serving:
    """Where and how browsers reach the UI. `certificate`, `key`: of its own for browsers (PEM); without them it is the
    identity's. `plain`: no TLS here. `proxy`: the address of the only reverse proxy that is believed, empty: none.
    `public_port`: the one that browsers use, where another one is published than `port`. `redirect_port`: a port for
    plain HTTP, which leads to HTTPS; None: none."""

    host: str = "127.0.0.1"
    port: int = PORT
    certificate: Path | None = None
    key: Path | None = None
    plain: bool = False
    proxy: str = ""
    public_port: int | None = None
    redirect_port: int | None = None


@dataclass(frozen=True)
class UiSettings:
    """`address`: of the first SN to ask (`host:port`); `source` has the UI's identity, None before the first set-up;
    `network_id`: of the only network to accept, empty: the first one found. `folder`: what the UI keeps.
    `bundle`: the folder of what is installed on hosts, None: one below `folder`; `secrets` seals their logins, None:
    none are kept. `licenses`: the license servers that lend the UI its token."""

    folder: Path
    address: str = ""
    source: WatchedSource | None = None
    network_id: str = ""
    serving: Serving = field(default_factory=Serving)
    idle_minutes: int = 60
    longest_hours: int = 12
    bundle: Path | None = None
    secrets: SecretBox | None = None
    licenses: LicenseServers = NO_SERVERS

    @property
    def bundle_folder(self) -> Path:
        """Where the bundle is that hosts get."""
        return self.bundle or self.folder / BUNDLE


class UiEnvironment(Environment):
    """SLM-UI's settings.

    SLM_UI_ADMIN_USER            name of the first user, an admin, where there is none yet
    SLM_UI_ADMIN_PASSWORD        that user's password
    SLM_UI_ADMIN_PASSWORD_FILE   file whose first line is that password, in place of the former
    SLM_UI_IDLE_MINUTES          minutes without use after which a session ends
    SLM_UI_SESSION_HOURS         hours after which a session ends in any case
    SLM_UI_SECRETS_KEY           under which logins at hosts are kept, encrypted; without it none are (see `secret_box`)
    """

    slm_ui_admin_user: str = ""
    slm_ui_admin_password: str = ""
    slm_ui_admin_password_file: Path | None = None
    slm_ui_idle_minutes: int = Field(default=60, ge=1, le=24 * 60)
    slm_ui_session_hours: int = Field(default=12, ge=1, le=30 * 24)

    def secret_box(self) -> SecretBox | None:
        """What seals under SLM_UI_SECRETS_KEY, which is no field: no message shows it. Raises `SecretBoxError`."""
        return SecretBox.of(os.environ)

    def first_admin(self) -> tuple[str, str] | None:
        """Name and password of the first user, None where the environment names none. Raises `NodeError`."""
        file, password = self.slm_ui_admin_password_file, self.slm_ui_admin_password
        if file is not None:
            if password:
                raise NodeError("SLM_UI_ADMIN_PASSWORD and SLM_UI_ADMIN_PASSWORD_FILE are set: unset one of them")
            password = _first_line(file)
        if not password:
            return None
        return self.slm_ui_admin_user or "admin", password


def _first_line(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            lines = opened.read(LONGEST_SECRET_FILE).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NodeError(f"SLM_UI_ADMIN_PASSWORD_FILE: {file}: cannot be read: {error}") from error
    if not lines or not lines[0]:
        raise NodeError(f"SLM_UI_ADMIN_PASSWORD_FILE: {file}: its first line is empty")
    return lines[0]
