"""`swarm invite`: a one-time code with which a node, or a new organisation, joins the network."""

import asyncio
import re
import sys
import time
from typing import Annotated, Final

import typer

from swarmlearning.cli.acting import perform, verified
from swarmlearning.cli.certnames import node_name
from swarmlearning.cli.command import command
from swarmlearning.cli.connection import Connection
from swarmlearning.cli.console import print_json, print_table
from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import ROLES
from swarmlearning.identity.onetime import new_key
from swarmlearning.ledger.bodies import Invite
from swarmlearning.operator import invitations
from swarmlearning.operator.acts import Act
from swarmlearning.operator.session import Operator, acting
from swarmlearning.views.names import displayed
from swarmlearning.views.render import clock

DAY_SECONDS: Final = 24 * 3600
MOST_SECONDS: Final = 29 * DAY_SECONDS
"""The ledger takes 30 days, of block time."""
_UNITS: Final = {"m": 60, "h": 3600, "d": DAY_SECONDS}

app = typer.Typer(
    invoke_without_command=True, help="Invite a node of your organisation, or a new organisation: prints a code once."
)


def duration(text: str) -> int:
    """Seconds. Raises `UserError`."""
    match = re.fullmatch(r"([0-9]{1,5})([mhd])", text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 60 <= seconds <= MOST_SECONDS:
        raise UserError(f"--expires {text!r}: write 30m, 12h or 7d, at most {MOST_SECONDS // DAY_SECONDS}d")
    return seconds


@app.callback()
@command("swarm invite")
def invite(
    context: typer.Context,
    *,
    node: Annotated[
        str | None,
        typer.Option("--node", help="A node of your organisation, such as SL-2.", parser=node_name, metavar="NODE"),
    ] = None,
    organisation: Annotated[
        str, typer.Option("--organisation", help="A new organisation, by the ID that it will have.", metavar="ID")
    ] = "",
    expires: Annotated[
        str, typer.Option("--expires", help="How long the code is good: 30m, 12h, 7d.", metavar="TIME")
    ] = "7d",
    connection: Connection,
) -> None:
    """Invite a node of your organisation, or a new organisation. The code is printed alone, once, and kept nowhere."""
    if context.invoked_subcommand is not None:
        if node or organisation:
            raise UserError(f"the options of swarm invite go behind {context.invoked_subcommand}")
        return
    if bool(node) == bool(organisation):
        raise UserError("either --node, such as --node SL-2, or --organisation, such as --organisation hospital-c")
    if node and node.partition("-")[0] not in ROLES:
        raise UserError(f"--node {node}: only nodes of a network are invited, whose roles are {', '.join(ROLES)}")
    code, done = asyncio.run(_invited(connection, node or "", organisation, duration(expires)))
    print(f"{done}.\n{_advice(node or '', organisation)}", file=sys.stderr, flush=True)
    print(code)


@app.command("list")
@command("swarm invite list")
def list_invitations(
    *, json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False, connection: Connection
) -> None:
    """Show all invitations: whose they are, what for, and what has become of them."""
    chain = verified(connection)
    now_ms = max(chain.time_ms, time.time_ns() // 1_000_000)
    found = [
        {
            "key": each.key,
            "for": each.name or each.organisation,
            "by": each.by,
            "state": invitations.shown_state(chain.world, each, now_ms),
            "expires": clock(each.expires_ms),
            "proposal": each.proposal or None,
        }
        for each in invitations.all_invitations(chain.world)
    ]
    if json:
        print_json(found, indent=2)
        return
    rows = (
        (
            str(each["key"])[: invitations.LISTED],
            displayed(str(each["for"])),
            *(str(each[part]) for part in ("by", "state", "expires")),
            str(each["proposal"] or ""),
        )
        for each in found
    )
    print_table(("key", "for", "by", "state", "expires", "proposal"), rows)


@app.command("withdraw")
@command("swarm invite withdraw")
def withdraw(
    invitation: Annotated[str, typer.Argument(help="The beginning of its key, as `swarm invite list` shows it.")],
    connection: Connection,
) -> None:
    """Make a code void that nobody has used, such as one that went to a wrong address."""
    perform(connection, lambda world: invitations.withdraw(world, invitation))


async def _invited(connection: Connection, node: str, organisation: str, seconds: int) -> tuple[str, str]:
    """The code, and what was done."""
    address, source, home = connection.address, connection.credentials.source(), connection.home
    key = new_key()
    async with acting(address, source, home, connection.network_id) as operator:
        own = invitations.own_organisation(operator.chain, source.current.bundle)
        invitations.join_ports(operator.chain.world, own, operator.client.address)  # before anything is promised
        act = _act(operator, key, own, node, organisation, seconds)
        height = await operator.perform(act)
        assert isinstance(act.body, Invite)
        code = invitations.code_of(operator.chain, act.body, key, operator.client.address)
        return code, f"{act.done} until {clock(act.body.expires_ms)} (block {height})"


def _act(operator: Operator, key: bytes, own: str, node: str, organisation: str, seconds: int) -> Act:
    expires_ms = max(operator.chain.time_ms, time.time_ns() // 1_000_000) + seconds * 1000
    if organisation:
        return invitations.invite_organisation(key, organisation, expires_ms)
    role = next(each for each in ROLES if node.startswith(f"{each}-"))
    return invitations.invite_node(key, own, role, node, expires_ms)


def _advice(node: str, organisation: str) -> str:
    uses = f"requests the certificate of {node}" if node else f"requests the admission of {organisation}"
    then = "swarm ca sign, at your office, issues the certificate" if node else "swarm proposal sign agrees to it"
    return (
        f"Whoever has this code {uses}, once: send it only by a way that nobody else reads, to the person it is for.\n"
        f"There: swarm join CODE. Here then: {then}. swarm invite withdraw makes it void."
    )
