"""The benchmark of the ledger runs and prints what it promises; its figures are not judged here."""

from functools import partial
from pathlib import Path

import msgspec

from support.benchmarks import run_script
from support.tools import needs


class Line(msgspec.Struct, forbid_unknown_fields=True):
    ordering: str
    sns: int
    p50_s: float
    p99_s: float
    floor_p50_s: float
    tps: float


run = partial(run_script, "ledger.py")


@needs("etcd")
def test_bench_ledger_prints_a_json_line_for_each_engine() -> None:
    done = run("--samples", "3", "--senders", "4", "--seconds", "0.5", "--json")
    assert done.returncode == 0, done.stderr
    lines = [msgspec.json.decode(line, type=Line) for line in done.stdout.splitlines()]
    assert [(line.ordering, line.sns) for line in lines] == [("local", 1), ("etcd", 3)]
    for line in lines:
        assert 0 < line.p50_s <= line.p99_s
        assert min(line.floor_p50_s, line.tps) > 0


def test_bench_ledger_without_etcd_explains_how_to_install_it(tmp_path: Path) -> None:
    done = run(PATH=str(tmp_path), SWARM_ETCD="")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("bench-ledger: etcd is not in PATH: install it")
    assert done.stderr.count("\n") == 1


def test_bench_ledger_refuses_a_run_without_a_sample() -> None:
    done = run("--samples", "0")
    assert done.returncode == 2
    assert "at least 1 sample" in done.stderr
