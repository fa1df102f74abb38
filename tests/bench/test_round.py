"""The benchmark of a round runs and prints what it promises; its figures are not judged here."""

from functools import partial
from pathlib import Path

import msgspec

from support.benchmarks import run_script

ROOT = Path(__file__).parents[2]


class Line(msgspec.Struct, forbid_unknown_fields=True):
    nodes: int
    mb: int
    rounds: int
    median_s: float
    p95_s: float
    best_s: float
    floor_s: float
    phases_s: dict[str, float]
    cpu_s_per_round: float
    cpu_s: dict[str, float]
    peak_rss_mb: dict[str, float]
    startup_s: float
    other_cores: float


run = partial(run_script, "round.py")


def test_bench_round_prints_a_json_line_for_each_swarm() -> None:
    done = run("--nodes", "2", "3", "--mb", "1", "--rounds", "3", "--json")
    assert done.returncode == 0, done.stderr
    lines = [msgspec.json.decode(line, type=Line) for line in done.stdout.splitlines()]
    assert [(line.nodes, line.mb, line.rounds) for line in lines] == [(2, 1, 3), (3, 1, 3)]
    for line in lines:
        assert 0 < line.best_s <= line.median_s <= line.p95_s
        assert min(line.floor_s, line.cpu_s_per_round, line.startup_s) > 0
        processes = {"SN-1", *(f"{kind}-{number}" for kind in ("SL", "ML") for number in range(1, line.nodes + 1))}
        assert set(line.peak_rss_mb) == set(line.cpu_s) == processes
        assert min(line.peak_rss_mb.values()) > 1
        assert set(line.phases_s) == {"submit", "merge", "deliver"}


def test_bench_round_refuses_fewer_than_two_nodes() -> None:
    done = run("--nodes", "1", "--mb", "1")
    assert done.returncode == 2
    assert "at least 2 nodes" in done.stderr
