"""What moves under limits of bandwidth: buckets in virtual time, and a fetch over real mTLS whose waits are counted."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support.faulty_holder import CONTENT, SIZE, Hold
from support.virtual_time import run_in_virtual_time
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.models import tlsstream
from swarmlearning.models.bandwidth import MBIT, NO_CAPS, caps_of
from swarmlearning.models.fileserver import file_app
from swarmlearning.models.pacing import Bandwidth, Bucket, limited, paced
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import Fetcher

RATE = 1_000_000
MOST_AT_ONCE = 0.1
"""Seconds' worth."""


class Clock:
    """Seconds that pass only when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Waited(Bucket):
    """Whoever waits for its turn has waited when it is told: so nobody does, and `moved` shows what moved when."""

    def __init__(self, rate: int) -> None:
        self.time = Clock()
        super().__init__(lambda: rate, self.time)
        self.begun = self.time()
        self.moved: list[tuple[float, int]] = []
        self._one = threading.Lock()

    def turn(self, size: int) -> float:
        with self._one:
            self.time.now += super().turn(size)
            self.moved.append((self.time(), size))
        return 0.0

    def back(self, size: int) -> None:
        with self._one:
            super().back(size)
            self.moved.append((self.time(), -size))

    @property
    def total(self) -> int:
        return sum(size for _, size in self.moved)


def most_in(moved: list[tuple[float, int]], seconds: float) -> int:
    """The most bytes that moved within so many seconds."""
    first, within, most = 0, 0, 0
    for moment, size in moved:
        within += size
        while moved[first][0] <= moment - seconds:
            within -= moved[first][1]
            first += 1
        most = max(most, within)
    return most


# --- a bucket ---------------------------------------------------------------------------------------------------------


def test_pieces_follow_one_another_at_the_rate_and_none_is_large() -> None:
    bucket = Waited(RATE)
    while bucket.total < 5 * RATE:
        assert 0 < bucket.piece() <= RATE * MOST_AT_ONCE / 2
        bucket.turn(bucket.piece())
    assert bucket.time() - bucket.begun == pytest.approx(5.0, abs=0.11)
    for seconds in (0.2, 1.0, 3.0):
        assert most_in(bucket.moved, seconds) <= RATE * (seconds + MOST_AT_ONCE)


def test_a_pause_earns_no_more_than_a_moment() -> None:
    bucket = Waited(RATE)
    bucket.turn(bucket.piece())
    bucket.time.now += 3600
    bucket.moved.clear()
    while bucket.total < RATE:
        bucket.turn(bucket.piece())
    assert most_in(bucket.moved, 0.001) <= RATE * MOST_AT_ONCE


def test_whoever_wakes_up_late_makes_up_for_it() -> None:
    clock = Clock()
    bucket = Bucket(lambda: RATE, clock)
    moved = 0
    for _ in range(100):
        wait = bucket.turn(bucket.piece())
        clock.now += wait + 0.01 if wait else 0.0
        moved += bucket.piece()
    assert moved / (clock.now - 1000.0) == pytest.approx(RATE, rel=0.05)


def test_time_that_was_set_aside_in_vain_is_for_others() -> None:
    clock = Clock()
    bucket = Bucket(lambda: RATE, clock)
    bucket.turn(RATE)
    bucket.turn(50_000)
    bucket.back(50_000)
    assert bucket.turn(1) == pytest.approx(1.0, abs=0.06)


def test_sources_that_bring_little_cost_others_no_more_than_that() -> None:
    """Three bring a tenth of what they have set aside, the fourth all."""
    clock = Clock()
    bucket = Bucket(lambda: RATE, clock)
    piece, moved = bucket.piece(), [0] * 4
    turns = [(clock() + bucket.turn(piece), number) for number in range(4)]
    while clock() < 1020.0:
        turns.sort()
        clock.now, number = turns.pop(0)
        used = piece if number == 3 else piece // 10
        bucket.back(piece - used)
        moved[number] += used
        turns.append((clock() + bucket.turn(piece), number))
    assert sum(moved) == pytest.approx(20 * RATE, rel=0.02)
    assert moved[3] == pytest.approx(20 * RATE / 1.3, rel=0.02)


def test_without_a_limit_nobody_waits_and_once_there_is_one_all_do() -> None:
    clock, rate = Clock(), 0
    bucket = Bucket(lambda: rate, clock)
    assert [bucket.turn(10**9) for _ in range(3)] == [0.0, 0.0, 0.0]
    bucket.back(10**9)
    rate = RATE
    bucket.turn(RATE)
    assert bucket.turn(1) == pytest.approx(1.0, abs=0.06)


def test_threads_share_one_rate() -> None:
    clock = Clock()
    bucket = Bucket(lambda: RATE, clock)

    def take() -> None:
        for _ in range(500):
            bucket.turn(1000)
            bucket.turn(500)
            bucket.back(500)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bucket.turn(1) == pytest.approx(8 * 500 * 1000 / RATE, abs=0.06)


def test_a_site_without_limits_runs_what_it_always_has() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        """Answers nothing."""

    assert limited(NO_CAPS) is None
    assert limited(caps_of("0")) is None
    assert paced(app, None) is app


# --- hours ------------------------------------------------------------------------------------------------------------


def test_a_limit_holds_from_its_hour_on_and_until_its_last() -> None:
    clock, begin = Clock(), datetime(2026, 11, 30, 7, 59, 58)
    bandwidth = Bandwidth(caps_of("8@08:00-08:01,80"), lambda: begin + timedelta(seconds=clock() - 1000.0), clock)
    moved: dict[int, int] = {}
    while (second := int(clock() - 1000.0)) < 64:
        size = bandwidth.up.piece()
        clock.now += bandwidth.up.turn(size)
        moved[int(clock() - 1000.0)] = moved.get(int(clock() - 1000.0), 0) + size
    assert second == 64
    assert moved[0] == pytest.approx(80 * MBIT, rel=0.15)
    assert [moved[at] for at in (5, 30, 60)] == pytest.approx([8 * MBIT] * 3, rel=0.15)
    assert moved[63] == pytest.approx(80 * MBIT, rel=0.15)
    assert bandwidth.limits() == (80 * MBIT, 80 * MBIT)


def test_only_a_direction_that_is_ever_limited_has_a_limit_to_state() -> None:
    noon = datetime(2026, 11, 30, 12)
    assert Bandwidth(caps_of("8/0"), lambda: noon).limits() == (8 * MBIT, None)
    assert Bandwidth(caps_of("8@13:00-14:00"), lambda: noon).limits() == (0, 0)


# --- answers of a file server -----------------------------------------------------------------------------------------


def test_answers_leave_in_pieces_at_the_rate_over_all_connections() -> None:
    bodies = [bytes([number]) * 700_000 for number in range(3)]

    async def app(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await send({"type": "http.response.body", "body": scope["body"], "more_body": True})
        await send({"type": "http.response.body", "body": scope["body"]})

    async def answered() -> tuple[list[list[Any]], list[tuple[float, int]], float]:
        loop = asyncio.get_running_loop()
        bandwidth = Bandwidth(caps_of("8"), clock=loop.time)
        sent: list[list[Any]] = [[], [], []]
        moved: list[tuple[float, int]] = []

        async def answer(number: int) -> None:
            async def send(message: Any) -> None:
                sent[number].append(message | {"body": bytes(message.get("body", b""))})
                moved.append((loop.time(), len(message.get("body", b""))))

            await paced(app, bandwidth)({"body": bodies[number]}, None, send)  # type: ignore[arg-type]

        await asyncio.gather(*(answer(number) for number in range(3)))
        return sent, moved, loop.time()

    sent, moved, seconds = run_in_virtual_time(answered())
    for body, messages in zip(bodies, sent, strict=True):
        assert messages[0]["type"] == "http.response.start"
        assert b"".join(each["body"] for each in messages) == 2 * body
        assert [each.get("more_body", False) for each in messages[1:]] == [True] * (len(messages) - 2) + [False]
    assert seconds == pytest.approx(4.2, abs=MOST_AT_ONCE)
    assert most_in(moved, 0.2) <= RATE * (0.2 + MOST_AT_ONCE)


# --- over real mTLS ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("connections", [1, 3])
async def test_what_is_fetched_and_served_keeps_to_the_rates(
    identities: dict[str, Identity], tmp_path: Path, digest: str, hold: Hold, connections: int
) -> None:
    """Both ends are limited, one at the rate and one at three quarters of it; nobody waits in truth."""
    holder = await hold()
    up, down = Waited(RATE), Waited(3 * RATE // 4)
    bandwidth = Bandwidth(caps_of("8"))
    bandwidth.up, bandwidth.down = up, down
    app = paced(file_app(holder.store, lambda *wanted: True), bandwidth)
    server = Server(app, server_context(identities["SL-1"]), "127.0.0.1", 0)
    await server.start()
    stores = [TensorStore(tmp_path / f"store-{number}") for number in range(connections)]
    fetchers = [Fetcher(client_context(identities["SL-2"]), store, bandwidth=bandwidth) for store in stores]
    paths = await asyncio.gather(*(each.fetch(digest, [("127.0.0.1", server.port)]) for each in fetchers))
    assert all(path.read_bytes() == CONTENT for path in paths)
    for fetcher in fetchers:
        await fetcher.close()
    await server.stop()
    assert up.time() - up.begun <= up.total / RATE, "it is used in full"
    for bucket, rate, most in ((up, RATE, 1.001), (down, 3 * RATE // 4, 1.02)):  # TLS adds the more
        seconds = bucket.time() - bucket.begun
        assert connections * SIZE <= bucket.total <= most * connections * SIZE
        assert bucket.total / rate <= seconds + MOST_AT_ONCE + 0.01
        assert most_in(bucket.moved, 1.0) <= rate * (1.0 + MOST_AT_ONCE)


def _through(down: Bucket) -> Bandwidth:
    bandwidth = Bandwidth(caps_of("8"))
    bandwidth.down = down
    return bandwidth


async def test_no_source_is_given_up_for_the_time_that_its_fetcher_waits_by_itself(
    identities: dict[str, Identity], tmp_path: Path, digest: str, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each turn comes after half the time in which a source has to bring something."""
    holder, passed = await hold(), 0.0

    class Event(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            nonlocal passed
            passed += timeout or 0.0
            return super().wait(0)

    class Late(Bucket):
        def turn(self, size: int) -> float:
            return 300.0

    monkeypatch.setattr(tlsstream, "threading", SimpleNamespace(Event=Event))
    moving = SimpleNamespace(monotonic=lambda: time.monotonic() + passed, sleep=time.sleep)
    monkeypatch.setattr(tlsstream, "time", moving)
    store = TensorStore(tmp_path / "store")
    fetcher = Fetcher(
        client_context(identities["SL-2"]), store, stall_seconds=600, bandwidth=_through(Late(lambda: RATE))
    )
    path = await fetcher.fetch(digest, [holder.source])
    await fetcher.close()
    assert path.read_bytes() == CONTENT
    assert passed > SIZE / RATE / MOST_AT_ONCE * 300


async def test_a_fetch_that_is_stopped_does_not_wait_for_its_turn(
    identities: dict[str, Identity], tmp_path: Path, digest: str, hold: Hold
) -> None:
    waiting = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Never(Bucket):
        def turn(self, size: int) -> float:
            loop.call_soon_threadsafe(waiting.set)
            return 10_000.0 if moved else 0.0

        def back(self, size: int) -> None:
            moved.append(size)

    moved: list[int] = []
    holder = await hold()
    fetcher = Fetcher(
        client_context(identities["SL-2"]), TensorStore(tmp_path / "store"), bandwidth=_through(Never(lambda: RATE))
    )
    fetching = asyncio.create_task(fetcher.fetch(digest, [holder.source]))
    await waiting.wait()
    fetching.cancel()
    await asyncio.wait([fetching])
    await fetcher.close()
