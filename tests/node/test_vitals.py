"""What a node says of its machine: measured, given in its heartbeats, and read by SNs whatever else is sent."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import pytest

from swarmlearning import __version__
from swarmlearning.identity.certificates import expires_ms
from swarmlearning.identity.identity import Identity
from swarmlearning.node import vitals as module
from swarmlearning.node.clocks import COMPARED, Offset, Offsets
from swarmlearning.node.vitals import Gauge, measured, memory
from swarmlearning.ordering.etcd import presence
from swarmlearning.views.vitals import Vitals, read_vitals

Identities = dict[str, Identity]
MACHINE = "MemTotal:       1000 kB\nMemFree:        10 kB\nMemAvailable:   600 kB\n"


def test_a_measurement_has_the_disk_of_the_directory_memory_certificate_and_version(
    tmp_path: Path, identities: Identities
) -> None:
    identity = identities["SL-1"]
    found = measured(tmp_path, identity)
    assert found.disk_free is not None
    assert found.disk_total is not None
    assert 0 < found.disk_free < found.disk_total
    assert found.memory_free is not None
    assert (found.expires_ms, found.version) == (expires_ms(identity.chain), __version__)
    assert measured(tmp_path / "gone", identity).disk_free is None


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        ("0::/a/b", {}, (600 * 1024, 1000 * 1024)),
        ("0::/a/b", {"a/b": ("max", 5, 0)}, (600 * 1024, 1000 * 1024)),
        ("0::/a/b", {"a": (4000, 3000, 500), "a/b": ("max", 5, 0)}, (1500, 4000)),
        ("0::/a/b", {"a": (4000, 3000, 500), "a/b": (900, 1000, 0)}, (0, 900)),
        ("0::/", {"": (2000, 500, 0)}, (1500, 2000)),
        ("0::/../../etc", {}, (600 * 1024, 1000 * 1024)),
        ("4:memory:/a", {"a": (4000, 3000, 500)}, (600 * 1024, 1000 * 1024)),
    ],
)
def test_memory_is_what_the_machine_and_all_control_groups_leave(
    tmp_path: Path, group: str, files: dict[str, tuple[int | str, int, int]], expected: tuple[int, int]
) -> None:
    groups, system, own = tmp_path / "groups", tmp_path / "meminfo", tmp_path / "cgroup"
    system.write_text(MACHINE)
    own.write_text(f"1:name=systemd:/x\n{group}\n")
    for name, (limit, used, cached) in files.items():
        (groups / name).mkdir(parents=True, exist_ok=True)
        (groups / name / "memory.max").write_text(f"{limit}\n")
        (groups / name / "memory.current").write_text(f"{used}\n")
        (groups / name / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\n")
    assert memory(system, own, groups) == expected


def test_memory_is_not_known_where_the_system_does_not_say(tmp_path: Path) -> None:
    assert memory(tmp_path / "no", tmp_path / "no", tmp_path) == (None, None)


async def test_a_gauge_gives_the_newest_measurement_with_the_clock_until_it_is_old(
    tmp_path: Path, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    gauge = Gauge(tmp_path, lambda: identities["SL-1"])
    assert gauge.latest() is None
    done, measure = asyncio.Event(), measured
    loop = asyncio.get_running_loop()

    def measuring(directory: Path, identity: Identity) -> Vitals:
        loop.call_soon_threadsafe(loop.call_soon, done.set)
        return measure(directory, identity)

    monkeypatch.setattr(module, "measured", measuring)
    monkeypatch.setattr(module, "MEASURE_SECONDS", 0.01)
    running = asyncio.create_task(gauge.run())
    while gauge.latest() is None:
        done.clear()
        await done.wait()
    shown = gauge.latest(Offset(-70, 4))
    assert shown is not None
    assert (shown.clock_ms, shown.clock_error_ms, shown.version) == (-70, 4, __version__)
    running.cancel()
    now = monotonic() + module.OLD_SECONDS
    monkeypatch.setattr(module, "monotonic", lambda: now)
    assert gauge.latest() is None


async def test_a_gauge_of_a_site_that_withholds_measures_nothing(tmp_path: Path, identities: Identities) -> None:
    gauge = Gauge(tmp_path, lambda: identities["SL-1"], given=False)
    await gauge.run()
    assert gauge.latest(Offset(0, 0)) is None


def test_of_an_sn_s_answers_the_one_with_the_shortest_round_trip_tells_the_time() -> None:
    offsets = Offsets()
    assert offsets.best is None
    offsets.add("sn-1", shown_ms=1_000, sent_ms=1_500, seconds=0.4)
    assert offsets.best == Offset(700, 200)
    offsets.add("sn-1", shown_ms=2_000, sent_ms=2_500, seconds=0.004)
    offsets.add("sn-1", shown_ms=3_000, sent_ms=3_900, seconds=0.4)
    assert offsets.best == Offset(502, 2)
    for _ in range(COMPARED):  # the clock has been set meanwhile
        offsets.add("sn-1", shown_ms=9_000, sent_ms=9_000, seconds=0.01)
    assert offsets.best == Offset(5, 5)
    offsets.add("sn-2", shown_ms=9_000, sent_ms=10_000, seconds=1.0)
    assert offsets.best == Offset(1_500, 500)


@pytest.mark.parametrize(
    "sent",
    [
        None,
        [],
        "x",
        {"disk_free": -1},
        {"disk_free": 2**53},
        {"disk_free": "many"},
        {"clock_ms": 10**30},
        {"version": "1" * 65},
    ],
)
def test_what_are_no_vitals_counts_as_none(sent: Any) -> None:
    assert read_vitals(sent) is None


def test_vitals_of_another_release_are_read_as_far_as_they_are_known() -> None:
    assert read_vitals({"disk_free": 3, "gpu": {"free": 4}}) == Vitals(disk_free=3)
    assert read_vitals({}) == Vitals()
    everything = Vitals(1, 2, 3, 4, -5, 6, 7, "8")
    assert read_vitals(msgspec.json.decode(msgspec.json.encode(everything))) == everything
    assert set(asdict(everything)) == set(msgspec.to_builtins(everything))


def test_leases_on_etcd_are_read_across_releases() -> None:
    """SNs of this and of the earlier release read and write the same key during an upgrade."""
    earlier = b'{"incarnation":1,"steps":2,"moved":3,"training":null,"ahead_ms":4,"same_user":true}'
    held = msgspec.json.decode(earlier, type=presence._Held)
    assert msgspec.structs.astuple(held) == (1, 2, 3, None, 4, True, None)

    class Earlier(msgspec.Struct, frozen=True):
        incarnation: int
        steps: int
        moved: int

    newer = msgspec.json.encode(msgspec.structs.replace(held, vitals=Vitals(disk_free=5)))
    assert msgspec.json.decode(newer, type=Earlier) == Earlier(1, 2, 3)
