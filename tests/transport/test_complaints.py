"""The log lines that strangers can cause are bounded."""

import logging

import pytest

from swarmlearning.transport.complaints import Complaints


def test_a_network_is_warned_of_at_most_once_in_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    complaints = Complaints(logging.getLogger("test"), lambda: now)
    for now in (0.0, 1.0, 9.9, 10.1, 12.0):
        complaints.warn("10.0.0.1", "refused at %g", now)
        complaints.warn("10.0.0.2", "other at %g", now)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["refused at 0", "other at 0", "refused at 10.1", "other at 10.1"]
