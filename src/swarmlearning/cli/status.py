"""`swarm status`: the network as an SN sees it, what is wrong with it, and what each training waits for."""

import asyncio
import signal
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from swarmlearning.api.client import ANSWER_SECONDS, SnClient, Unavailable
from swarmlearning.cli.checking import Verdict, unknown, verdict
from swarmlearning.cli.command import command
from swarmlearning.cli.console import make_console, make_table, print_json, short_uid
from swarmlearning.cli.options import Credentials, NetworkId, sn_address
from swarmlearning.cli.watch.showing import watch as show_all
from swarmlearning.client.pace import describe
from swarmlearning.errors import UserError
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.node.expiry import while_working
from swarmlearning.operator.asking import Asking
from swarmlearning.operator.explaining import without_sn
from swarmlearning.operator.reading import require_network
from swarmlearning.views.alerts import Alert
from swarmlearning.views.growth import Growth
from swarmlearning.views.names import displayed
from swarmlearning.views.render import clock
from swarmlearning.views.told import LONGEST_LINE, alerts_of, machine_text

LONGEST_TEXT = 100
STYLES = {"alive": "green", "left": "dim"}
LEASES = {True: Text("there", "green"), False: Text("gone", "red"), None: Text("?")}
LABELS = {"critical": Text("ALARM ", "bold red"), "warning": Text("WARNING ", "bold yellow")}
CHECK_SECONDS = 8.0
"""Monitors give a check ten seconds."""


@command("swarm status")
def status(
    *,
    sn_ip: Annotated[str, typer.Option(help="Address of an SN.")] = "127.0.0.1",
    sn_api_port: Annotated[int, typer.Option(help="API port of that SN.")] = 30304,
    network_id: NetworkId = "",
    json: Annotated[bool, typer.Option("--json", help="The SN's answer as it is.")] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="For a monitor (Nagios, Icinga, ...): one line with figures, and exit status 0 if all is well, 1 for "
            "warnings, 2 for alarms, 3 where nothing is known since no SN answers.",
        ),
    ] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Go on showing what is wrong, rounds and sites until Ctrl-C, with another SN when this one is gone; "
            "without a terminal a snapshot after each change.",
        ),
    ] = False,
    credentials: Credentials,
) -> None:
    """Show what is wrong, nodes and trainings, and for whom a round waits. Any node's certificate will do.

    Ends with status 1 when the SN cannot be reached or cannot order, since no majority of the voters answers.
    """
    several = "--json, --check and --watch: only one of them at once"
    if check:
        found = unknown(several) if json or watch else _checked(sn_ip, sn_api_port, credentials, network_id)
        print(found.text)
        raise typer.Exit(found.code)
    if json and watch:
        raise UserError(several)
    if watch:
        _watch(sn_address(sn_ip, sn_api_port), credentials, network_id)
        return
    address = sn_address(sn_ip, sn_api_port)
    shown = answer_of(address, _requested(address, credentials.identity(), network_id))
    if json:
        print_json(shown, indent=2)
    else:
        show(shown)
    if shown["majority"] is False:
        raise typer.Exit(1)


def _checked(host: str, port: int, credentials: Credentials, network_id: str) -> Verdict:
    try:
        address = sn_address(host, port)
        answer = _requested(address, credentials.identity(), network_id, CHECK_SECONDS)
        return verdict(answer_of(address, answer), _now_ms())
    except UserError as error:
        return unknown(str(error))
    except Exception as error:  # noqa: BLE001 - a monitor takes the status of a crash, 1, for a warning
        return unknown(f"this command has failed: {error!r}")


def answer_of(address: str, asked: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """The answer. Raises `UserError` with a remedy where there is none."""
    try:
        return asyncio.run(asked)
    except Unavailable as error:
        raise UserError(f"{error}. {without_sn(address)}") from error


def _watch(address: str, credentials: Credentials, network_id: str) -> None:
    source = credentials.source()
    asking = Asking(address, lambda: client_context(source.current), network_id)

    async def show_until_stopped() -> None:
        working = asyncio.ensure_future(while_working(show_all(make_console(), asking.statuses()), source.watch()))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)  # gives the terminal back
        await working

    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(show_until_stopped())


async def _requested(
    address: str, identity: Identity, network_id: str, answer_seconds: float = ANSWER_SECONDS
) -> dict[str, Any]:
    async with SnClient(address, client_context(identity), answer_seconds) as client:
        if network_id:
            await require_network(client, network_id)
        return await client.status()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def show(found: dict[str, Any]) -> None:
    """Prints the status; names and texts in it come from other organisations."""
    console, now_ms = make_console(), _now_ms()
    name, network_id = displayed(found["network"]), displayed(found["network_id"])
    console.print(Text.assemble("Network ", (name, "bold"), f", height {found['height']}"))
    console.print(f"ID {network_id}", style="dim")
    if found.get("chain_bytes"):
        console.print(str(growth_of(found, now_ms)), style="dim")
    alerts = alerts_of(found, now_ms)
    for alert in alerts:
        if alert.severity != "info":
            _show_alert(console, alert)
    console.print(
        displayed(found["fault_tolerance"], LONGEST_LINE), style=None if found["ordering"] == "etcd" else "dim"
    )
    for alert in alerts:
        if alert.severity == "info" and alert.subject != "ordering":
            console.print(str(alert), style="dim")
    for recovery in found["recoveries"]:
        console.print(f"Restarted without its majority in block {recovery['height']}", style="yellow")
    if found["ordering"] == "etcd":
        console.print(_sns(found))
    console.print(_nodes(found, now_ms))
    for node in found["nodes"]:
        if node["type"] == "SWOP" and node.get("same_user"):
            name = displayed(node["name"])
            console.print(f"SWOP {name} runs ML processes as its own user: they can read its files", style="yellow")
    for training in found["trainings"]:
        name = displayed(training["name"])
        text = f": {training['rounds']} rounds, {displayed(training['text'], LONGEST_LINE)}"
        console.print(Text.assemble("\nTraining ", (name, "bold"), text))
        if agreed := training.get("agreed"):  # an SN of an earlier release states none
            console.print(f"  {displayed(agreed, LONGEST_TEXT)}", style="dim")


def growth_of(found: dict[str, Any], now_ms: int) -> Growth:
    """Of the SN's chain since the network was founded; rounds are those of the latest run of each training."""
    rounds = sum(training["rounds"] for training in found["trainings"])
    return Growth(found["chain_bytes"], found["height"] + 1, rounds, found["founded_ms"], found["time_ms"] or now_ms)


def _show_alert(console: Console, alert: Alert) -> None:
    """What is wrong in a line, what to do in the next."""
    console.print(Text.assemble(LABELS[alert.severity], alert.text))
    since = clock(alert.since_ms) if alert.since_ms is not None else ""
    if rest := ": ".join(part for part in (f"since {since}" * (since not in alert.text), alert.remedy) if part):
        console.print(Text(f"        {rest}", "dim"))


def _nodes(found: dict[str, Any], now_ms: int) -> Table:
    """A line for each node, SNs first."""
    table = make_table("type", "name", "state", "start", "addresses", "training", "machine", "uid")
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
            machine_text(node, now_ms),
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
