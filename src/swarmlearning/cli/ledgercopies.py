"""`swarm ledger backup`, `restore` and `archive`: copies of an SN, and a chain without its old blocks."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from swarmlearning.cli.chainfiles import CHAIN_FILE, signed_by
from swarmlearning.cli.command import command
from swarmlearning.cli.console import make_console
from swarmlearning.cli.options import Credentials, DataDir, NetworkId, data_directory
from swarmlearning.cli.running import run_to_the_end
from swarmlearning.views.render import clock
from swarmlearning.views.sizes import size_text

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
        f"height {found.height}, head {found.hash}, state {found.state}, of {clock(found.time_ms)}\n"
        f"Restore with: swarm ledger restore {target} --data-dir NEW"
    )


@command("swarm ledger restore")
def restore(
    source: Annotated[
        Path,
        typer.Argument(help="A folder that swarm ledger backup has made, or the checkpoint of swarm ledger archive."),
    ],
    data_dir: DataDir = None,
    new_node: Annotated[
        bool, typer.Option("--new-node", help="Of the chain only, for a further SN that joins with --sentinel-ip.")
    ] = False,
    sl: Annotated[
        bool, typer.Option("--sl", help="Of a checkpoint: for an SL or SWOP, which needs no blocks.")
    ] = False,
    network_id: NetworkId = "",
    block: Annotated[
        str, typer.Option(help="Of a checkpoint: the hash of its head, as an SN of another organisation shows it.")
    ] = "",
    quiet: Quiet = False,
) -> None:
    """Make the data directory of an SN of a backup; every block is verified again, and nothing is overwritten.

    It is the same SN as the one backed up, which must not run any more: two
    processes of one SN would contradict each other. Of a checkpoint a new
    node's is made, without the blocks before it; a majority of the SNs must
    have signed it. Who may sign is in the checkpoint itself: compare network
    and head (--network-id, --block) with what others show.
    """
    if source.is_file():
        _start_from(source.absolute(), data_dir, sl=sl, network_id=network_id, block=block)
        return
    from swarmlearning.sn.copies import restore as restore_sn

    place = data_directory(data_dir, "sn")
    done = restore_sn(source.absolute(), place, new_node=new_node, progress=_progress(quiet))
    print(f"Restored and verified: {done.chain.height + 1} blocks, up to {clock(done.chain.time_ms)}, in {place}")
    if new_node:
        print("Start it as a further SN: swarm sn --sentinel-ip ADDRESS-OF-AN-SN …; it fetches the blocks since then.")
        return
    print(
        f"It is SN {done.uid}: start it only where the old one is gone for good.\n"
        "- Other SNs are at work: start it as before; it fetches the blocks since then from them.\n"
        "- It is the network's only SN: stop all other nodes, start it as before, then start them. Blocks since then "
        "are lost; nodes at work that have seen them end with an error.\n"
        "- All other SNs are lost too: stop all nodes; first `swarm sn recover`."
    )


def _start_from(source: Path, data_dir: Path | None, *, sl: bool, network_id: str, block: str) -> None:
    from swarmlearning.sn.archiving import start_from

    place = data_directory(data_dir, "sl" if sl else "sn")
    done = start_from(source, place, sn=not sl, network_id=network_id, block=block)
    chain = done.signed.chain
    print(
        f"Node {done.uid} in {place} starts after block {chain.height} of {clock(chain.time_ms)}.\n"
        f"network {chain.network_id}\nhead {chain.hash}, signed by {signed_by(done.signed)}\n"
        f"Start it as a new {'SL or SWOP' if sl else 'SN, with --sentinel-ip'}."
    )


@command("swarm ledger archive")
def archive(
    folder: Annotated[Path, typer.Argument(help="Folder for the files of blocks and the checkpoint.")],
    *,
    data_dir: DataDir = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Then remove the archived blocks from this SN, which must not run.")
    ] = False,
    credentials: Credentials,
) -> None:
    """Write an SN's blocks, verified, to a file, and a checkpoint that a majority of the SNs signs at once.

    With the checkpoint a node starts without the blocks; with the file too,
    `swarm ledger verify` verifies all of the chain. Any certificate of a member
    will do; with the SN's own it also signs for this SN while that is stopped.
    """
    from swarmlearning.sn.archiving import archive as archive_blocks
    from swarmlearning.sn.archiving import give_up

    place = data_directory(data_dir, "sn")
    done = run_to_the_end(archive_blocks(place, folder.absolute(), credentials.identity()))
    chain = done.signed.chain
    print(
        f"Archived and verified: blocks {done.heights.start} to {done.heights.stop - 1} in {done.blocks}\n"
        f"checkpoint {done.checkpoint}\nnetwork {chain.network_id}\n"
        f"head {chain.hash}, signed by {signed_by(done.signed)}"
    )
    if remove:
        before = (place / CHAIN_FILE).stat().st_size
        first = give_up(place, done)
        freed = size_text(before - (place / CHAIN_FILE).stat().st_size)
        print(f"Removed from {place}: blocks before {first}, {freed}. Keep {done.blocks}: others may have it no more.")


def _progress(quiet: bool) -> Callable[[int], None]:
    console = make_console(stderr=True)

    def show(height: int) -> None:
        if not quiet and console.is_terminal:
            console.print(f"block {height} …", end="\r")

    return show
