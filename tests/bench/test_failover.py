"""The benchmark of a failover runs and prints what it promises; its figures are not judged here."""

from functools import partial
from pathlib import Path

import msgspec

from support.benchmarks import run_script
from support.tools import needs


class Line(msgspec.Struct, forbid_unknown_fields=True):
    makeup: str
    failure: str
    runs: int
    median_s: float
    max_s: float
    bound_s: float
    each_s: list[float]


run = partial(run_script, "failover.py")


@needs("etcd")
def test_bench_failover_prints_a_json_line_for_each_failure() -> None:
    done = run("--kills", "1", "--runs", "0", "--makeups", "2+1", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    line = msgspec.json.decode(done.stdout, type=Line)
    assert (line.makeup, line.failure, line.runs, line.bound_s) == ("2+1", "sentinel killed", 1, 5.0)
    assert line.each_s == [line.median_s] == [line.max_s]
    assert line.max_s > 0


def test_bench_failover_without_etcd_explains_how_to_install_it(tmp_path: Path) -> None:
    done = run(PATH=str(tmp_path), SWARM_ETCD="")
    assert done.returncode == 2
    assert done.stderr.startswith("bench-failover: etcd is not in PATH: install it")
    assert done.stderr.count("\n") == 1


def test_bench_failover_refuses_a_run_without_a_kill() -> None:
    done = run("--kills", "0")
    assert done.returncode == 2
    assert "at least 1 kill" in done.stderr
