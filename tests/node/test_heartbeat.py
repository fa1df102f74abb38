"""Heartbeats: a thread of their own, which ends when the node was started again elsewhere."""

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from support.local_sn import member, running_sn
from support.scripted_sn import Answer, scripted_sn
from support.swarm import fixed_port
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.node import heartbeat as module
from swarmlearning.node.heartbeat import Heartbeat

Identities = dict[str, Identity]


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 0.01)


class Superseded:
    """Waits for what the heartbeat's thread reports."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.reason: asyncio.Future[str] = self._loop.create_future()

    def __call__(self, why: str) -> None:
        self._loop.call_soon_threadsafe(self.reason.set_result, why)


def nothing(why: str) -> None:
    raise AssertionError(why)


async def test_the_thread_ends_and_says_why_when_a_newer_start_has_registered(
    tmp_path: Path, identities: Identities
) -> None:
    superseded = Superseded()
    async with running_sn(tmp_path, identities["SN-1"]) as sn:
        async with member(sn["api"], identities["SL-1"]) as sl:
            await sl.register()
        heart = Heartbeat(client_context(identities["SL-1"]), "sl-1", 1, lambda: (1, 2), superseded)
        heart.start(lambda: [sn["api"]])
        async with member(sn["api"], identities["SL-1"], incarnation=2) as again:
            await again.register()
        assert "was started again and now runs as incarnation 2; incarnation 1 must stop" in await superseded.reason
        await asyncio.to_thread(heart._thread.join, 60)
        assert not heart._thread.is_alive()
        heart.stop()


async def test_it_states_the_progress_of_the_moment(identities: Identities) -> None:
    beats, enough = list[str](), asyncio.Event()

    def answer(raw: str) -> Answer:
        beats.append(raw)
        if len(beats) == 3:
            enough.set()
        return 200, {}

    async with scripted_sn(identities["SN-1"], [], answers=[answer] * 1000) as sn:
        progress = iter(range(1000))
        heart = Heartbeat(
            client_context(identities["SL-1"]), "sl-1", 4, lambda: (next(progress), 7), on_superseded=nothing
        )
        heart.start(lambda: [sn.address])
        await enough.wait()
        heart.stop()
    assert [json.loads(beat) for beat in beats[:3]] == [
        {"incarnation": 4, "steps": step, "moved": 7} for step in range(3)
    ]


async def test_it_outlives_an_sn_that_is_away(tmp_path: Path, identities: Identities) -> None:
    port = fixed_port()
    heart = Heartbeat(client_context(identities["SL-1"]), "sl-1", 1, lambda: (0, 0), on_superseded=nothing)
    heart.start(lambda: [f"127.0.0.1:{port}"])
    async with running_sn(tmp_path, identities["SN-1"], port=port) as sn, member(sn["api"], identities["SL-1"]) as sl:
        await sl.register()
        node_back = await sl.catch_up()
        assert node_back.height >= 2
    assert heart._thread.is_alive()
    heart.stop()
    assert not heart._thread.is_alive()


@pytest.mark.parametrize("answer", [lambda raw: (403, {"code": "unknown-node", "detail": "who?", "height": 3})])
async def test_other_refusals_are_logged_and_do_not_end_it(
    identities: Identities, answer: Callable[[str], Answer], caplog: pytest.LogCaptureFixture
) -> None:
    heard = asyncio.Event()

    def last(raw: str) -> Answer:
        heard.set()
        return 200, {}

    async with scripted_sn(identities["SN-1"], [], answers=[answer, last, *[last] * 1000]) as sn:
        heart = Heartbeat(client_context(identities["SL-1"]), "sl-1", 1, lambda: (0, 0), on_superseded=nothing)
        with caplog.at_level(logging.WARNING):
            heart.start(lambda: [sn.address])
            await heard.wait()
            heart.stop()
    assert "heartbeat refused: who? (unknown-node)" in caplog.text
