"""The benchmark of many SLs runs and prints what it promises; its figures are not judged here."""

from functools import partial

import msgspec

from support.benchmarks import run_script


class Line(msgspec.Struct, forbid_unknown_fields=True):
    sls: int
    rounds: int
    median_s: float
    sn_rss_start_mb: float
    sn_rss_end_mb: float


run = partial(run_script, "scale.py")


def test_bench_scale_prints_one_json_line() -> None:
    done = run("--sls", "5", "--warm-up", "1", "--rounds", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    line = msgspec.json.decode(done.stdout, type=Line)
    assert (line.sls, line.rounds) == (5, 2)
    assert line.median_s > 0
    assert min(line.sn_rss_start_mb, line.sn_rss_end_mb) > 1


def test_bench_scale_refuses_fewer_than_two_sls() -> None:
    done = run("--sls", "1")
    assert done.returncode == 2
    assert "at least 2 SLs" in done.stderr
