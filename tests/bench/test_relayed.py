"""The benchmark of relays runs and prints what it promises; its figures are not judged here."""

import msgspec
import pytest

from support.benchmarks import run_script


class Line(msgspec.Struct, forbid_unknown_fields=True):
    mb: int
    repeats: int
    direct_s: float
    relayed_s: float
    ratio: float
    relay_cpu_s: float


def test_bench_relay_prints_one_json_line() -> None:
    done = run_script("relayed.py", "--mb", "2", "--repeats", "2", "--json")
    assert done.returncode == 0, done.stderr
    line = msgspec.json.decode(done.stdout, type=Line)
    assert (line.mb, line.repeats) == (2, 2)
    assert min(line.direct_s, line.relayed_s) > 0
    assert line.ratio == pytest.approx(line.relayed_s / line.direct_s, rel=0.01)


def test_bench_relay_refuses_a_model_without_bytes() -> None:
    done = run_script("relayed.py", "--mb", "0")
    assert done.returncode == 2
    assert "at least 1 MB" in done.stderr
