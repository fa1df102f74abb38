"""The benchmark of a round runs and says what it promises; how fast it was is nobody's business here."""

import subprocess
import sys
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
ROUND = ROOT / "bench" / "round.py"


class Line(msgspec.Struct, forbid_unknown_fields=True):
    nodes: int
    mb: int
    rounds: int
    median_s: float
    p95_s: float
    floor_s: float
    cpu_s_per_round: float
    peak_rss_mb: dict[str, float]
    startup_s: float


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROUND), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_one_json_line() -> None:
    done = run("--nodes", "2", "--mb", "1", "--rounds", "3", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    line = msgspec.json.decode(done.stdout, type=Line)
    assert (line.nodes, line.mb, line.rounds) == (2, 1, 3)
    assert 0 < line.median_s <= line.p95_s
    assert min(line.floor_s, line.cpu_s_per_round, line.startup_s) > 0
    assert set(line.peak_rss_mb) == {"SN-1", "SL-1", "SL-2", "ML-1", "ML-2"}
    assert min(line.peak_rss_mb.values()) > 1


def test_a_round_needs_two_nodes() -> None:
    done = run("--nodes", "1", "--mb", "1")
    assert done.returncode == 2
    assert "at least 2 nodes" in done.stderr
