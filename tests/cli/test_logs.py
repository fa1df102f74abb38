"""What the options of `swarm logs` ask for."""

from datetime import datetime

import pytest

from swarmlearning.cli.logs import wanted_by
from swarmlearning.cli.since import since_of
from swarmlearning.errors import UserError
from swarmlearning.node.sealing import Wanted


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("30s", 970_000),
        ("10m", 400_000),
        ("1h", 0),
        ("1970-01-01T00:10:00.5Z", 600_500),
        ("1970-01-01T01:10+01:00", 600_000),
        ("2026-11-29 12:30", round(datetime(2026, 11, 29, 12, 30).timestamp() * 1000)),
    ],
)
def test_a_time_is_stated_as_people_write_it(text: str, found: int) -> None:
    assert since_of(text, 1000.0) == found


@pytest.mark.parametrize("text", ["soon", "10", "-5m", "99999999d", "2026-13-01", ""])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="write a time such as"):
        since_of(text, 1000.0)


def test_a_pair_is_one_of_a_taskrunner_s_task() -> None:
    assert wanted_by("", None, None, 5, "") == Wanted(lines=5)
    assert wanted_by("r", None, None, 5, "") == Wanted(lines=5)
    assert wanted_by("r", 0, None, 5, "") == Wanted("SL", "r", 0, lines=5)
    assert wanted_by("r", None, 2, 5, "1970-01-01T00:10Z") == Wanted("ML", "r", 2, since_ms=600_000, lines=5)
    for taskrunner, sl, ml in (("", 0, None), ("", None, 1), ("r", 0, 1)):
        with pytest.raises(UserError, match="--sl or --ml, one of both"):
            wanted_by(taskrunner, sl, ml, 5, "")
