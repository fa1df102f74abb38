"""Clients that die, hang or talk nonsense, SLs that are started again: nothing blocks, and the next one is served."""

import asyncio
import os
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from support.bridging import Loading, Stand, beside, model
from support.fake_sl import Arrays, FakeSL, Reply
from support.original_client import TYPES, Client, SwarmError, header
from swarmlearning.bridge.access import Access
from swarmlearning.bridge.errors import BridgeError, LostTrack
from swarmlearning.bridge.pipes import Pipes
from swarmlearning.channel.messages import FromML, Open, Sync

LARGE: Arrays = {"w": np.zeros(500_000)}
"""More than a pipe holds."""


def trains(stand: Stand, in_message: bool = False) -> None:
    """A client that comes, syncs and leaves in good order."""
    client = stand.client(in_message)
    client.open()
    client.sync(model(), Loading())
    client.leave()


def begins(stand: Stand) -> None:
    """A client that comes and syncs, and stays."""
    client = stand.client()
    client.open()
    client.sync(model(), Loading())


class HangingSync:
    """Answers for a `FakeSL` that leaves the first sync without one."""

    def __init__(self) -> None:
        self.begun = threading.Event()

    def __call__(self, message: FromML) -> Iterable[Reply] | None:
        if isinstance(message, Sync) and not self.begun.is_set():
            self.begun.set()
            return []
        return None


HALVES = {
    "nothing": b"",
    "a byte": b"\x0a",
    "half a header": header(TYPES["sync"], 50)[:11],
    "a header": header(TYPES["sync"], 50),
    "half a message": header(TYPES["sync"], 50) + bytes(20),
}


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
async def test_the_next_client_is_served_after_one_that_died_in_the_middle_of_a_message(
    stand: Stand, tmp_path: Path, half: bytes
) -> None:
    def dies() -> None:
        client = stand.client()
        client.open()
        client.sync(model(), Loading())
        client.request.write(half)
        client.leave()

    with FakeSL(tmp_path / "sl", returns=1, keeps=True) as sl:
        async with stand.bridge(sl):
            await beside(dies)
            assert await beside(lambda: sl.hung_up.wait(60))  # the SL is told
            await beside(lambda: trains(stand))
            await beside(sl.wait_until_left)
    assert len(sl.of(Sync)) == 2


async def test_the_next_client_is_served_after_one_that_died_while_it_waited_for_the_swarm(
    stand: Stand, tmp_path: Path
) -> None:
    hanging = HangingSync()

    def dies() -> None:
        client = stand.client()
        client.open()
        client.ask("sync", client.weights(model()))
        assert hanging.begun.wait(60)
        client.leave()

    with FakeSL(tmp_path / "sl", returns=1, keeps=True, answers=hanging) as sl:
        async with stand.bridge(sl):
            await beside(dies)
            assert await beside(lambda: sl.hung_up.wait(60))
            await beside(lambda: trains(stand))


async def test_the_next_client_is_served_after_one_that_died_while_it_received_weights(
    stand: Stand, tmp_path: Path
) -> None:
    def dies() -> None:
        client = stand.client(in_message=True)
        client.open()
        client.ask("sync", client.weights(LARGE))
        client.read(22)
        client.leave()

    with FakeSL(tmp_path / "sl", returns=1, keeps=True) as sl:
        async with stand.bridge(sl):
            await beside(dies)
            assert await beside(lambda: sl.hung_up.wait(60))
            await beside(lambda: trains(stand, in_message=True))


async def test_the_next_client_does_not_get_messages_that_a_dead_one_has_not_read(stand: Stand, tmp_path: Path) -> None:
    def dies() -> None:
        client = stand.client()
        client.open()
        client.sync(model(), Loading())
        client.send(TYPES["sync"], b"\x08\x01")  # has an answer
        client.leave()

    with FakeSL(tmp_path / "sl", returns=1, keeps=True) as sl:
        async with stand.bridge(sl):
            await beside(dies)
            assert await beside(lambda: sl.hung_up.wait(60))
            await beside(lambda: trains(stand))


async def test_another_client_replaces_one_whose_end_was_not_seen(stand: Stand, tmp_path: Path) -> None:
    """A worker process that inherited the pipes keeps them open: the new client's first message comes instead."""
    hanging = HangingSync()

    def hangs() -> None:
        client = stand.client()
        client.open()
        client.ask("sync", client.weights(model()))
        assert hanging.begun.wait(60)

    def evaluates_for_ever() -> None:
        client = stand.client()
        client.open()
        client.ask("sync", client.weights(model()))
        client.receive()

    with FakeSL(tmp_path / "sl", returns=2, keeps=True, answers=hanging) as sl:
        async with stand.bridge(sl):
            await beside(hangs)
            await beside(evaluates_for_ever)
            await beside(lambda: trains(stand))
    assert len(sl.of(Open)) == 3


@pytest.mark.parametrize(
    ("bytes_sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n", "these bytes are not the header of a message: 474554"),
        (header(TYPES["open"], 2**16 + 1), "a message of 65537 bytes is announced; type 2 has at most 65536"),
        (header(TYPES["sync"], 2**31), "a message of 2147483648 bytes is announced; type 6 has at most 2147483647"),
    ],
)
async def test_a_meaningless_stream_is_cut_and_the_next_client_is_served(
    stand: Stand, tmp_path: Path, bytes_sent: bytes, reason: str
) -> None:
    def talks_nonsense() -> None:
        client = stand.client()
        client.request.write(bytes_sent)
        client.request.flush()
        with pytest.raises(SwarmError, match=f"SL error: 3 {reason}"):
            client.receive()
        with pytest.raises(SwarmError, match="got 0 bytes: pipe closed"):
            client.receive()

    with FakeSL(tmp_path / "sl") as sl:
        async with stand.bridge(sl):
            await beside(talks_nonsense)
            await beside(lambda: trains(stand))


# --- the SL is started again


async def test_a_client_that_trains_does_not_notice_that_its_sl_is_restarted(stand: Stand, tmp_path: Path) -> None:
    load = Loading()
    clients: list[Client] = []

    def begins() -> None:
        clients.append(stand.client())
        clients[0].open(interval=4)
        clients[0].sync(model(1), load)

    def goes_on() -> None:
        clients[0].sync(model(2), load)
        clients[0].close(model(3), load)

    with FakeSL(tmp_path / "sl", returns=1, keeps=True, merges_at_close=1) as sl:
        async with stand.bridge(sl):
            await beside(begins)
        assert await beside(lambda: sl.hung_up.wait(60))
        async with stand.bridge(sl):
            await beside(goes_on)
    before, after = sl.of(Open)
    assert before.holds == ""
    assert after == Open(**{name: getattr(before, name) for name in before.__struct_fields__} | {"holds": "merged-0"})
    assert load.values == [1, 2, 3]


async def test_a_client_that_died_while_the_sl_was_away_is_forgotten(stand: Stand, tmp_path: Path) -> None:
    with FakeSL(tmp_path / "sl", returns=1, keeps=True) as sl:
        async with stand.bridge(sl):
            await beside(lambda: begins(stand))
        assert (stand.state / "session.json").exists()
        assert (stand.state / "merged.safetensors").exists()
        stand.clients[0].leave()
        async with stand.bridge(sl):
            await beside(lambda: trains(stand))
        await beside(sl.wait_until_left)
    assert [message.holds for message in sl.of(Open)] == ["", ""]


async def test_the_next_client_is_served_after_one_that_died_after_its_sl_was_restarted(
    stand: Stand, tmp_path: Path
) -> None:
    taken_up = threading.Event()

    def note(message: FromML) -> None:
        if isinstance(message, Open) and message.holds:
            sl.hung_up.clear()  # of the first life
            taken_up.set()

    sl = FakeSL(tmp_path / "sl", returns=2, keeps=True, answers=note)
    with sl:
        async with stand.bridge(sl):
            await beside(lambda: begins(stand))
        async with stand.bridge(sl):
            assert await beside(lambda: taken_up.wait(60))
            stand.clients[0].leave()
            assert await beside(lambda: sl.hung_up.wait(60))
            await beside(lambda: trains(stand))
    assert len(sl.of(Open)) == 3


async def test_a_damaged_file_of_the_remembered_session_is_ignored(stand: Stand, tmp_path: Path) -> None:
    stand.state.mkdir(parents=True)
    (stand.state / "session.json").write_text('{"id": "x"')
    with FakeSL(tmp_path / "sl") as sl:
        async with stand.bridge(sl):
            await beside(lambda: trains(stand))


async def test_a_client_in_the_middle_of_an_exchange_is_told_by_the_end_of_its_stream(
    stand: Stand, tmp_path: Path
) -> None:
    client: list[Client] = []

    def asks() -> None:
        client.append(stand.client())
        client[0].open()
        client[0].ask("sync", client[0].weights(model()))

    with FakeSL(tmp_path / "sl", answers=lambda message: [] if isinstance(message, Sync) else None) as sl:
        async with stand.bridge(sl):
            await beside(asks)
        with pytest.raises(SwarmError, match="wanted: 22 bytes, got 0 bytes: pipe closed"):
            await beside(client[0].receive)


# --- the pipes and the folder


async def test_a_bridge_to_which_no_client_came_ends_at_once(stand: Stand, tmp_path: Path) -> None:
    async with stand.bridge(tmp_path / "nobody"):
        await asyncio.sleep(0)


async def test_the_pipes_are_removed_when_the_sl_ends_so_that_no_later_client_waits_in_open(
    stand: Stand, tmp_path: Path
) -> None:
    with FakeSL(tmp_path / "sl", returns=1, keeps=True) as sl:
        async with stand.bridge(sl):
            await beside(lambda: trains(stand))
            assert await beside(lambda: sl.hung_up.wait(60))
        assert not stand.request.exists()
        assert not stand.response.exists()
        async with stand.bridge(sl):  # an SL that is started again serves as ever
            await beside(lambda: trains(stand))


async def test_the_pipes_are_removed_though_a_client_whose_session_has_ended_still_has_them_open(
    stand: Stand, tmp_path: Path
) -> None:
    def closes() -> None:
        client = stand.client()
        client.open()
        client.close(model(), Loading())

    with FakeSL(tmp_path / "sl") as sl:
        async with stand.bridge(sl):
            await beside(closes)
            await beside(sl.wait_until_left)
    assert not stand.request.exists()
    assert not stand.response.exists()


async def test_the_pipes_stay_while_a_client_trains_and_its_sl_is_restarted(stand: Stand, tmp_path: Path) -> None:
    with FakeSL(tmp_path / "sl", returns=1, keeps=True) as sl:
        async with stand.bridge(sl):
            await beside(lambda: begins(stand))
    assert stand.request.is_fifo()
    assert stand.response.is_fifo()


async def test_two_sls_cannot_share_a_bridge_s_folder(stand: Stand, tmp_path: Path) -> None:
    async with stand.bridge(tmp_path / "nobody"):
        with pytest.raises(BridgeError, match=r"is in use by another SL node: .*--bridge-dir"):
            async with stand.bridge(tmp_path / "nobody"):
                pass


@pytest.mark.parametrize("name", ["request.channel", "trained_weights.pkl", "merged_weights.pkl"])
async def test_a_link_in_the_place_of_a_bridge_s_file_or_pipe_is_refused(
    stand: Stand, tmp_path: Path, name: str
) -> None:
    victim = tmp_path / "victim"
    stand.folder.mkdir()
    (stand.folder / name).symlink_to(victim)
    with pytest.raises(BridgeError, match=f"{name}"):
        async with stand.bridge(tmp_path / "nobody"):
            pass
    assert not victim.exists()


async def test_a_pipe_in_the_place_of_a_file_is_refused(stand: Stand, tmp_path: Path) -> None:
    stand.folder.mkdir()
    os.mkfifo(stand.folder / "merged_weights.pkl")
    with pytest.raises(BridgeError, match=r"merged_weights.pkl: cannot create file: there is something else"):
        async with stand.bridge(tmp_path / "nobody"):
            pass


async def test_pipes_in_a_missing_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BridgeError, match="nowhere/request: cannot create pipe: No such file or directory"):
        Pipes(tmp_path / "nowhere" / "request", tmp_path / "response", Access()).open()


async def test_a_bridge_s_folder_that_is_a_link_is_refused(stand: Stand, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    stand.folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BridgeError, match="hpe-swarm: cannot create file"):
        async with stand.bridge(tmp_path / "nobody"):
            pass
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.fixture
def pipes(tmp_path: Path) -> Iterable[Pipes]:
    made = Pipes(tmp_path / "request", tmp_path / "response", Access(), stall_seconds=0.05)
    made.open()
    yield made
    made.close()


async def test_a_client_that_does_not_send_the_rest_of_a_message_is_dropped(pipes: Pipes, tmp_path: Path) -> None:
    with (tmp_path / "request").open("wb", buffering=0) as client:
        client.write(b"abc")
        with pytest.raises(LostTrack, match="wanted: 22 bytes, got 3 bytes: nothing more came for"):
            await pipes.read(22, begun=False)


async def test_a_client_that_does_not_read_is_dropped(pipes: Pipes, tmp_path: Path) -> None:
    with (tmp_path / "request").open("wb"), pytest.raises(LostTrack, match="the ML process has not read on for"):
        await pipes.write(bytes(2**20))


async def test_a_link_in_the_place_of_a_pipe_is_not_followed(pipes: Pipes, tmp_path: Path) -> None:
    pipes.close()
    (tmp_path / "response").rename(tmp_path / "other")
    (tmp_path / "response").symlink_to("other")
    with pytest.raises(BridgeError, match="response: cannot create pipe: a symbolic link"):
        pipes.open()


async def test_pipes_that_were_removed_are_made_again(pipes: Pipes, tmp_path: Path) -> None:
    (tmp_path / "request").unlink()
    pipes.expect()
    with (tmp_path / "response").open("rb"), (tmp_path / "request").open("wb", buffering=0) as client:
        client.write(b"ab")
        assert bytes(await pipes.read(2, begun=False)) == b"ab"
