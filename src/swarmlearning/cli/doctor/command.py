"""`swarm doctor`: examines a node and its network, and names what is wrong, whose fault it is, and what to do."""

import asyncio
import os
import time
from pathlib import Path
from typing import Annotated

import typer

from swarmlearning.cli.command import command
from swarmlearning.cli.connection import Connection
from swarmlearning.cli.console import print_json
from swarmlearning.cli.doctor.commandline import read_environment, read_words
from swarmlearning.cli.doctor.contact import addresses, excuse_certificate
from swarmlearning.cli.doctor.findings import Report
from swarmlearning.cli.doctor.network import examine_network
from swarmlearning.cli.doctor.offline import examine_host
from swarmlearning.cli.doctor.show import as_data, shown
from swarmlearning.cli.options import Credentials, NetworkId, sn_address
from swarmlearning.views.names import escaped

NO_USE = ("wrong-ca", "wrong-role", "clock")
"""With these nothing can be seen of the network but that it refuses."""


@command("swarm doctor")
def doctor(
    context: typer.Context,
    *,
    sn_ip: Annotated[str, typer.Option(help="Address of any SN of the network.")] = "",
    sn_api_port: Annotated[int, typer.Option(help="API port of that SN.")] = 30304,
    network_id: NetworkId = "",
    data_dir: Annotated[
        Path | None, typer.Option(help="The data directory of a node on this host, also one that does not start.")
    ] = None,
    env_file: Annotated[
        Path | None, typer.Option(help="File with the variables (NAME=value) that the node is started with.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
    credentials: Credentials,
) -> None:
    """Find out what is wrong: name whose fault it is, and what to do. Status 1 when something is, else 0.

    With a node's command line after `--` (swarm doctor -- swarm sl …), or its data directory, it says why that node
    does not start; with an SN it examines the network, with an operator's certificate from each of its nodes.
    """
    begun, report = time.monotonic(), Report()
    if env_file is not None:
        read_environment(env_file, os.environ)
    node = read_words(context.args, report) if context.args else None
    local = examine_host(credentials, data_dir, node, report)
    sns = addresses(sn_address(sn_ip, sn_api_port) if sn_ip else local.sn, local.known_sns)
    if not sns and node is None and data_dir is None:
        sns = [sn_address("127.0.0.1", sn_api_port)]
    if local.identity is not None and sns and not report.has(*NO_USE):
        given = node.credentials if node is not None else credentials
        named = network_id or (node.options.network_id if node is not None else "")
        connection = Connection(network_id=named, credentials=given)
        if report.has("expired", "not-yet-valid"):
            asyncio.run(excuse_certificate(sns[0], local.identity, report))
        else:
            asyncio.run(examine_network(local, connection, sns, report))
    seconds = time.monotonic() - begun
    if json:
        print_json(as_data(report, seconds), indent=2)
    else:
        print("\n".join(escaped(line) for line in shown(report, seconds)))
    if report.wrong:
        raise typer.Exit(1)
