"""Clients that are started after their SL was killed: its pipes are still there, and nobody is at the other end."""

import os
import threading
from pathlib import Path

import pytest

from support.bridging import Loading, Stand, beside, model
from support.fake_sl import FakeSL
from support.original_client import Client
from swarmlearning.channel.messages import Open


def leaves_pipes(stand: Stand) -> None:
    """Leaves what an SL leaves that was killed before a client came."""
    stand.folder.mkdir(mode=0o700)
    for path in (stand.request, stand.response):
        os.mkfifo(path, 0o600)
    for name in ("trained_weights.pkl", "merged_weights.pkl"):
        (stand.folder / name).touch(0o600)


class Waiting(threading.Thread):
    """A client that is started while there is no SL, trains once it can, and leaves."""

    def __init__(self, stand: Stand) -> None:
        super().__init__(daemon=True)
        self.load = Loading()
        self._stand = stand
        self.start()

    def run(self) -> None:
        client: Client = self._stand.client()
        client.open()
        client.sync(model(), self.load)
        client.leave()


def passes_the_first_pipe(stand: Stand) -> None:
    """Returns when the client waits in the second pipe: it has found somebody at the other end of the first one."""
    while True:
        try:
            return os.close(os.open(stand.response, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # it has not come that far
            os.sched_yield()


@pytest.mark.parametrize("pipe", ["first", "second"])
async def test_a_client_that_waits_for_a_killed_sl_in_its_pipes_is_served_by_the_sl_started_again(
    stand: Stand, tmp_path: Path, pipe: str
) -> None:
    leaves_pipes(stand)
    client = Waiting(stand)
    if pipe == "second":
        await beside(lambda: passes_the_first_pipe(stand))
    with FakeSL(tmp_path / "sl") as sl:
        async with stand.bridge(sl):
            await beside(lambda: client.join(60))
    assert client.load.values == [0]
    assert len(sl.of(Open)) == 1


@pytest.mark.parametrize("pipe", ["first", "second"])
async def test_a_client_that_waits_for_a_killed_sl_does_not_get_the_session_of_the_client_before_it(
    stand: Stand, tmp_path: Path, pipe: str
) -> None:
    def begins() -> None:
        before = stand.client()
        before.open()
        before.sync(model(7.0), Loading())

    with FakeSL(tmp_path / "sl", returns=3, keeps=True) as sl:
        async with stand.bridge(sl):
            await beside(begins)
        stand.clients[0].leave()
        client = Waiting(stand)
        if pipe == "second":
            await beside(lambda: passes_the_first_pipe(stand))
        async with stand.bridge(sl):
            await beside(lambda: client.join(60))
    assert client.load.values == [0]
    assert sl.of(Open)[-1].holds == ""
