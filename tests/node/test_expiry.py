"""Warnings before certificates expire, in virtual time."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.virtual_time import run_in_virtual_time
from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.workspace import Workspace
from swarmlearning.node.expiry import DAY, HOUR, urgency, watched


def identity(folder: Path, days: int, authority_days: int = 3000) -> Identity:
    workspace = Workspace(folder)
    authority = create_authority("CA-1", authority_days)
    workspace.save_authority("CA-1", authority)
    workspace.save_node("SL-1", issue(authority, "SL-1", [], ["127.0.0.1"], days, datetime.now(UTC)))
    return workspace.identity("SL-1")


def warnings(own: Identity, running: timedelta) -> list[tuple[float, str]]:
    """(seconds since the start, text) of all warnings in the log of a node that runs so long."""
    begin = datetime.now(UTC).timestamp()
    found: list[tuple[float, str]] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()

        class Noting(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                found.append((loop.time(), record.getMessage()))

        logging.getLogger("swarm.identity").addHandler(noting := Noting())
        try:
            await watched(own, asyncio.sleep(running.total_seconds()), lambda: begin + loop.time())
        finally:
            logging.getLogger("swarm.identity").removeHandler(noting)

    run_in_virtual_time(run())
    return found


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (31 * DAY, 0), (30 * DAY + 1, 0), (30 * DAY, 1), (7 * DAY + 1, 1), (7 * DAY, 2), (DAY + 1, 2), (DAY, 3),
        (DAY - HOUR + 1, 3), (DAY - HOUR, 4), (HOUR, 26), (1, 26), (0, 27), (-HOUR, 28), (-9 * DAY, 243),
    ],
)  # fmt: skip
def test_an_expiry_warning_is_due_30_and_7_days_ahead_and_every_hour_of_the_last_day(
    left: float, expected: int
) -> None:
    assert urgency(left) == expected


def test_a_node_does_not_warn_of_a_certificate_that_is_valid_for_long(tmp_path: Path) -> None:
    assert warnings(identity(tmp_path, 365), timedelta(days=300)) == []


def test_a_long_running_node_warns_30_and_7_days_ahead_and_then_every_hour_of_the_last_day(
    tmp_path: Path,
) -> None:
    found = warnings(identity(tmp_path, 100), timedelta(days=100, minutes=30))
    days = [seconds / DAY for seconds, _ in found]
    assert days[:2] == pytest.approx([70, 93], abs=0.1)
    assert days[2:] == pytest.approx([99 + hour / 24 for hour in range(25)], abs=0.1)
    assert "'CN=SL-1,OU=Swarm-Learning' in" in found[0][1]
    assert "expires in 29 days (" in found[0][1]
    assert "have it renewed, and restart this node with the new one" in found[0][1]
    assert "expires in 6 days (" in found[1][1]
    assert "expires in 23 hours (" in found[2][1]
    assert "has expired (" in found[-1][1]


def test_a_node_warns_once_at_its_start_of_an_expiry_that_is_near(tmp_path: Path) -> None:
    found = warnings(identity(tmp_path, 20), timedelta(days=10))
    assert [seconds for seconds, _ in found] == [0]


def test_a_node_warns_of_a_ca_that_expires(tmp_path: Path) -> None:
    found = warnings(identity(tmp_path, 3, authority_days=3), timedelta(hours=1))
    assert len(found) == 2
    assert found[1][1].startswith("The CA certificate 'CN=CA-1,OU=Swarm-Learning' expires in 2 days (")


@pytest.mark.parametrize(
    ("mode", "warned"), [(0o600, False), (0o400, False), (0o640, False), (0o644, True), (0o660, True)]
)
def test_a_private_key_that_others_can_use_is_warned_of_at_start(tmp_path: Path, mode: int, warned: bool) -> None:
    own = identity(tmp_path, 365)
    own.key_path.chmod(mode)
    found = warnings(own, timedelta(hours=1))
    text = f"{own.key_path} can be used by other users of this machine (mode {mode:o})"
    assert [text in warning for _, warning in found] == [True] * warned


def test_the_node_s_own_failure_is_raised_and_ends_the_watch_for_expiries(tmp_path: Path) -> None:
    async def fails() -> None:
        raise ValueError("the node's")

    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="the node's")):
        run_in_virtual_time(watched(identity(tmp_path, 365), fails()))
