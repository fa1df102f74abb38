"""`swarm demo`: three sites with different handwritten digits, against each site alone and against pooled data."""

import json
import sys
from pathlib import Path

import msgspec
from rich.console import Console

from swarmlearning.cli.command import command
from swarmlearning.cli.console import make_console, working
from swarmlearning.cli.launcher import train
from swarmlearning.cli.live import screen
from swarmlearning.cli.localrun import LiveView, LocalRun, ReportFile, RunsDir, run_until_signal
from swarmlearning.cli.nodecommands import script_environment
from swarmlearning.cli.report import Report, metrics, save, succeeded
from swarmlearning.cli.runfolder import RunFolder
from swarmlearning.cli.summary import accuracies, summary
from swarmlearning.supervise.processes import Processes, RunError

SITES = 3
POOLED = "pooled"
SCRIPT = Path(__file__).parents[3] / "examples" / "digits" / "train.py"


@command("swarm demo")
def demo(report: ReportFile = None, runs_dir: RunsDir = Path("runs"), live: LiveView = None) -> None:
    """Watch three sites with different private images train one model together.

    One script, examples/digits/train.py, trains at each site alone, on the
    data of all in one place, and as a swarm of 1 SN, 3 SL and 3 ML processes.
    Exit status 0 only when all sites hold the same model, the ledger verifies
    and the swarm is better than the best single site.
    """
    _check_installation()
    swarm = LocalRun.prepare(make_console(), runs_dir, "digits", SITES)
    with swarm.accounted(report):
        run_until_signal(_train(swarm, live), swarm.processes)
        result = compared(swarm.report(), swarm.folder)
        save(result, swarm.folder.report, report)
        _print(swarm.console, result)
    if problems := failures(result):
        raise RunError("; ".join(problems))


async def _train(swarm: LocalRun, live: bool | None) -> None:
    async with swarm.processes:
        with working(swarm.console, "training at each site alone, and with pooled data, to compare"):
            await _train_without_swarm(swarm.processes, swarm.folder)
        with screen(swarm.console, swarm.sites, live, "accuracy") as shown:
            await train(swarm.processes, swarm.folder, [sys.executable, str(SCRIPT)], SITES, shown)


def compared(report: Report, folder: RunFolder) -> Report:
    """The report with what the script reached without a swarm: at each site alone and with pooled data."""
    sites = [
        {**site, "alone_accuracy": metrics(_alone(folder).site(site["name"])).get("accuracy")} for site in report.sites
    ]
    pooled = metrics(_pooled(folder).site(POOLED)).get("accuracy")
    return msgspec.structs.replace(report, sites=sites, pooled_accuracy=pooled)


def failures(report: Report) -> list[str]:
    """The promises of the demo that were not kept; empty when all is well."""
    found = [] if succeeded(report) else [report.status]
    if any(digest != report.model for digest in report.digests.values()):
        held = ", ".join(f"{name} {digest or 'none'}" for name, digest in report.digests.items())
        found.append(f"the sites do not hold the ledger's final model {report.model}: {held}")
    alone = [site["alone_accuracy"] for site in report.sites]
    if report.swarm_accuracy is None or None in alone:
        found.append("an accuracy is missing")
    elif report.swarm_accuracy <= max(alone):
        found.append(f"the swarm reached {report.swarm_accuracy:.3f}, the best single site {max(alone):.3f}")
    return found


async def _train_without_swarm(processes: Processes, folder: RunFolder) -> None:
    """SWARM_LOOPBACK switches a callback off: the same script trains by itself."""
    alone = [script_environment(_alone(folder), index, SITES) for index in range(SITES)]
    pooled = {**script_environment(_pooled(folder), 0, 1), "SWARM_SITE": POOLED}
    processes.next_wave()
    started = [
        await processes.start(
            name,
            [sys.executable, "-P", "-m", "swarmlearning.cli.repeat", str(SCRIPT), *(json.dumps(each) for each in runs)],
            {"SWARM_LOOPBACK": "True"},
        )
        for name, runs in (("alone", alone), (POOLED, [pooled]))
    ]
    await processes.until_ended(started)


def _alone(folder: RunFolder) -> RunFolder:
    return RunFolder(folder.root / "alone")


def _pooled(folder: RunFolder) -> RunFolder:
    return RunFolder(folder.root / POOLED)


def _print(console: Console, report: Report) -> None:
    rows = [(f"{site['name']} alone", site["samples"], site["alone_accuracy"]) for site in report.sites]
    samples = sum(site["samples"] for site in report.sites)
    console.print()
    console.print(
        accuracies([*rows, ("swarm", samples, report.swarm_accuracy), ("pooled data", samples, report.pooled_accuracy)])
    )
    console.print()
    console.print(summary(report, console))
    console.print(f"\n{report.wall_seconds:.0f} s, on a held-out set that no site has trained on")


def _check_installation() -> None:
    if not SCRIPT.exists():
        raise RunError(
            f"the demo's script is not at {SCRIPT}: it comes with the source, not with the installed package. "
            "Clone the project and run `make demo` in it"
        )
