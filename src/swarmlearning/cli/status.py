"""`swarm status`: the network as an SN sees it, and what each training waits for."""

import asyncio
import time
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from swarmlearning.api.client import SnClient
from swarmlearning.cli.command import command
from swarmlearning.cli.console import make_console, make_table, print_json, short_uid
from swarmlearning.cli.options import Credentials, NetworkId, sn_address
from swarmlearning.client.pace import describe
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.operator.reading import require_network
from swarmlearning.views.names import displayed
from swarmlearning.views.nodes import Expiry
from swarmlearning.views.render import expiry_text

LONGEST_LINE = 1000
LONGEST_TEXT = 100
STYLES = {"alive": "green", "left": "dim"}
LEASES = {True: Text("there", "green"), False: Text("gone", "red"), None: Text("?")}


@command("swarm status")
def status(
    *,
    sn_ip: Annotated[str, typer.Option(help="Address of an SN.")] = "127.0.0.1",
    sn_api_port: Annotated[int, typer.Option(help="API port of that SN.")] = 30304,
    network_id: NetworkId = "",
    json: Annotated[bool, typer.Option("--json", help="The SN's answer as it is.")] = False,
    credentials: Credentials,
) -> None:
    """Show nodes and trainings, and for whom a round waits. Any node's certificate will do.

    Ends with status 1 when the SN cannot be reached or cannot order, since no majority of the voters answers.
    """
    found = asyncio.run(_requested(sn_address(sn_ip, sn_api_port), credentials.identity(), network_id))
    if json:
        print_json(found, indent=2)
    else:
        show(found)
    if found["majority"] is False:
        raise typer.Exit(1)


async def _requested(address: str, identity: Identity, network_id: str) -> dict[str, Any]:
    async with SnClient(address, client_context(identity)) as client:
        if network_id:
            await require_network(client, network_id)
        return await client.status()


def show(found: dict[str, Any]) -> None:
    """Prints the status; names and texts in it come from other organisations."""
    console = make_console()
    name, network_id = displayed(found["network"]), displayed(found["network_id"])
    console.print(Text.assemble("Network ", (name, "bold"), f", height {found['height']}"))
    console.print(f"ID {network_id}", style="dim")
    console.print(
        displayed(found["fault_tolerance"], LONGEST_LINE), style=None if found["ordering"] == "etcd" else "dim"
    )
    for alarm in found["alarms"]:
        console.print(Text.assemble(("ALARM ", "bold red"), displayed(alarm, LONGEST_LINE)))
    now_ms = time.time_ns() // 1_000_000
    for expiry in found["expiries"]:
        organisation = displayed(expiry.get("organisation", ""))
        ends = Expiry(displayed(expiry["of"]), expiry["expires_ms"], organisation, bool(expiry.get("last")))
        if text := expiry_text(ends, now_ms):
            console.print(text, style="yellow")
    for recovery in found["recoveries"]:
        console.print(f"Restarted without its majority in block {recovery['height']}", style="yellow")
    if found["ordering"] == "etcd":
        console.print(_sns(found))
    console.print(_nodes(found))
    for node in found["nodes"]:
        if node["type"] == "SWOP" and node.get("same_user"):
            name = displayed(node["name"])
            console.print(f"SWOP {name} runs ML processes as its own user: they can read its files", style="yellow")
    for training in found["trainings"]:
        name = displayed(training["name"])
        text = f": {training['rounds']} rounds, {displayed(training['text'], LONGEST_LINE)}"
        console.print(Text.assemble("\nTraining ", (name, "bold"), text))


def _nodes(found: dict[str, Any]) -> Table:
    """A line for each node, SNs first."""
    table = make_table("type", "name", "state", "start", "addresses", "training", "uid")
    for node in sorted(found["nodes"], key=lambda node: (node["type"] != "SN", node["name"])):
        addresses = "\n".join(
            displayed(f"{service} {address}", LONGEST_LINE) for service, address in sorted(node["addresses"].items())
        )
        training = displayed(describe(**node["training"]), LONGEST_TEXT) if node["training"] else ""
        table.add_row(
            displayed(node["type"]),
            displayed(node["name"]),
            Text(displayed(node["state"]), STYLES.get(node["state"], "red")),
            str(node["incarnation"]),
            addresses,
            training,
            short_uid(displayed(node["uid"])),
        )
    return table


def _sns(found: dict[str, Any]) -> Table:
    """A line for each SN: its part in ordering, its height, and how far it lags behind."""
    table = make_table("SN", "", "part", "height", "lag", "lease")
    for sn in sorted(found["sns"], key=lambda sn: sn["name"]):
        known = sn["height"] is not None
        lag = "?" if sn["lag"] is None else str(sn["lag"])
        lease = LEASES[sn["present"]]
        kind = "founder" if sn["founder"] else "witness" if sn["witness"] else ""
        height = str(sn["height"]) if known else "?"
        table.add_row(displayed(sn["name"]), kind, displayed(sn["part"]), height, lag, lease)
    return table
