"""`swarm health`: whether the node on this host is at work, without a certificate."""

from pathlib import Path
from typing import Annotated

import typer

from swarmlearning.cli.console import print_json
from swarmlearning.cli.options import fail
from swarmlearning.node.health import ask


def health(data_dir: Annotated[Path, typer.Option(help="The data directory of the node.")]) -> None:
    """Show whether the node with this data directory is ready; status 1 if it is not, or does not run."""
    try:
        found = ask(data_dir.absolute())
    except Exception as error:  # noqa: BLE001 - `fail` raises what it does not know
        fail("swarm health", error)
    else:
        print_json(found)
        if not found.get("ready"):
            raise typer.Exit(1)
