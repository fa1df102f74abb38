"""What a node in the background prints is kept in files of bounded size."""

import os
from pathlib import Path

import pytest

from swarmscripts import keeping


def test_the_newest_output_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MOST", 8000)
    log = tmp_path / "log"
    for start in range(10):  # of a node that is started again and again
        reader, writer = os.pipe()
        for number in range(100):
            os.write(writer, f"start {start}, line {number:3} of a node that prints a lot\n".encode())
        os.close(writer)
        keeping.keep(reader, log)
        os.close(reader)
    kept = (tmp_path / "log.1").read_text() + log.read_text()
    assert kept.endswith("start 9, line  99 of a node that prints a lot\n")
    assert max(path.stat().st_size for path in tmp_path.iterdir()) <= keeping.MOST
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]
