"""Limits as a control group gets them, in a folder that stands for a delegated subtree."""

from pathlib import Path

import pytest

from swarmlearning.swop.managing import Limits, ManagerError
from swarmlearning.swop.process.limits import ControlGroups


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.procs").write_text("")
    return tmp_path


def test_a_pair_with_limits_gets_a_group(base: Path) -> None:
    limits = Limits(seconds=9.0, cpus=1.5, memory_bytes=2**30, processes=64)
    group = ControlGroups(base).make("pair", limits)
    assert group == base / "pair"
    written = {path.name: path.read_text() for path in group.iterdir()}
    assert written == {
        "memory.max": str(2**30),
        "memory.swap.max": "0",
        "cpu.max": "150000 100000",
        "pids.max": "64",
    }
    assert (base / "cgroup.subtree_control").read_text() == "+memory +cpu +pids"
    assert (base / "swop").is_dir()


def test_a_pair_without_limits_needs_no_group(base: Path) -> None:
    assert ControlGroups(base).make("pair", Limits(seconds=9.0)) is None
    assert ControlGroups(None).make("pair", Limits(seconds=9.0)) is None
    assert not (base / "swop").exists()


def test_without_a_subtree_limits_are_refused_by_name() -> None:
    with pytest.raises(ManagerError, match=r"limits memory_bytes of a pair.*Delegate=yes") as caught:
        ControlGroups(None).make("pair", Limits(memory_bytes=1))
    assert caught.value.reason == "unsupported"


def test_a_group_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManagerError, match="absent"):
        ControlGroups(tmp_path / "absent").make("pair", Limits(processes=1))
