"""Time and memory of merging: methods × nodes × model sizes, beside the memory's bandwidth.

The models lie in files in the page cache, as when the leader has just received them; the result is a file too. *floor*:
the time in which as many threads copy as many bytes within memory. *extra*: anonymous and shared memory of the merging
process, beyond what it had before. Peers merge arrays that they have in memory already, so they read no files. A time
is that of the fastest of several merges.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from machine import MEGABYTE, RUNS
from mergemodels import ITEM, shortage, write_models
from mergerow import READS, floor_seconds, measure_merge

PEERS = Path(__file__).parent.parent / ".tools" / "peers" / "bin" / "python"
PEER_PARAMS = 256 * 10**6
"""The sum over all nodes: with more, a peer takes minutes and tens of GB."""
PEER_SECONDS = 900.0


class Row(msgspec.Struct, frozen=True):
    """The measurements; the line that `--json` prints. `peers`: seconds of those that came to the same result."""

    method: str
    nodes: int
    params: int
    seconds: float
    floor_s: float
    extra_rss_mb: float
    peers: dict[str, float]


def measure(
    method: str, models: list[Path], previous: Path, params: int, options: argparse.Namespace
) -> tuple[Row, list[str]]:
    """One row, and notes on the peers in it."""
    out = previous.with_name("out")
    size = params * ITEM
    repeats = options.repeats or max(2, min(10, 10**9 // (len(models) * params)))
    seconds, extra = measure_merge(method, models, previous, out, repeats, options.influence)
    floor = floor_seconds(method, len(models), size, repeats)
    peers, notes = measure_peers(method, models, out, params, options.peers)
    row = Row(method, len(models), params, round(seconds, 6), round(floor, 6), round(extra / MEGABYTE, 1), peers)
    return row, notes


def measure_peers(
    method: str, models: list[Path], out: Path, params: int, python: Path
) -> tuple[dict[str, float], list[str]]:
    """Returns seconds of the peers that compute the same, and notes on the others."""
    if not python.exists():
        return {}, []
    row = f"{method}, {len(models)} nodes, {params} parameters"
    if len(models) * params > PEER_PARAMS:
        return {}, [f"{row}: peers left out, they would need too much memory"]
    script = Path(__file__).with_name("mergepeers.py")
    command = [str(part) for part in (python, script, "--method", method, "--result", out, *models)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PEER_SECONDS, check=True)
    except subprocess.TimeoutExpired:
        return {}, [f"{row}: peers left out, they took longer than {PEER_SECONDS:.0f} s"]
    except subprocess.CalledProcessError as error:
        return {}, [f"{row}: peers left out, they failed: {(error.stderr.splitlines() or [str(error)])[-1]}"]
    found = json.loads(done.stdout.splitlines()[-1])
    peers = {name: round(one["seconds"], 6) for name, one in found.items() if one["same"]}
    return peers, [f"{row}: {name}: {one['note']}" for name, one in found.items()]


def line(row: Row) -> str:
    """For people."""
    peers = "  ".join(f"{name} {seconds:.3f} ({seconds / row.seconds:.1f}x)" for name, seconds in row.peers.items())
    share = 100 * row.floor_s / row.seconds
    return (
        f"{row.method:12} {row.nodes:5} {row.params / 1e6:7.0f} M {row.seconds:9.4f} {row.floor_s:9.4f} "
        f"{share:5.0f} % {row.extra_rss_mb:9.1f}  {peers}"
    )


HEAD = f"{'method':12} {'nodes':>5} {'params':>9} {'seconds':>9} {'floor':>9} {'':>7} {'extra MB':>9}  peers"


def main() -> None:
    options = _options()
    if not options.peers.exists():
        say("no peers are installed: `make bench-peers` gets them (some GB)")
    if not options.json:
        print(HEAD)
    RUNS.mkdir(exist_ok=True)
    for params in options.params:
        for nodes in options.nodes:
            with tempfile.TemporaryDirectory(prefix="bench-", dir=RUNS) as name:
                if lacking := shortage(Path(name), nodes, params, options.uncached):
                    say(f"{nodes} nodes, {params} parameters: skipped, {lacking}")
                    continue
                models, previous = write_models(Path(name), nodes, params)
                for method in options.methods:
                    row, notes = measure(method, models, previous, params, options)
                    print(msgspec.json.encode(row).decode() if options.json else line(row), flush=True)
                    for note in notes:
                        say(note)


def say(text: str) -> None:
    print(f"bench-merge: {text}", file=sys.stderr)


def words(text: str) -> list[str]:
    return text.split(",")


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def millions(text: str) -> list[int]:
    return [round(float(part) * 10**6) for part in text.split(",")]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", default=list(READS), type=words)
    parser.add_argument("--nodes", default=[2, 4, 8, 16, 32], type=numbers, help="comma-separated (default 2 to 32)")
    parser.add_argument("--params", default=millions("1,25,100"), type=millions, help="in millions (default 1,25,100)")
    parser.add_argument("--repeats", default=0, type=int, help="timed merges a row; default: by size, 2 to 10")
    parser.add_argument("--influence", action="store_true", help="measure contributors' influence as well")
    parser.add_argument(
        "--uncached", action="store_true", help="merge also what memory cannot cache: the disk is measured with it"
    )
    parser.add_argument("--peers", default=PEERS, type=Path, help="an interpreter that has flwr, byzfl, geom-median")
    parser.add_argument("--json", action="store_true", help="print a JSON line for each row instead of a table")
    options = parser.parse_args()
    if unknown := set(options.methods) - set(READS):
        parser.error(f"unknown methods {', '.join(sorted(unknown))}; there are {', '.join(READS)}")
    if min(*options.nodes, *options.params, 1) < 1 or options.repeats < 0:
        parser.error("at least 1 node and 1 parameter are needed")
    return options


if __name__ == "__main__":
    main()
