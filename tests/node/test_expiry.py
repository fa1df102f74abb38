"""Warnings before certificates expire, in virtual time."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from support.agent import TrustDomain
from support.virtual_time import run_in_virtual_time
from swarmlearning.identity.ca import KeyPair, create_authority, issue
from swarmlearning.identity.certificates import to_pem
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.source import Latest
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.bodies import Anchor, NewOrganisation
from swarmlearning.ledger.contracts.network.members import founding
from swarmlearning.node.expiry import DAY, HOUR, urgency, warn_of_authorities, warn_of_own, while_working


def identity(folder: Path, days: int, authority_days: int = 3000) -> Identity:
    workspace = Workspace(folder)
    authority = create_authority("CA-1", authority_days)
    workspace.save_authority("CA-1", authority)
    workspace.save_node("SL-1", issue(authority, "SL-1", [], ["127.0.0.1"], days, datetime.now(UTC)))
    return workspace.identity("SL-1")


def warnings(own: Identity, running: timedelta) -> list[tuple[float, str]]:
    """(seconds since the start, text) of all warnings in the log of a node that runs so long."""
    return noted(lambda now: while_working(asyncio.sleep(running.total_seconds()), warn_of_own(Latest(own), now)))


def noted(work: Callable[[Callable[[], float]], Coroutine[Any, Any, object]]) -> list[tuple[float, str]]:
    """(seconds since the start, text) of all warnings in the log during this work, which is given a clock."""
    begin = datetime.now(UTC).timestamp()
    found: list[tuple[float, str]] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()

        class Noting(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                found.append((loop.time(), record.getMessage()))

        logging.getLogger("swarm.identity").addHandler(noting := Noting())
        try:
            await work(lambda: begin + loop.time())
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


def test_an_agent_is_missed_when_it_has_not_renewed_what_should_be_renewed_in_the_middle_of_its_life() -> None:
    domain, life = TrustDomain("org1.example"), timedelta(minutes=55)  # it began five minutes ago
    pair = domain.issue("sl", life)
    found = warnings(domain.identity(pair), timedelta(hours=9))
    assert [round(seconds / 60) for seconds, _ in found] == [35, 55]
    assert (
        "The certificate of spiffe://org1.example/sl from the SPIFFE agent at /run/agent.sock expires in" in found[0][1]
    )
    assert "has expired" in found[1][1]


def test_a_long_running_node_warns_30_and_7_days_ahead_and_then_every_hour_of_the_last_day(
    tmp_path: Path,
) -> None:
    found = warnings(identity(tmp_path, 100), timedelta(days=100, minutes=30))
    days = [seconds / DAY for seconds, _ in found]
    assert days[:2] == pytest.approx([70, 93], abs=0.1)
    assert days[2:] == pytest.approx([99 + hour / 24 for hour in range(25)], abs=0.1)
    assert "'CN=SL-1,OU=Swarm-Learning' in" in found[0][1]
    assert "expires in 29 days (" in found[0][1]
    assert "have it renewed, and put the new one in its place; this node uses it at once" in found[0][1]
    assert "expires in 6 days (" in found[1][1]
    assert "expires in 23 hours (" in found[2][1]
    assert "has expired (" in found[-1][1]


def test_a_node_warns_once_at_its_start_of_an_expiry_that_is_near(tmp_path: Path) -> None:
    found = warnings(identity(tmp_path, 20), timedelta(days=10))
    assert [seconds for seconds, _ in found] == [0]


def of_authorities(days: int, *further: KeyPair) -> list[tuple[float, str]]:
    """The warnings of so many days, where the only organisation has an authority for 100 days, and further ones."""
    authorities = (create_authority("CA-1", 100), *further)
    founder = NewOrganisation("hospital-a", "A", tuple(Anchor(to_pem(each.certificate)) for each in authorities))
    world = founding((founder,))

    async def run(now: Callable[[], float]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(days * DAY):
                await warn_of_authorities(lambda: world, now)

    return noted(run)


def test_a_node_warns_60_days_ahead_of_the_end_of_an_organisation_s_only_authority() -> None:
    found = of_authorities(99)
    assert [seconds / DAY for seconds, _ in found][:3] == pytest.approx([40, 70, 93], abs=0.1)
    holder = "The certificate of CN=CA-1,OU=Swarm-Learning, the last authority of organisation hospital-a, expires"
    assert found[0][1].startswith(f"{holder} in 59 days, ")
    assert found[0][1].endswith("add its successor before then: swarm trust add CA-FILE --organisation hospital-a")


def test_a_node_warns_30_days_ahead_of_the_end_of_an_authority_that_has_a_successor() -> None:
    found = of_authorities(99, create_authority("CA-2", 3000))
    assert [seconds / DAY for seconds, _ in found][:2] == pytest.approx([70, 93], abs=0.1)
    assert "CN=CA-1,OU=Swarm-Learning, an authority of organisation hospital-a, expires in 29 days" in found[0][1]
    assert {text.split(",")[0] for _, text in found} == {"The certificate of CN=CA-1"}


def test_a_node_warns_of_an_authority_that_has_expired() -> None:
    found = of_authorities(101)
    assert "has expired, " in found[-1][1]
    assert "none of its nodes can take part; the others name its successor: swarm trust add" in found[-1][1]


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
        run_in_virtual_time(while_working(fails(), warn_of_own(Latest(identity(tmp_path, 365)))))
