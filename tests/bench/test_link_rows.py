"""How a row of `make bench-links` is written, and the least time that its round needs."""

import pytest

from support.benchmarks import names_in

NAMES = names_in("linkrow.py")
parse, limit_seconds, wire_bytes, Link, ROWS = (
    NAMES[name] for name in ("parse", "limit_seconds", "wire_bytes", "Link", "ROWS")
)
MB = 10**6


@pytest.mark.parametrize(
    "name",
    [*ROWS, "3x1@0.5,slow=4,coordmedian", "3x7@10/20,rtt=50,loss=0.5,kill", "3x1@4,int4", "3x1@4,geomedian,int8/int8"],
)
def test_a_row_reads_as_it_is_written(name: str) -> None:
    assert parse(name).name == name


def test_a_row_has_a_link_for_each_site() -> None:
    row = parse("3x25@20/30,slow=10,loss=1,rtt=100,geomedian")
    assert row.links == [(20, 30), (20, 30), (2, 3)]
    assert (row.nodes, row.mb, row.loss, row.rtt_ms, row.method, row.kill) == (3, 25, 0.01, 100, "geomedian", False)
    assert row.at_half_the_rate().links == [(10, 15), (10, 15), (1, 1.5)]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("4x25", "write it as 4x25@200"),
        ("4x25@200,", "write it as"),
        ("1x25@200", "at least 2 sites"),
        ("4x0@200", "1 MB"),
        ("4x25@0", "not cut"),
        ("2x25@50,kill", "3 sites at least"),
        ("4x25@200,rtt=100", "at 30 Mbit/s a site at most"),
        ("4x25@30,rtt", "rtt is no property of a row, or lacks its number"),
        ("4x25@30,loss=100", "loss is"),
        ("4x25@30,kill=1", "kill is"),
        ("4x25@30,slow=0.5", "slow is"),
        ("4x25@30,fast=2", "fast is"),
        ("4x25@30,int4=1", "int4 is"),
        ("4x25@30,int4,kill", "mergers are killed only while"),
        ("4x25@30,float32/int8,kill", "mergers are killed only while"),
        ("4x25@30,mean/int8", "mean/int8 is no property"),
    ],
)
def test_what_is_no_row_is_refused_with_the_reason(name: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as refused:
        parse(name)
    assert name in str(refused.value)


@pytest.mark.parametrize(
    ("row", "seconds"),
    [
        ("4x25@200", 1.5),  # 2 · 3/4 · 25 MB at 25 MB/s
        ("8x25@200", 1.75),
        ("16x100@50", 30.0),
        ("2x25@50", 4.0),  # halves: S / R
        ("4x25@10/50", 30.0),  # the slower direction
        ("4x25@50,slow=10", 40.0),  # S / r
        ("4x25@50,slow=1.25", 120 / 19),  # the slow one merges less
        ("4x25@50,slow=2", 8.0),  # and nothing, as soon as its model alone takes as long
    ],
)
def test_the_limit_of_a_row(row: str, seconds: float) -> None:
    assert parse(row).limit_s == pytest.approx(seconds)


def test_no_share_of_the_model_is_faster_than_the_limit() -> None:
    """The formula beside a search over who merges how much, for unequal links."""
    links = [Link(10, 10), Link(20, 20), Link(40, 40)]
    size, steps = 10 * MB, 100

    def seconds(shares: tuple[int, int, int]) -> float:
        """(1 + (N - 2) w) · S / r of the slowest site."""
        each = zip(shares, links, strict=True)
        return max(float((1 + share / steps) * size / link.bytes_per_second) for share, link in each)

    best = min(seconds((a, b, steps - a - b)) for a in range(steps + 1) for b in range(steps + 1 - a))
    assert best == pytest.approx(limit_seconds(size, links), rel=0.01)
    assert best >= limit_seconds(size, links)


@pytest.mark.parametrize("sites", [2, 3, 4, 8])
@pytest.mark.parametrize("back", [1, 2, 5, 10, 20, 50, 100])
def test_no_share_is_faster_than_the_limit_where_results_have_other_sizes_than_models(sites: int, back: int) -> None:
    """The formula beside shares of 0 to 1 of one site that is slower than the others, which merge the rest alike."""
    size, steps = 10, 400
    for slower in (1, 2, 20):
        links = [Link(1, 1), *[Link(slower, slower)] * (sites - 1)]

        def seconds(share: float, rate: float) -> float:
            """What a site moves that merges this share: in the direction in which that is more."""
            sent = (1 - share) * size + (sites - 1) * share * back
            received = (sites - 1) * share * size + (1 - share) * back
            return max(sent, received) / rate

        rates = [link.bytes_per_second for link in links]
        best = min(
            max(seconds(step / steps, rates[0]), seconds((1 - step / steps) / (sites - 1), rates[1]))
            for step in range(steps + 1)
        )
        assert best >= limit_seconds(size, links, back) * (1 - 1e-9)
        if slower == 1:
            equal = max(seconds(1 / sites, rates[0]), seconds(1 / sites, rates[1]))
            assert equal == pytest.approx(limit_seconds(size, links, back))


def test_coded_values_travel_in_fewer_bytes() -> None:
    """64 values share a scale of two bytes."""
    assert [wire_bytes(64, each) for each in ("float32", "bfloat16", "int8", "int4")] == [
        64 * MB,
        32 * MB,
        16 * MB + 500_000,
        8 * MB + 500_000,
    ]


def test_one_merging_site_takes_and_gives_all_other_models() -> None:
    assert parse("4x25@200").star_limit_s == pytest.approx(6.0)
    assert parse("4x25@50,slow=10").star_limit_s == pytest.approx(240.0)
