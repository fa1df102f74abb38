"""The benchmark of rounds over thin links runs and prints what it promises; its figures are not judged here."""

import msgspec

from support.benchmarks import run_with_support
from support.tools import needs


class Line(msgspec.Struct, forbid_unknown_fields=True):
    row: str
    nodes: int
    mb: int
    mbit_up: float
    mbit_down: float
    rtt_ms: float
    loss: float
    mergers: int
    median_s: float
    limit_s: float
    star_s: float | None
    hivemind_s: float | None
    raw_s: float
    bytes_per_site: int
    busiest_bytes: int
    cpu_s: float
    undisturbed_s: float | None
    rounds: int
    each_s: list[float]
    other_cores: float
    congestion: str


@needs("tun")
def test_bench_links_prints_a_json_line_for_each_row() -> None:
    done = run_with_support(
        "links.py", "--rounds", "1", "--alone", "--json", "--rows", "3x1@20,kill", "2x1@30,rtt=40,loss=1"
    )
    assert done.returncode == 0, done.stderr
    killed, long = (msgspec.json.decode(line, type=Line) for line in done.stdout.splitlines())
    assert (killed.row, killed.nodes, killed.mb, killed.mbit_up, killed.loss) == ("3x1@20,kill", 3, 1, 20, 0)
    assert (long.row, long.nodes, long.loss) == ("2x1@30,rtt=40,loss=1", 2, 0.01)
    assert killed.rtt_ms < 40 <= long.rtt_ms  # one cable or the other is there
    assert killed.undisturbed_s is not None
    assert killed.median_s > killed.undisturbed_s == killed.each_s[0]
    for line in (killed, long):
        assert line.rounds == 1
        assert line.mergers == 1 or line.star_s is not None  # slow rounds try slices
        assert line.hivemind_s is None
        assert line.median_s > line.limit_s
        assert line.raw_s > 0.9 * line.mb * 8 / line.mbit_up  # no link is faster than it was told
        assert 0.5e6 < line.bytes_per_site <= line.busiest_bytes < 3e6
        assert line.cpu_s > 0
