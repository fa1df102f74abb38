"""Heartbeats: a thread of their own, which ends when the node was started again elsewhere."""

import asyncio
import itertools
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from support.local_sn import member, running_sn
from support.ports import fixed_port
from support.scripted_sn import Answer, scripted_sn
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.chain import Chain
from swarmlearning.node import heartbeat as module
from swarmlearning.node.clocks import Offset, clock_ms
from swarmlearning.node.heartbeat import Heartbeat, Progress
from swarmlearning.views.training import TrainingProgress
from swarmlearning.views.vitals import Vitals

Identities = dict[str, Identity]


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """One beat soon after the other; and an SN has all the time that it needs to answer on a busy machine."""
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 0.01)
    monkeypatch.setattr(module, "ANSWER_SECONDS", 60.0)


class Superseded:
    """Waits for what the heartbeat's thread reports."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.reason: asyncio.Future[str] = self._loop.create_future()

    def __call__(self, why: str) -> None:
        self._loop.call_soon_threadsafe(self.reason.set_result, why)


def nothing(why: str) -> None:
    raise AssertionError(why)


async def stopped(heart: Heartbeat) -> None:
    """Stops it; an answer on its way to it can still come."""
    await asyncio.to_thread(heart.stop)
    await asyncio.to_thread(heart._thread.join, 60)
    assert not heart._thread.is_alive()


@asynccontextmanager
async def beating(
    identity: Identity,
    address: str,
    progress: Progress = lambda: (0, 0, None),
    on_superseded: Callable[[str], None] = nothing,
    others: Sequence[str] = (),
    chain: Callable[[], Chain] = Chain,
) -> AsyncIterator[threading.Thread]:
    """The first start of `sl-1` at work; its thread."""
    heart = Heartbeat(client_context(identity), "sl-1", 1, progress, on_superseded, chain)
    heart.start(lambda: [address, *others])
    try:
        yield heart._thread
    finally:
        await stopped(heart)


class Beats:
    """A script for an SN: it takes every heartbeat; `enough` is set after some."""

    def __init__(self, count: int) -> None:
        self.received: list[dict[str, Any]] = []
        self.enough = asyncio.Event()
        self._count = count

    def __call__(self, raw: str) -> Answer:
        self.received.append(json.loads(raw))
        if len(self.received) == self._count:
            self.enough.set()
        return 200, {}


async def test_the_heartbeat_ends_and_reports_why_when_a_newer_start_has_registered(
    tmp_path: Path, identities: Identities
) -> None:
    superseded, identity = Superseded(), identities["SL-1"]
    async with running_sn(tmp_path, identities["SN-1"]) as sn, member(sn["api"], identity) as sl:
        await sl.register()
        async with beating(identity, sn["api"], on_superseded=superseded, chain=lambda: sl.chain) as thread:
            async with member(sn["api"], identity, incarnation=2) as again:
                await again.register()
            await sl.catch_up()
            reason = await superseded.reason
            await asyncio.to_thread(thread.join, 60)
            assert not thread.is_alive()
    assert "was started again and now runs as incarnation 2; incarnation 1 must stop" in reason


async def test_a_heartbeat_states_the_progress_at_its_moment(identities: Identities) -> None:
    beats, steps, training = Beats(3), itertools.count(), TrainingProgress(2, 10, 61.5, None, 9.0)
    async with (
        scripted_sn(identities["SN-1"], [], answers=[beats] * 1000) as sn,
        beating(identities["SL-1"], sn.address, lambda: (next(steps), 7, training)),
    ):
        await beats.enough.wait()
    times = [beat.pop("time_ms") for beat in beats.received]
    assert all(abs(time_ms - clock_ms()) < 3_600_000 for time_ms in times)
    assert beats.received[:3] == [
        {"incarnation": 1, "steps": step, "moved": 7, "training": asdict(training)} for step in range(3)
    ]


async def test_a_heartbeat_has_what_the_node_says_of_its_machine_and_an_sn_that_states_no_time_is_no_fault(
    identities: Identities,
) -> None:
    beats, compared = Beats(3), list[Offset | None]()

    def vitals(clock: Offset | None) -> Vitals | None:
        compared.append(clock)
        return Vitals(disk_free=len(compared)) if len(compared) > 1 else None

    async with scripted_sn(identities["SN-1"], [], answers=[beats] * 1000) as sn:
        heart = Heartbeat(client_context(identities["SL-1"]), "sl-1", 1, lambda: (0, 0, None), nothing, vitals=vitals)
        heart.start(lambda: [sn.address])
        await beats.enough.wait()
        await stopped(heart)
    assert [(beat.get("vitals") or {}).get("disk_free") for beat in beats.received[:3]] == [None, 2, 3]
    assert compared[:3] == [None, None, None]


async def test_a_node_compares_its_clock_with_that_of_its_sn(tmp_path: Path, identities: Identities) -> None:
    loop, told, offsets = asyncio.get_running_loop(), asyncio.Event(), list[Offset]()

    def vitals(clock: Offset | None) -> None:
        if clock is not None:
            offsets.append(clock)
            loop.call_soon_threadsafe(told.set)

    identity = identities["SL-1"]
    async with running_sn(tmp_path, identities["SN-1"]) as sn, member(sn["api"], identity) as sl:
        await sl.register()
        heart = Heartbeat(client_context(identity), "sl-1", 1, lambda: (0, 0, None), nothing, vitals=vitals)
        heart.start(lambda: [sn["api"]])
        await told.wait()
        await stopped(heart)
    assert abs(offsets[0].ahead_ms) <= offsets[0].error_ms + 2  # both clocks are this machine's


async def test_the_heartbeat_goes_on_when_an_sn_returns(identities: Identities) -> None:
    port = fixed_port()
    async with beating(identities["SL-1"], f"127.0.0.1:{port}"):
        for _ in range(2):
            beats = Beats(2)
            async with scripted_sn(identities["SN-1"], [], port, answers=[beats] * 1000):
                await beats.enough.wait()


async def test_other_refusals_are_logged_and_do_not_end_the_heartbeat(
    identities: Identities, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(raw: str) -> Answer:
        return 403, {"code": "unknown-node", "detail": "who?", "height": 3}

    beats = Beats(1)
    async with scripted_sn(identities["SN-1"], [], answers=[refuse, *[beats] * 1000]) as sn:
        with caplog.at_level(logging.WARNING):
            async with beating(identities["SL-1"], sn.address):
                await beats.enough.wait()
    assert f"heartbeat refused by SN {sn.address}: who? (unknown-node)" in caplog.text


@pytest.mark.parametrize("code", ["unknown-node", "old-incarnation", "unknown-incarnation", "unavailable", "x"])
async def test_a_heartbeat_that_one_sn_refuses_goes_to_the_next(identities: Identities, code: str) -> None:
    """A refusal may be false, and the lease runs out; that a newer start has registered shows the chain alone."""

    def refuse(raw: str) -> Answer:
        return 409, {"code": code, "detail": "so it claims", "height": 3}

    beats = Beats(3)
    async with (
        scripted_sn(identities["SN-1"], [], answers=[refuse] * 1000) as liar,
        scripted_sn(identities["SN-1"], [], answers=[beats] * 1000) as honest,
        beating(identities["SL-1"], liar.address, others=[honest.address]),
    ):
        await beats.enough.wait()
    assert len(liar.received) >= 3


async def test_the_heartbeat_stops_at_once_while_none_of_many_sns_answers(identities: Identities) -> None:
    tried = threading.Event()

    def progress() -> tuple[int, int, None]:
        tried.set()
        return 0, 0, None

    heart = Heartbeat(client_context(identities["SL-1"]), "sl-1", 1, progress, nothing)
    heart.start(lambda: [f"127.0.0.1:{fixed_port()}"] * 10**6)
    await asyncio.to_thread(tried.wait, 60)
    heart.stop()
    assert not heart._thread.is_alive()


async def test_an_outage_is_known_with_its_beginning_and_reason_until_an_sn_answers(identities: Identities) -> None:
    port, calls, loop = fixed_port(), itertools.count(1), asyncio.get_running_loop()
    beaten = [asyncio.Event(), asyncio.Event()]

    def progress() -> tuple[int, int, None]:
        if (number := next(calls)) in (3, 6):
            loop.call_soon_threadsafe(beaten[number // 3 - 1].set)
        return 0, 0, None

    heart = Heartbeat(client_context(identities["SL-1"]), "sl-1", 1, progress, nothing)
    heart.start(lambda: [f"127.0.0.1:{port}"])
    await beaten[0].wait()
    first = heart.outage
    await beaten[1].wait()
    assert first is not None
    assert str(port) in first[1]
    assert heart.outage is not None
    assert heart.outage[0] == first[0]
    beats = Beats(2)
    async with scripted_sn(identities["SN-1"], [], port, answers=[beats] * 1000):
        await beats.enough.wait()
        assert heart.outage is None
        await stopped(heart)
