"""The UI joins a network that runs, by the code of an invitation: its key is made here, its office signs elsewhere."""

import asyncio
from pathlib import Path
from typing import Final

from swarmlearning.errors import UserError
from swarmlearning.identity.workspace import Workspace
from swarmlearning.invitations import host
from swarmlearning.invitations.client import JoinClient, contact
from swarmlearning.invitations.code import JoinCode
from swarmlearning.invitations.serving import MOST_SECONDS
from swarmlearning.invitations.standing import Standing, digest_of
from swarmlearning.ledger.bodies import RequestCertificate
from swarmlearning.ui.hosts.progress import Tell
from swarmlearning.ui.setup.identity import make_own
from swarmlearning.ui.setup.state import SetupError

ROLES: Final = ("UI-", "SWCI-", "OBSERVER-")
PAUSE_SECONDS: Final = 1.0
"""Between two questions: an SN that does not wait before it answers must not keep this machine busy."""
OFFICE_SECONDS: Final = 24 * 3600.0


def require_for_ui(code: JoinCode) -> None:
    """Raises `SetupError` for an invitation of another node than a UI, or of an organisation."""
    named = code.name or code.organisation
    if not code.name.upper().startswith(ROLES):
        raise SetupError(
            "setup.not-for-ui",
            f"this invitation is for {named}, not for a UI: ask for one for UI-… (swarm invite --node UI-1)",
            named=named,
        )


async def joined(folder: Path, code: JoinCode, tell: Tell) -> str:
    """Requests the UI's certificate, waits until the office has signed it, and puts it in place; returns the address of
    an SN's API. Repeating it goes on. Raises `UserError`."""
    own = make_own(folder)
    tell("contact", "running", ", ".join(code.addresses))
    async with contact(code) as client:
        standing = await _requested(client, code, own)
        tell("contact", "done", client.address)
        tell("office", "waiting" if standing.state == "waiting" else "done", code.organisation)
        try:
            async with asyncio.timeout(OFFICE_SECONDS):
                while standing.state == "waiting":
                    standing = await client.standing(MOST_SECONDS)
                    await asyncio.sleep(PAUSE_SECONDS)
        except TimeoutError:
            raise UserError(
                f"{code.organisation}'s office has not signed within a day: ask there, then do this again: it goes on"
            ) from None
    if standing.state != "issued":
        raise UserError(f"this invitation is {standing.state}: ask whoever has sent it for another one")
    certificate = host.install(own, code, standing)
    tell("office", "done", f"{code.name}, {certificate.not_valid_after_utc:%Y-%m-%d}")
    return standing.api


async def _requested(client: JoinClient, code: JoinCode, own: Workspace) -> Standing:
    standing = await client.standing()
    if standing.state == "open":
        request = host.own_request(own, code.name, [], [])
        return await client.request(RequestCertificate(client.key, request, ""))
    waiting = own.request(code.name)
    there = own.key(code.name).exists() and not waiting.exists()
    if standing.state not in ("waiting", "issued") or there:
        return standing
    if not waiting.exists() or digest_of(waiting.read_text(encoding="ascii")) != standing.request:
        raise UserError(
            "this code has been used for a request that was not made here. If that was not you, somebody else has the "
            "code: tell your office at once not to sign, or to revoke that certificate"
        )
    return standing
