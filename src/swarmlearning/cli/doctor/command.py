"""`swarm doctor`: examines a node and its network, and names what is wrong, whose fault it is, and what to do."""

import asyncio
import os
import time
from pathlib import Path
from typing import Annotated

import typer

from swarmlearning.cli.command import command
from swarmlearning.cli.connection import VERIFIED, Connection
from swarmlearning.cli.console import print_json
from swarmlearning.cli.doctor.commandline import read_environment, read_words
from swarmlearning.cli.doctor.offline import Local, examine_host
from swarmlearning.cli.doctor.show import as_data, shown
from swarmlearning.cli.options import Credentials, NetworkId, sn_address
from swarmlearning.doctor.contact import addresses, excuse_certificate
from swarmlearning.doctor.findings import Report
from swarmlearning.doctor.network import Standpoint, Work, examine_network
from swarmlearning.doctor.structures import read_structure
from swarmlearning.identity.identity import Identity
from swarmlearning.ledger.chain import Chain
from swarmlearning.operator.link import operating
from swarmlearning.operator.reading import read_remote
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
            asyncio.run(examine_network(_standpoint(local, local.identity, connection), sns, report))
    seconds = time.monotonic() - begun
    if json:
        print_json(as_data(report, seconds), indent=2)
    else:
        print("\n".join(escaped(line) for line in shown(report, seconds)))
    if report.wrong:
        raise typer.Exit(1)


def _standpoint(local: Local, identity: Identity, connection: Connection) -> Standpoint:
    """A command's: its operator lives for as long as the examination."""

    async def use(address: str, network_id: str, work: Work) -> None:
        async with operating(address, connection.credentials.source(), connection.home, network_id) as operator:
            await work(operator)

    async def ledger(address: str) -> tuple[Chain, str | None]:
        recorder, problem = await read_remote(address, identity, connection.directory / VERIFIED)
        return recorder.chain, problem

    place = local.place
    return Standpoint(
        identity,
        use,
        ledger,
        network_id=connection.network_id,
        pinned=place.record.network if place is not None and place.record is not None else "",
        license_servers=local.license_servers,
        structure=read_structure(place.path) if place is not None else None,
    )
