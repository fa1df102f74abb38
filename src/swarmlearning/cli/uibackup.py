"""`swarm ui backup` and `swarm ui restore`: what the UI keeps, as one file."""

from pathlib import Path
from typing import Annotated

import typer

from swarmlearning import __version__
from swarmlearning.cli.command import command
from swarmlearning.cli.options import DataDir, data_directory
from swarmlearning.views.sizes import size_text

Archive = Annotated[Path, typer.Argument(help="The archive, as: ui.tar.gz", dir_okay=False)]


def add_to(app: typer.Typer) -> None:
    """Makes these the sub-commands of `app`."""
    app.command("backup")(backup)
    app.command("restore")(restore)


@command("swarm ui backup")
def backup(archive: Archive, *, data_dir: DataDir = None) -> None:
    """Write what the UI keeps (users, settings, projects) to a new archive, also while it runs, without secrets."""
    from swarmlearning.ui.backup import backup
    from swarmlearning.ui.setup.identity import own

    folder = data_directory(data_dir, "ui")
    done = backup(folder, archive, __version__)
    print(f"{archive}: {len(done.content.files)} files, {size_text(done.size)}, with their digests")
    if done.left_out:
        print(f"left out, as no plain files of the UI's: {', '.join(done.left_out[:20])}")
    if own(folder).root.exists():
        print(f"not in it: {own(folder).root}, the UI's own key; the page Set-up issues another one after a restore")


@command("swarm ui restore")
def restore(archive: Archive, *, data_dir: DataDir = None) -> None:
    """Put an archive into the UI's folder, which has to be empty or missing, once all of it is verified."""
    from swarmlearning.ui.backup import restore
    from swarmlearning.ui.setup.identity import OFFICE, own

    folder = data_directory(data_dir, "ui")
    done = restore(archive, folder)
    print(f"{folder}: {len(done.content.files)} files, {size_text(done.size)}, all as they were saved")
    if (folder / OFFICE).exists() and not own(folder).root.exists():
        print("the UI's own key is in no backup: start it with --http, and have the page Set-up issue a certificate")
