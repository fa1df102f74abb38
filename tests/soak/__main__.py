"""A swarm of 3 SNs and 8 SLs under random faults for long: `python -m soak --seconds 3600 --out docs/soak`.

SLs train without end while SNs and SLs are killed, stopped, frozen and started again and stored models are damaged.
One SN and two SLs are spared: their memory, descriptors, CPU time and disk, and the time of rounds and answers, must
stay flat; only chains may grow. Prints the verdict, and writes it with all series as JSON, with plots as SVG.
"""

import argparse
import asyncio
import logging
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from soak.outcome import Outcome, outcome, plots, text
from soak.running import SLS, Soak, SoakError
from support.processes import Processes
from support.sns import Network

RUNS = Path(__file__).parents[2] / "runs"


def main() -> None:
    options = _options()
    logging.getLogger("swarm").setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # not without ending what has been started
    RUNS.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=RUNS))
    print(f"soak: seed {options.seed}, {options.seconds:.0f} s, files in {folder} until all is well", flush=True)
    try:
        found = _soak(folder, options)
    except SoakError as error:
        sys.exit(f"soak: broke: {error}")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "soak.json").write_bytes(msgspec.json.encode(found) + b"\n")
    for name, svg in plots(found).items():
        (options.out / name).write_text(svg, encoding="utf-8")
    print(f"{text(found)}\nsoak: {found.verdict}; series and plots in {options.out}")
    if found.faults_found:
        sys.exit(1)
    shutil.rmtree(folder)


def _soak(folder: Path, options: argparse.Namespace) -> Outcome:
    """Raises `SoakError`."""
    with Processes(folder) as processes:
        net = Network(processes, folder, sls=SLS)
        soak = Soak(net, options.seed, options.pace, options.rest, options.kilobytes)
        try:
            asyncio.run(soak.run(options.seconds))
        except* SoakError as group:
            raise _first(group) from None
        begin_ms = int((time.time() - (time.monotonic() - soak.begin)) * 1000)
        net.assert_one_chain(1, 2, 3)
        soak.stop()
        return outcome(soak.samples, net.verified(1), begin_ms, options.seed, soak.struck)


def _first(group: BaseExceptionGroup[SoakError]) -> SoakError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--pace", type=float, default=1.0, help="seconds that a site trains between two syncs")
    parser.add_argument("--rest", type=float, default=12.0, help="seconds between two faults of a lane, on average")
    parser.add_argument("--kilobytes", type=int, default=100, help="size of the model")
    parser.add_argument("--out", type=Path, default=RUNS / "soak", help="folder for soak.json and the plots")
    return parser.parse_args()


if __name__ == "__main__":
    main()
