"""A node's diary: bounded, and never more trouble than it explains."""

import logging
from pathlib import Path

import pytest

from swarmlearning.node import diary
from swarmlearning.node.diary import FILE, Diary
from swarmlearning.views.times import RoundTimes, Span


def record(number: int, run: int = 1, contract: str = "contract", spans: int = 1) -> RoundTimes:
    return RoundTimes(contract, run, number, 5, (Span("train", 0, 9),) * spans, ended=10)


def test_a_round_is_found_in_its_latest_run(tmp_path: Path) -> None:
    kept = Diary(tmp_path)
    for each in (record(1), record(12), record(1, run=2), record(1, run=2), record(1, contract="other")):
        kept.add(each)
    assert Diary(tmp_path).find("contract", 1) == (record(1, run=2), record(1, run=2))
    assert Diary(tmp_path).find("contract", 2) == ()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_a_diary_of_a_year_has_two_files_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diary, "HALF", 4000)
    kept = Diary(tmp_path)
    for number in range(500):
        kept.add(record(number))
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == [FILE, f"{FILE}.1"]
    assert all(path.stat().st_size < 4200 for path in files)
    assert kept.find("contract", 499) == (record(499),)
    assert kept.find("contract", 1) == ()


def test_a_line_half_written_and_a_full_disk_cost_no_more_than_their_records(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Diary(tmp_path)
    kept.add(record(1))
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"contract":"contract","run":1,"round":2,\n\xff"round":2\n')
    kept.add(record(2))
    assert kept.find("contract", 2) == (record(2),)
    broken = Diary(tmp_path / "missing")
    with caplog.at_level(logging.WARNING):
        broken.add(record(1))
        broken.add(record(2))
    assert len(caplog.records) == 1


def test_an_answer_has_room_for_what_is_found(tmp_path: Path) -> None:
    kept = Diary(tmp_path)
    for _ in range(20):
        kept.add(record(1, spans=512))
    found = kept.find("contract", 1)
    assert 1 <= len(found) <= 8
