"""The benchmark of a start runs and reports what it promises; how long a start took is nobody's business here."""

from functools import partial

import msgspec

from support.benchmarks import run_script


class Line(msgspec.Struct, forbid_unknown_fields=True):
    node: str
    blocks: int
    transactions: int
    cold_s: float
    warm_s: float
    rss_mb: float


run = partial(run_script, "start.py")


def test_bench_start_prints_a_json_line_with_cold_and_warm_times_for_an_sn_and_an_sl() -> None:
    done = run("--transactions", "250", "--json")
    assert done.returncode == 0, done.stderr
    lines = [msgspec.json.decode(line, type=Line) for line in done.stdout.splitlines()]
    assert [(line.node, line.blocks, line.transactions) for line in lines] == [("SN-1", 4, 250), ("SL-1", 4, 250)]
    for line in lines:
        assert min(line.cold_s, line.warm_s) > 0
        assert line.rss_mb > 1


def test_bench_start_refuses_a_chain_without_transactions() -> None:
    done = run("--transactions", "1")
    assert done.returncode == 2
    assert "at least 2 transactions" in done.stderr
