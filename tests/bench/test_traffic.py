"""The benchmark of fewer bytes runs and prints what it promises; its figures are not judged here, but the bytes are."""

from pathlib import Path

import msgspec

from support.benchmarks import run_with_support


class Line(msgspec.Struct, forbid_unknown_fields=True):
    task: str
    way: str
    seeds: int
    rounds: int
    first_bytes: int
    sent: int
    received: int
    ratio: float
    figure: float
    difference: float
    low: float
    high: float


def test_bench_traffic_prints_a_json_line_for_each_way_and_draws_them(images: Path, tmp_path: Path) -> None:
    options = [
        "--short",
        "--tasks",
        "mlp",
        "--seeds",
        "2",
        "--batches",
        "80",
        "--out",
        str(tmp_path / "plots"),
        "--json",
    ]
    done = run_with_support("traffic.py", *options, FASHION_MNIST=str(images))
    assert done.returncode == 0, done.stderr
    means, coded = [msgspec.json.decode(line, type=Line) for line in done.stdout.splitlines()]
    assert (means.way, means.rounds, means.difference) == ("mean, float32/float32", 4, 0.0)
    assert means.sent == means.received == 4 * means.first_bytes // 2
    assert (coded.way, coded.rounds, coded.seeds) == ("outer, int4/int8, 1/4 of the rounds", 1, 2)
    assert coded.ratio > 18
    assert coded.low <= coded.difference <= coded.high
    assert "outer, int4/int8" in (tmp_path / "plots" / "traffic-mlp.svg").read_text()
