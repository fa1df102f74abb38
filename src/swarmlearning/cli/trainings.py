"""`swarm report`: how a training went, from an SN's ledger on disk or over the network, verified here."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from swarmlearning.cli.chainfiles import chain_file
from swarmlearning.cli.command import command
from swarmlearning.cli.connection import VERIFIED
from swarmlearning.cli.console import make_console, print_json
from swarmlearning.cli.options import Credentials, NetworkId, data_directory, sn_address
from swarmlearning.cli.report import read_records, save, write_whole
from swarmlearning.cli.summary import participation
from swarmlearning.errors import UserError
from swarmlearning.node.errors import NodeError
from swarmlearning.operator.reading import read_remote
from swarmlearning.supervise.processes import RunError
from swarmlearning.views.names import displayed, escaped
from swarmlearning.views.render import clock, mean_text, report_text
from swarmlearning.views.report import TrainingReport
from swarmlearning.views.tables import table

COLUMNS = ["contract", "run", "round", "time", "site", "part", "loss", "metric", "epochs", "total_epochs"]


@command("swarm report")
def report(
    *,
    data_dir: Annotated[Path | None, typer.Option(help="An SN's data directory, a run folder or a chain file.")] = None,
    sn_ip: Annotated[str, typer.Option(help="Address of an SN, to read its ledger over the network.")] = "",
    sn_api_port: Annotated[int, typer.Option(help="API port of that SN.")] = 30304,
    network_id: NetworkId = "",
    contract: Annotated[str, typer.Option(help="The training contract; by default that with the most rounds.")] = "",
    run: Annotated[int | None, typer.Option(help="Which run of it, from 1; by default the latest.", min=1)] = None,
    curves: Annotated[Path | None, typer.Option("--csv", help="Write a line for each site and round here.")] = None,
    file: Annotated[Path | None, typer.Option("--report", help="Write the report here as JSON.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    credentials: Credentials,
) -> None:
    """Show how a training went: rounds, who took part, loss and metric of each site, and who holds the final model.

    The ledger is read from disk (--data-dir) or from an SN (--sn-ip, with any
    node's certificate), and every block of it is verified here; an SN's once:
    the next report goes on from there. Exit status 1 when it does not verify,
    or has no such training.
    """
    if (data_dir is None) == (not sn_ip):
        raise UserError("name the ledger by one of --data-dir (on this disk) and --sn-ip (over the network)")
    if data_dir is not None:
        recorder, problem = read_records(chain_file(data_dir))
    else:
        work = read_remote(sn_address(sn_ip, sn_api_port), credentials.identity(), _kept(), network_id)
        recorder, problem = asyncio.run(work)
    found = recorder.report(contract, run, problem)
    if not found.holds:
        raise RunError(found.problem or _nothing(found, contract, run))
    if curves is not None:
        write_whole(curves, table_of(found).encode())
    save(found, file)
    if json:
        print_json(found)
    else:
        show(make_console(), found)
        make_console(stderr=True).print(str(recorder.growth), soft_wrap=True)
    if found.problem:
        raise RunError(found.problem)


def _nothing(found: TrainingReport, contract: str, run: int | None) -> str:
    """The reason that there is nothing to report, in a ledger without fault."""
    if run is not None and found.contract:
        return f"the ledger has no run {run} of contract {displayed(found.contract)}"
    return f"the ledger has no training{f' of contract {displayed(contract)}' if contract else ''}"


def _kept() -> Path | None:
    """The folder for what was verified; None where there is no home."""
    try:
        return data_directory(None, "operator") / VERIFIED
    except NodeError:
        return None


def show(console: Console, found: TrainingReport) -> None:
    """Prints the report of a training."""
    if found.contract:
        console.print(Text.assemble("Training ", (displayed(found.contract), "bold"), f", run {found.run}"))
    console.print(escaped(report_text(found)), soft_wrap=True)
    if not found.rounds:
        return
    console.print(f"first result {clock(found.rounds[0].time_ms)}, latest {clock(found.rounds[-1].time_ms)}")
    console.print()
    console.print(participation(found.rounds, found.holds, console))
    if found.best is not None:
        console.print(f"\nbest {mean_text(found.best)}", soft_wrap=True)
    console.print(f"\nmodel {found.model}", soft_wrap=True)


def table_of(found: TrainingReport) -> str:
    """CSV with a line for each site and round: its part in it, and what it reported after it had loaded the result."""
    performances = {(one.round, one.site): one for one in found.performances}
    rows = list[list[object]]()
    for each in found.rounds:
        for site in found.holds:
            head = [displayed(found.contract), found.run, each.number, clock(each.time_ms), site]
            one = performances.get((each.number, site))
            reported = [one.loss, one.metric, one.epochs, one.total_epochs] if one else [None] * 4
            rows.append([*head, each.part(site), *reported])
    return table(COLUMNS, rows)
