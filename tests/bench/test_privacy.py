"""The benchmark of privacy locks runs and prints what it promises; its figures are not judged here."""

from pathlib import Path

import msgspec
import pytest

from support.benchmarks import run_script


class Line(msgspec.Struct, forbid_unknown_fields=True):
    sites: int
    locked: int
    rounds: int
    norm: float
    noise: float
    epsilon: float | None
    accuracy: float


def test_bench_privacy_prints_a_json_line_for_each_lock(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_MNIST", str(images))
    done = run_script("privacy.py", "--rounds", "1", "--json")
    assert done.returncode == 0, done.stderr
    lines = [msgspec.json.decode(line, type=Line) for line in done.stdout.splitlines()]
    assert [(line.sites, line.locked) for line in lines[:2]] == [(6, 0), (6, 6)]
    assert all((line.epsilon is None) == (line.noise == 0) for line in lines)
    assert {line.rounds for line in lines} == {1}
