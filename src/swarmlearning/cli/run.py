"""`swarm run`: a whole swarm on this machine for one's own script."""

from pathlib import Path
from typing import Annotated

import typer

from swarmlearning.choices import DEFAULT_CONTRACT, Transfer, TransferBack
from swarmlearning.cli.command import command
from swarmlearning.cli.console import make_console
from swarmlearning.cli.laiddown import Travel
from swarmlearning.cli.launcher import train
from swarmlearning.cli.live import screen
from swarmlearning.cli.localrun import LiveView, LocalRun, ReportFile, RunsDir, check_command, run_until_signal
from swarmlearning.cli.options import TransferBackOption, TransferOption
from swarmlearning.cli.report import succeeded
from swarmlearning.supervise.processes import RunError

MAX_SITES = 64
LONGEST_LABEL = 64

Bridge = Annotated[bool, typer.Option("--bridge", help="Scripts use the original's client, release 2.1 or 2.2.")]
ContractName = Annotated[
    str, typer.Option(help="With --transfer or --transfer-back: the script's trainingContract, if it names one.")
]


@command("swarm run")
def run(
    command: Annotated[list[str], typer.Argument(help="The training script, as: python train.py")],
    sites: Annotated[int, typer.Option("-n", "--sites", help="How many sites.", min=1, max=MAX_SITES)],
    report: ReportFile = None,
    runs_dir: RunsDir = Path("runs"),
    live: LiveView = None,
    bridge: Bridge = False,
    transfer: TransferOption = "float32",
    transfer_back: TransferBackOption = "float32",
    contract: ContractName = "",
) -> None:
    """Train one model with N processes of your script, each with an SL node of its own.

    As torchrun does for data-parallel training: swarm run -n 3 -- python train.py

    Each process of the script finds in its environment:

    SWARM_CHANNEL    socket of its SL node; a SwarmCallback finds it by itself
    SWARM_INDEX      its number, from 0
    SWARM_COUNT      how many there are
    SWARM_SITE       name of its site: site-1, site-2, ...
    SWARM_RUN_DIR    the run folder; write into sites/$SWARM_SITE/ in it
    MIN_PEERS        the same as SWARM_COUNT
    NODE_ID          the same as SWARM_SITE
    SCRATCH_DIR      sites/$SWARM_SITE/ in the run folder unless you set it
    OMP_NUM_THREADS  1 unless you set it: the processes share the cores

    Two files in sites/$SWARM_SITE/ go into the report: metrics.json, a JSON
    object such as {"samples": 120, "accuracy": 0.97}, and the digest of
    model.safetensors, where the script writes the model it ends with.

    `python` is the one beside `swarm` unless another environment is active.

    A site that fails does not end the run while enough sites (minPeers) are
    left; the others go on to the end of training.

    The run folder (runs/latest leads to the newest) holds the log of every
    process, the ledger and report.json, after Ctrl-C too. Only its owner may
    read what the run writes: models are among it. Exit status: 0 when training
    came to its end at every site and the ledger verifies, 130 after Ctrl-C,
    else 1 with what failed and the end of its log.
    """
    check_command(command)
    travel = _travel(transfer, transfer_back, contract)
    swarm = LocalRun.prepare(make_console(), runs_dir, _label(command), sites)
    with swarm.accounted(report) as report_now:
        run_until_signal(_train(swarm, command, live, bridge, travel), swarm.processes)
        result = report_now()
    if not succeeded(result):
        raise RunError(result.status)


def _travel(transfer: Transfer, back: TransferBack, contract: str) -> Travel:
    """Raises `RunError` where a contract is named for which nothing is laid down."""
    found = Travel(transfer, back, contract or DEFAULT_CONTRACT)
    if contract and not found.text:
        raise RunError("--contract is for --transfer: without it the script's trainingContract needs no creation")
    return found


async def _train(swarm: LocalRun, command: list[str], live: bool | None, bridge: bool, travel: Travel) -> None:
    with screen(swarm.console, swarm.sites, live) as shown:
        async with swarm.processes:
            count = len(swarm.sites)
            await train(swarm.processes, swarm.folder, command, count, shown, bridge=bridge, travel=travel)
    if travel.text:
        swarm.console.print(travel.text, style="dim")


def _label(command: list[str]) -> str:
    """The script's name, for the run folder's, which is the network's too."""
    name = [*(Path(part).stem for part in command if part.endswith(".py")), Path(command[0]).name][0]
    return "".join(char if char.isalnum() or char in "._-" else "-" for char in name[:LONGEST_LABEL])
