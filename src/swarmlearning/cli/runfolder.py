"""The folder of a run: what lies where, and the certificates its nodes use."""

import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.identity.workspace import Workspace
from swarmlearning.node.logs import FORMAT
from swarmlearning.sn.node import CHAIN_FILE
from swarmlearning.supervise.processes import RunError

LATEST = "latest"
CERTIFICATE_DAYS = 365
OBSERVER = "UI-1"
FOUNDING = """# The only organisation is that of the certificates; scripts create contracts by naming them.
[policies]
create-contract = "none"
"""


@dataclass(frozen=True)
class RunFolder:
    """logs/ (one a process), sn/ (the SN's, with the chain), sites/<site>/, identity/, report.json."""

    root: Path

    @property
    def logs(self) -> Path:
        """Folder of the log files."""
        return self.root / "logs"

    @property
    def sn(self) -> Path:
        """Data directory of the SN."""
        return self.root / "sn"

    @property
    def chain(self) -> Path:
        """The ledger."""
        return self.sn / CHAIN_FILE

    @property
    def identity(self) -> Workspace:
        """The certificates of this run."""
        return Workspace(self.root / "identity")

    @property
    def founding(self) -> Path:
        """The file with which the network is founded."""
        return self.root / "organisations.toml"

    @property
    def report(self) -> Path:
        """The report, written when the run has ended, in whatever way, if there is a ledger to report from."""
        return self.root / "report.json"

    def site(self, name: str) -> Path:
        """Folder of a site: its SL's data, and what its script writes."""
        return self.root / "sites" / name

    def bridge(self, name: str) -> Path:
        """Folder that the SL of a site shares with the original's client."""
        return self.site(name) / "bridge"


def site_names(count: int) -> list[str]:
    """The names of the sites: site-1 to site-N."""
    return [f"site-{number}" for number in range(1, count + 1)]


def make_run_folder(runs: Path, label: str, sites: int) -> RunFolder:
    """A new folder `<time>-<label>` in `runs`, with certificates, to which `runs/latest` then leads.

    Raises `RunError` when it cannot be made.
    """
    try:
        folder = RunFolder(_new_folder(runs.absolute(), f"{time.strftime('%Y%m%d-%H%M%S')}-{label}"))
        folder.logs.mkdir()
        for name in site_names(sites):
            folder.site(name).mkdir(parents=True)
        _make_certificates(folder.identity, ["SN-1", *(f"SL-{n}" for n in range(1, sites + 1)), OBSERVER])
        folder.founding.write_text(FOUNDING)
        _link_latest(folder.root)
    except OSError as error:
        raise RunError(f"cannot make a run folder in {runs}: {error}; choose another with --runs-dir") from error
    return folder


def log_to(folder: RunFolder) -> None:
    """Sends the log of this process itself into the run folder, not between the lines of the terminal."""
    logging.basicConfig(
        filename=folder.logs / "launcher.log",
        format=FORMAT,
        level=logging.INFO,
        force=True,
        encoding="utf-8",
        errors="backslashreplace",
    )


def _new_folder(runs: Path, name: str) -> Path:
    runs.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, 100):
        path = runs / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            continue  # another run of the same second
        return path
    raise RunError(f"{runs / name} exists 99 times already; choose another folder with --runs-dir")


def _make_certificates(workspace: Workspace, nodes: list[str]) -> None:
    authority = create_authority("CA-1", CERTIFICATE_DAYS)
    workspace.save_authority("CA-1", authority)
    for node in nodes:
        workspace.save_node(node, issue(authority, node, [], ["127.0.0.1"], CERTIFICATE_DAYS))


def _link_latest(folder: Path) -> None:
    """Replaces the link in one step: it always leads somewhere. A folder called `latest` is left as it is."""
    latest = folder.parent / LATEST
    if latest.exists() and not latest.is_symlink():
        return
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{LATEST}-") as place:
        link = Path(place) / LATEST
        link.symlink_to(folder.name, target_is_directory=True)
        link.replace(latest)
