"""Clients that share a thin link with many others are served to the end: pure, with a link that is only counted."""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from support.virtual_time import run_in_virtual_time
from swarmlearning.api.protocol import Limits
from swarmlearning.models import sending
from swarmlearning.models.body import LEAST_RATE
from swarmlearning.models.compression import identity
from swarmlearning.models.sending import Answer, send_file

STALL = 0.4
SIZE = 3 * 2**20


class AtOnce(Executor):
    """Reads in the caller's thread: in virtual time no other may be waited for."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


async def sent_to(file: Path, seconds_a_byte: float, turn: float = 0.0) -> int:
    """Bytes that a client gets of a file that it receives so slowly; `turn`: seconds that it waits for each byte."""
    got = 0

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        nonlocal got
        body = message.get("body", b"")
        await asyncio.sleep(len(body) * seconds_a_byte)
        got += len(body)

    with file.open("rb", buffering=0) as opened, socket.socket() as unconnected:
        answer = Answer(200, [], b"", 0, SIZE, identity)
        await send_file(opened, answer, AtOnce(), unconnected, STALL, receive, send, lambda size: size * turn)
    return got


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "model").write_bytes(bytes(SIZE))
    return tmp_path / "model"


def test_where_the_kernel_does_not_report_what_has_arrived_a_slow_link_is_no_stall(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "arrived", lambda connection: None)
    assert run_in_virtual_time(sent_to(file, seconds_a_byte=2 * STALL / sending._PIECE)) == SIZE


def test_a_client_that_waits_for_its_turn_again_and_again_is_served_to_the_end(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "arrived", lambda connection: 0)  # what is written counts
    assert run_in_virtual_time(sent_to(file, 0.0, turn=1.5 * STALL / sending._PIECE)) == SIZE


def test_a_client_that_gets_nothing_is_cut_off(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "arrived", lambda connection: 0)
    assert run_in_virtual_time(sent_to(file, seconds_a_byte=1.0)) == 0


def test_as_many_readers_as_a_file_server_can_have_are_no_drips_for_their_fetchers_at_4_mbit() -> None:
    readers = Limits().connections
    assert readers == 512
    assert LEAST_RATE * readers * 3 < 4_000_000 / 8
