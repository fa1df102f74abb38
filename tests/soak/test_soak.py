"""What judges a soak, and a soak of a few seconds. `make soak SECONDS=3600` is the long form."""

import os
import re
import sys
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from soak.faults import LANES, SPARED, faults
from soak.outcome import Outcome
from soak.plots import plot, tick
from soak.verdict import BOUNDS, CEILINGS, MOST_POINTS, Bound, bound_of, judge, slope, thinned
from soak.watching import bytes_of
from support.processes import Processes
from support.tools import needs

HOUR = 3600
SECONDS = 5
LIMIT_SECONDS = 350.0


def points(value: float, a_second: float = 0.0, noise: float = 0.0) -> list[tuple[float, float]]:
    return [(at, value + a_second * at + noise * ((at * 7) % 11 - 5)) for at in range(0, HOUR, 10)]


@pytest.mark.parametrize("name", ["memory_mb", "descriptors", "disk_mb"])
def test_what_grows_by_a_third_in_an_hour_is_found(name: str) -> None:
    assert not judge(name, points(100, 40 / HOUR), BOUNDS[name]).flat


def test_what_only_fills_in_the_first_half_is_flat() -> None:
    filled = [(at, min(value, 70.0)) for at, value in points(50, 20 / (0.45 * HOUR))]
    assert judge("memory_mb", filled, BOUNDS["memory_mb"]).growth == 0


def test_single_peaks_and_noise_are_not_growth_and_a_fall_is_flat() -> None:
    peaks = [(at, value + 500 * (number % 17 == 0)) for number, (at, value) in enumerate(points(100, noise=1.5))]
    assert judge("memory_mb", peaks, BOUNDS["memory_mb"]).flat
    assert judge("memory_mb", points(100, -20 / HOUR), BOUNDS["memory_mb"]).flat


def test_the_disk_may_fill_up_to_its_bounds_and_no_further() -> None:
    assert judge("disk_mb SLs", points(100, 40 / HOUR), bound_of("disk_mb SLs")).flat
    most = CEILINGS["disk_mb SLs"]
    assert not judge("disk_mb SLs", points(most - 50, 80 / HOUR), bound_of("disk_mb SLs")).flat
    assert bound_of("memory_mb SL-1") == BOUNDS["memory_mb"]


def test_growth_is_that_over_the_time_judged() -> None:
    found = judge("memory_mb", points(100, 1 / 10), Bound(0.1, 0.0))
    assert found.growth == pytest.approx(0.1 * 0.5 * HOUR, rel=0.01)
    assert slope([(1.0, 5.0)]) == 0.0


def test_a_long_series_is_thinned_by_medians_without_losing_its_slope() -> None:
    many = [(float(at), 3.0 * at) for at in range(10_000)]
    assert len(thinned(many)) <= MOST_POINTS
    assert slope(thinned(many)) == pytest.approx(3.0)


def test_the_same_seed_gives_the_same_faults_and_each_node_of_a_lane_is_hit_before_any_is_hit_again() -> None:
    for lane, nodes in LANES.items():
        first, again = (list(islice(faults(lane, 7, 12.0), 30)) for _ in range(2))
        assert first == again
        assert first != list(islice(faults(lane, 8, 12.0), 30))
        for at in range(0, 30, len(nodes)):
            assert {fault.node for fault in first[at : at + len(nodes)]} == set(nodes)
        assert not {fault.node for fault in first} & set(SPARED)
        assert all(fault.kind != "damage" for fault in first if fault.node.startswith("SN"))


def test_a_plot_is_well_formed_and_the_same_each_time() -> None:
    svg = plot("Memory <of> all", "MB", {"SN & etcd": points(100), "none": []})
    assert svg == plot("Memory <of> all", "MB", {"SN & etcd": points(100), "none": []})
    lines = ElementTree.fromstring(svg).findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 2
    assert len(lines[0].attrib["points"].split()) == len(points(100))


@pytest.mark.parametrize("most", [0.013, 1.0, 4.0, 9.9, 77.0, 1234.0])
def test_an_axis_has_one_to_five_lines(most: float) -> None:
    assert 1 <= most / tick(most) <= 5


def test_a_file_with_two_names_counts_once_and_chains_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(bytes(40_960))
    os.link(tmp_path / "model", tmp_path / "result")
    once = bytes_of(tmp_path)
    (tmp_path / "chain.sqlite").write_bytes(bytes(40_960))
    assert bytes_of(tmp_path, ("chain.sqlite",)) == once
    assert bytes_of(tmp_path) == 2 * once


@needs("etcd")
def test_a_swarm_of_eight_survives_a_few_seconds_of_faults_and_shows_its_series(
    processes: Processes, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("--seconds", str(SECONDS), "--seed", "3", "--pace", "0.2", "--rest", "0.5", "--out", str(out))
    soak = processes.start(
        "soak", sys.executable, "-m", "soak", *words, environment={"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert soak.wait(LIMIT_SECONDS) == 0, soak.output
    assert re.search(r"held; too short to judge growth", soak.output), soak.output
    found = msgspec.json.decode((out / "soak.json").read_bytes(), type=Outcome)
    assert found.struck
    assert found.rounds > 3
    assert found.growth.a_round is not None
    assert found.growth.a_round > 1000
    judged = {each.series for each in found.judgements}
    assert {"memory_mb SN-1", "descriptors SL-8", "disk_mb SLs", "round_s"} <= judged
    assert len(list(out.glob("*.svg"))) == 6
