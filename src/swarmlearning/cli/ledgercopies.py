"""`swarm ledger backup` and `restore`: an SN's chain, and what an SN needs to start again, as a folder."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from swarmlearning.cli.command import command
from swarmlearning.cli.console import make_console
from swarmlearning.cli.options import DataDir, data_directory

Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]


@command("swarm ledger backup")
def backup(
    target: Annotated[Path, typer.Argument(help="Folder for the backup; one that is there already is continued.")],
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Copy the chain of an SN, which may be at work, and what it needs to start again; every block is verified.

    Given the folder of an earlier backup of this SN, only blocks that are new
    are copied. Keys and certificates are not in it.
    """
    from swarmlearning.sn.copies import back_up

    done = back_up(data_directory(data_dir, "sn"), target.absolute(), _progress(quiet))
    found = done.manifest
    print(
        f"Backed up and verified: {done.added} blocks"
        + (f", {done.kept} were there already" if done.kept else "")
        + f".\nNetwork {found.network_name} {found.network}, SN {found.uid}\n"
        f"height {found.height}, head {found.hash}, state {found.state}, of {moment(found.time_ms)}\n"
        f"Restore with: swarm ledger restore {target} --data-dir NEW"
    )


@command("swarm ledger restore")
def restore(
    source: Annotated[Path, typer.Argument(help="A folder that swarm ledger backup has made.")],
    data_dir: DataDir = None,
    new_node: Annotated[
        bool, typer.Option("--new-node", help="Of the chain only, for a further SN that joins with --sentinel-ip.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Make the data directory of an SN of a backup; every block is verified again, and nothing is overwritten.

    It is the same SN as the one backed up, which must not run any more: two
    processes of one SN would contradict each other.
    """
    from swarmlearning.sn.copies import restore as restore_sn

    place = data_directory(data_dir, "sn")
    done = restore_sn(source.absolute(), place, new_node=new_node, progress=_progress(quiet))
    print(f"Restored and verified: {done.chain.height + 1} blocks, up to {moment(done.chain.time_ms)}, in {place}")
    if new_node:
        print("Start it as a further SN: swarm sn --sentinel-ip ADDRESS-OF-AN-SN …; it fetches the blocks since then.")
        return
    print(
        f"It is SN {done.uid}: start it only where the old one is gone for good.\n"
        "- Other SNs are at work: start it as before; it fetches the blocks since then from them.\n"
        "- It is the network's only SN: start it as before. Blocks since then are lost. Stop all other nodes that have "
        "seen them, and start them again: until then they wait for the blocks after these.\n"
        "- All other SNs are lost too: first `swarm sn recover`."
    )


def moment(time_ms: int) -> str:
    """A block time for people."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _progress(quiet: bool) -> Callable[[int], None]:
    console = make_console(stderr=True)

    def show(height: int) -> None:
        if not quiet and console.is_terminal:
            console.print(f"block {height} …", end="\r")

    return show
