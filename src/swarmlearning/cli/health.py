"""`swarm health`: the readiness of the node on this host, without a certificate."""

from pathlib import Path
from typing import Annotated

import typer

from swarmlearning.cli.command import command
from swarmlearning.cli.console import print_json
from swarmlearning.node.health import request_health


@command("swarm health")
def health(
    data_dir: Annotated[Path, typer.Option(envvar="SWARM_DATA_DIR", help="The data directory of the node.")],
) -> None:
    """Show whether the node with this data directory is ready; status 1 if it is not, or does not run."""
    found = request_health(data_dir.absolute())
    print_json(found)
    if not found.get("ready"):
        raise typer.Exit(1)
