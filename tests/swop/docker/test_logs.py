"""Copies of what containers write: complete, apart by part, and bounded."""

import pytest

from support.tools import needs
from swarmlearning.swop.docker import logs
from swarmlearning.swop.managing import PairState
from swop.docker.stand import ATTEMPT, Stand

pytestmark = needs("podman")


async def test_a_long_output_is_kept_in_two_files_the_newest_part_of_it(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MOST", 10_000)
    await stand.start("seq 1 9000; sleep 1; echo error >&2")  # an engine reads two pipes, in any order
    await stand.manager.changed(ATTEMPT, 0, PairState(None, None))
    await stand.manager.stop(ATTEMPT, 0)
    newest = stand.manager.logs(ATTEMPT, 0).ml
    older = newest.with_name("ml.log.1")
    assert newest.stat().st_size <= 10_000
    assert older.stat().st_size <= 10_000
    text = older.read_text() + newest.read_text()
    assert text.endswith("8999\n9000\nerror\n")
    assert "error" not in stand.output("sl")


async def test_the_logs_of_the_oldest_attempts_are_removed(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarmlearning.swop.docker.manager.KEPT_LOGS", 2)
    attempts = [ATTEMPT._replace(attempt=number) for number in range(1, 4)]
    for attempt in attempts:
        await stand.start("exit 0", attempt=attempt)
        await stand.manager.stop(attempt, 0)
    assert [stand.manager.logs(attempt, 0).ml.exists() for attempt in attempts] == [False, True, True]
