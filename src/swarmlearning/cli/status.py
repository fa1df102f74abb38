"""`swarm status`: the network as an SN sees it, and what each training waits for."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from swarmlearning.address import join
from swarmlearning.api.client import SnClient
from swarmlearning.cli.options import CaCert, CaPath, Cert, Key, fail, load_identity
from swarmlearning.client.pace import describe
from swarmlearning.identity.tls import client_context


def status(
    sn_ip: Annotated[str, typer.Option(help="Address of an SN.")] = "127.0.0.1",
    sn_api_port: Annotated[int, typer.Option(help="API port of that SN.")] = 30304,
    json: Annotated[bool, typer.Option("--json", help="The SN's answer as it is.")] = False,
    cacert: CaCert = None,
    capath: CaPath = None,
    cert: Cert = None,
    key: Key = None,
) -> None:
    """Show nodes and trainings, and for whom a round waits. Any node's certificate will do."""
    try:
        found = asyncio.run(_ask(join(sn_ip, sn_api_port), cacert, capath, cert, key))
    except Exception as error:  # noqa: BLE001 - `fail` raises what it does not know
        fail("swarm status", error)
    else:
        if json:
            Console(soft_wrap=True).print_json(data=found)
        else:
            _show(found)


async def _ask(
    address: str, cacert: Path | None, capath: Path | None, cert: Path | None, key: Path | None
) -> dict[str, Any]:
    async with SnClient(address, client_context(load_identity(cacert, capath, cert, key))) as client:
        return await client.status()


def _show(found: dict[str, Any]) -> None:
    console = Console()
    console.print(f"Network [bold]{found['network']}[/] ({found['network_id'][:16]}), height {found['height']}")
    console.print(found["bears"] if found["ordering"] == "etcd" else f"[dim]{found['bears']}[/]")
    for alarm in found["alarms"]:
        console.print(f"[bold red]ALARM[/] {alarm}")
    for recovery in found["recoveries"]:
        console.print(f"[yellow]Restarted without its majority in block {recovery['height']}[/]")
    if found["ordering"] == "etcd":
        console.print(_sns(found))
    nodes = Table(box=None, pad_edge=False)
    for column in ("type", "name", "state", "start", "addresses", "training", "uid"):
        nodes.add_column(column)
    for node in sorted(found["nodes"], key=lambda node: (node["type"] != "SN", node["name"])):
        addresses = ", ".join(f"{service} {address}" for service, address in sorted(node["addresses"].items()))
        state = "[green]alive[/]" if node["alive"] else "[dim]left[/]" if node["left"] else "[red]lost[/]"
        training = describe(**node["training"]) if node["training"] else ""
        nodes.add_row(node["type"], node["name"], state, str(node["incarnation"]), addresses, training, node["uid"])
    console.print(nodes)
    for training in found["trainings"]:
        console.print(f"\nTraining [bold]{training['name']}[/]: {training['rounds']} rounds, {training['text']}")


def _sns(found: dict[str, Any]) -> Table:
    """A line for each SN: its part in ordering, its height, and how far it lags behind."""
    table = Table("SN", "", "part", "height", "lag", "lease", box=None, pad_edge=False)
    for sn in sorted(found["sns"], key=lambda sn: sn["name"]):
        known = sn["height"] is not None
        lag = str(max(0, found["height"] - sn["height"])) if known else "?"
        lease = "[green]there[/]" if sn["present"] else "[red]gone[/]"
        kind = "founder" if sn["founder"] else "witness" if sn["witness"] else ""
        table.add_row(sn["name"], kind, sn["part"], str(sn["height"]) if known else "?", lag, lease)
    return table
