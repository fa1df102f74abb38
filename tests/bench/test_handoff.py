"""The benchmark of handing a model over runs and prints what it promises; its figures are not judged here."""

import msgspec

from support.benchmarks import run_script


class Line(msgspec.Struct, forbid_unknown_fields=True):
    mb: int
    repeats: int
    first_copy_s: float
    first_out_s: float
    copy_s: float
    out_s: float
    in_s: float


def test_bench_handoff_prints_one_json_line() -> None:
    done = run_script("handoff.py", "--mb", "2", "--repeats", "2", "--json")
    assert done.returncode == 0, done.stderr
    line = msgspec.json.decode(done.stdout, type=Line)
    assert (line.mb, line.repeats) == (2, 2)
    assert min(line.first_copy_s, line.first_out_s, line.copy_s, line.out_s, line.in_s) > 0


def test_bench_handoff_prints_a_table_that_compares_with_copying() -> None:
    done = run_script("handoff.py", "--mb", "1", "--repeats", "1")
    assert done.returncode == 0, done.stderr
    assert [line.split()[-2:] for line in done.stdout.splitlines()[2:]] == [["x", "copying"]] * 5
    assert "1.00 x copying" in done.stdout


def test_bench_handoff_refuses_a_model_without_bytes() -> None:
    done = run_script("handoff.py", "--mb", "0")
    assert done.returncode == 2
    assert "at least 1 MB" in done.stderr
