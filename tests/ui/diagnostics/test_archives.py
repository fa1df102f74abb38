"""Archives of logs that the UI keeps: few, by names of their own, whole or not at all; what an examination shows."""

import os
from pathlib import Path

import pytest

from swarmlearning.collect.archive import Archive
from swarmlearning.doctor.findings import Way
from swarmlearning.errors import UserError
from swarmlearning.ui.diagnostics import archives as bounds
from swarmlearning.ui.diagnostics.archives import Archives
from swarmlearning.ui.pages.diagnostics import MatrixRow, matrix


def make(archives: Archives, what: str = "net", size: int = 10, made: int = 0) -> str:
    """An archive, and its name."""
    path = archives.new(what)
    with Archive(path, "root") as archive:
        archive.add("x", os.urandom(size))
    os.utime(path, (made, made))
    return path.name


def test_an_archive_has_the_name_that_people_know_and_nothing_else_is_one(tmp_path: Path) -> None:
    archives = Archives(tmp_path / "diagnostics")
    assert archives.all() == []
    name = make(archives, "../ <b>net\u202e")
    assert name.startswith("Swarm_Diag_b-net-_")
    assert [each.name for each in archives.all()] == [name]
    assert (tmp_path / "diagnostics").stat().st_mode & 0o077 == 0
    (tmp_path / "diagnostics" / "Swarm_Diag_link_1.tar.gz").symlink_to("/etc/passwd")
    (tmp_path / "diagnostics" / "other.tar.gz").touch()
    for other in ("../ui.sqlite", "other.tar.gz", "Swarm_Diag_link_1.tar.gz", "Swarm_Diag_x/../y_1.tar.gz", ""):
        assert archives.path(other) is None
        archives.remove(other)
    assert (tmp_path / "diagnostics" / "other.tar.gz").exists()
    archives.remove(name)
    assert archives.all() == []


def test_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archives = Archives(tmp_path)
    names = [make(archives, f"net-{number}", made=1000 + number) for number in range(4)]
    monkeypatch.setattr(bounds, "MOST", 3)
    assert archives.bound() == [names[0]]
    size = archives.all()[0].size
    monkeypatch.setattr(bounds, "MOST_BYTES", 2 * size + size // 2)
    assert archives.bound() == [names[1]]
    monkeypatch.setattr(bounds, "MOST_BYTES", 1)
    assert archives.bound() == [names[2]]
    assert [each.name for each in archives.all()] == [names[3]]


def test_what_a_killed_ui_has_begun_is_removed_before_the_next(tmp_path: Path) -> None:
    archives = Archives(tmp_path)
    (tmp_path / ".Swarm_Diag_net_1.tar.gz.x7f").write_bytes(b"half")
    make(archives)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        Archives(tmp_path / "file" / "diagnostics").new("net")


def test_the_matrix_has_the_worst_that_came_of_each_pair() -> None:
    ways = [
        Way("SL-1", "SN-1", "api", "ok"),
        Way("SL-1", "SL-2", "fs", "silent"),
        Way("SL-1", "SL-2", "api", "ok"),
        Way("this machine", "SN-1", "api", "ok"),
    ]
    found = matrix(ways)
    assert found.targets == ["SL-2", "SN-1"]
    assert found.rows == [MatrixRow("SL-1", ["silent", "ok"]), MatrixRow("this machine", ["", "ok"])]
    assert matrix(()).rows == []
