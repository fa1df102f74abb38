"""The benchmark of a failover runs and prints what it promises; its figures are not judged here."""

from functools import partial
from pathlib import Path

import msgspec

from support.benchmarks import run_script
from support.tools import needs


class Line(msgspec.Struct, forbid_unknown_fields=True):
    kills: int
    median_s: float
    max_s: float


run = partial(run_script, "failover.py")


@needs("etcd")
def test_bench_failover_prints_one_json_line() -> None:
    done = run("--kills", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    line = msgspec.json.decode(done.stdout, type=Line)
    assert line.kills == 1
    assert 0 < line.median_s <= line.max_s


def test_bench_failover_without_etcd_explains_how_to_install_it(tmp_path: Path) -> None:
    done = run(PATH=str(tmp_path), SWARM_ETCD="")
    assert done.returncode == 2
    assert done.stderr.startswith("bench-failover: etcd is not in PATH: install it")
    assert done.stderr.count("\n") == 1


def test_bench_failover_refuses_a_run_without_a_kill() -> None:
    done = run("--kills", "0")
    assert done.returncode == 2
    assert "at least 1 kill" in done.stderr
