"""The benchmark of merging runs and prints what it promises; its figures are not judged here."""

import runpy
from functools import partial
from pathlib import Path

import msgspec
import psutil
import pytest

from support.benchmarks import run_script

MERGE = Path(__file__).parents[2] / "bench" / "merge.py"


class Line(msgspec.Struct, forbid_unknown_fields=True):
    method: str
    nodes: int
    params: int
    seconds: float
    floor_s: float
    extra_rss_mb: float
    peers: dict[str, float]


run = partial(run_script, "merge.py", "--peers", "/nonexistent")


def test_bench_merge_prints_a_json_line_for_each_method_and_size_and_how_to_install_peers() -> None:
    done = run("--nodes", "2,3", "--params", "0.1", "--repeats", "1", "--json")
    assert done.returncode == 0, done.stderr
    lines = [msgspec.json.decode(line, type=Line) for line in done.stdout.splitlines()]
    methods = ["mean", "coordmedian", "geomedian"]
    assert [(line.nodes, line.method, line.params) for line in lines] == [
        (nodes, method, 100_000) for nodes in (2, 3) for method in methods
    ]
    for line in lines:
        assert min(line.seconds, line.floor_s) > 0
        assert line.extra_rss_mb < 256
        assert line.peers == {}
    assert done.stderr == "bench-merge: no peers are installed: `make bench-peers` gets them (some GB)\n"


def test_bench_merge_skips_a_size_that_does_not_fit_with_a_line() -> None:
    done = run("--nodes", "2", "--params", "100000000", "--json")
    assert (done.returncode, done.stdout) == (0, "")
    assert "2 nodes, 100000000000000 parameters: skipped, needs 1600002.0 GB of disk" in done.stderr


def test_bench_merge_refuses_an_unknown_method() -> None:
    done = run("--methods", "mean,mode")
    assert done.returncode == 2
    assert "unknown methods mode; there are mean, coordmedian, geomedian" in done.stderr


def test_bench_merge_skips_models_too_large_for_the_cache_unless_uncached_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Free:
        available = 2_400_000_000

    monkeypatch.setattr(psutil, "virtual_memory", Free)
    shortage = runpy.run_path(str(MERGE.with_name("mergemodels.py")))["shortage"]
    assert shortage(tmp_path, 8, 10**7, uncached=False) == ""
    assert shortage(tmp_path, 9, 10**7, uncached=False) == "needs 2.4 GB of memory, 2.4 GB are free"
    assert shortage(tmp_path, 9, 10**7, uncached=True) == ""
