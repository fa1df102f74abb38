"""The benchmark of spam runs and prints what it promises; its figures are not judged here."""

from functools import partial

import msgspec

from support.benchmarks import run_script


class Line(msgspec.Struct, forbid_unknown_fields=True):
    ordering: str
    unloaded_s: float
    loaded_s: float
    loaded_p99_s: float
    spam_per_s: dict[str, float]


run = partial(run_script, "spam.py")


def test_bench_spam_prints_both_medians_and_the_spammer_s_rates() -> None:
    done = run("--orderings", "local", "--samples", "5", "--seconds", "3", "--json")
    assert done.returncode == 0, done.stderr
    (line,) = [msgspec.json.decode(text, type=Line) for text in done.stdout.splitlines()]
    assert line.ordering == "local"
    assert line.unloaded_s > 0
    assert 0 < line.loaded_s <= line.loaded_p99_s
    assert sum(line.spam_per_s.values()) > 0


def test_bench_spam_refuses_a_run_without_a_sample() -> None:
    done = run("--samples", "0")
    assert done.returncode == 2
    assert "at least 1 sample" in done.stderr
