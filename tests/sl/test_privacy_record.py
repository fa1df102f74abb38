"""The record of what was given: durable, shared, and never less than what was given."""

import multiprocessing
import os
from pathlib import Path

import pytest

from swarmlearning.privacy.record import Line, Record, RecordError


def line(number: int, noise: float = 1.0) -> Line:
    return Line("n" * 8, "contract", 1, number, "b" * 64, f"{number:064x}", 1.0, noise, 1)


def always(lines: tuple[Line, ...]) -> bool:
    return True


def test_lines_are_kept_in_order_and_read_by_the_next_process(tmp_path: Path) -> None:
    record = Record(tmp_path / "given")
    assert record.lines() == ()
    for number in range(3):
        added = record.add(line(number), always)
        assert added is not None
        assert added[-1] == line(number)
    assert Record(tmp_path / "given").lines() == tuple(map(line, range(3)))
    assert (tmp_path / "given").stat().st_mode & 0o777 == 0o600


def test_a_line_that_is_not_allowed_is_not_written(tmp_path: Path) -> None:
    record = Record(tmp_path / "given")
    record.add(line(0), always)
    assert record.add(line(1), lambda lines: len(lines) < 2) is None
    assert record.lines() == (line(0),)


@pytest.mark.parametrize("cut", [1, 5, 100])
def test_a_last_line_that_was_cut_off_counts_as_not_given_and_makes_room(tmp_path: Path, cut: int) -> None:
    record = Record(tmp_path / "given")
    record.add(line(0), always)
    whole = record.path.read_bytes()
    record.path.write_bytes(whole + whole[:-cut])
    assert record.lines() == (line(0),)
    record.add(line(1), always)
    assert record.lines() == (line(0), line(1))


@pytest.mark.parametrize("damage", [b"{}\n", b"\n", b"\x00" * 30 + b"\n", b'{"network": 1}\n'])
def test_any_other_line_that_cannot_be_read_lets_nothing_be_given(tmp_path: Path, damage: bytes) -> None:
    record = Record(tmp_path / "given")
    record.add(line(0), always)
    record.path.write_bytes(damage + record.path.read_bytes())
    with pytest.raises(RecordError, match=r"line 1 cannot be read .* restore the file from a backup"):
        record.add(line(1), always)


def test_a_record_that_cannot_be_written_lets_nothing_be_given(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    with pytest.raises(RecordError, match="cannot be used: Is a directory"):
        Record(tmp_path / "given").add(line(0), always)


def test_the_line_is_on_disk_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    real = os.fsync

    def sync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append(path.read_bytes() if path.is_file() else b"folder")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    record = Record(tmp_path / "given")
    record.add(line(0), always)
    assert synced == [record.path.read_bytes(), b"folder"]


def _spend(path: Path, first: int) -> None:
    for number in range(first, first + 20):
        Record(path).add(line(number), lambda lines: len(lines) <= 25)


def test_processes_that_share_a_record_share_its_budget(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    workers = [spawn.Process(target=_spend, args=(tmp_path / "given", first)) for first in (0, 100)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(Record(tmp_path / "given").lines()) == 25
