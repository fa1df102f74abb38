"""The benchmark of an operator's task runs and prints what it promises; its figures are not judged here."""

import msgspec

from support.benchmarks import run_script


class Line(msgspec.Struct, forbid_unknown_fields=True):
    pairs: int
    assign_to_first_round_s: float
    floor_s: float
    ratio: float
    swop_rss_mb: float


def test_bench_operate_prints_a_json_line() -> None:
    done = run_script("operate.py", "--pairs", "2", "--json")
    assert done.returncode == 0, done.stderr
    line = msgspec.json.decode(done.stdout, type=Line)
    assert line.pairs == 2
    assert line.assign_to_first_round_s > 0
    assert line.swop_rss_mb > 1
