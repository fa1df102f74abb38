"""The SL's end of the local channel: who is served, who is refused or dropped, and what happens when the node ends."""

import asyncio
import os
import stat
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swarmlearning.channel.address import connect
from swarmlearning.channel.framing import LENGTH, ChannelError, encode
from swarmlearning.channel.messages import FromML, Kill, Waiting
from swarmlearning.sl import mlchannel
from swarmlearning.sl.mlchannel import SOCKET, TAKEN, MLChannel


@pytest.fixture(autouse=True)
async def stopped(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """All channels are stopped when a test has failed, too: uvloop would hang with one that listens."""
    channels, start = list[MLChannel](), MLChannel.start

    async def noted(channel: MLChannel) -> None:
        channels.append(channel)
        await start(channel)

    monkeypatch.setattr(MLChannel, "start", noted)
    yield
    for channel in channels:
        await channel.stop()


async def test_a_node_that_ends_while_it_handles_a_message_reports_no_error(tmp_path: Path) -> None:
    """As while it digests a large model: what is left when everything else has ended is cancelled."""
    handling, left, reported = asyncio.Event(), asyncio.Event(), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))

    async def handle(message: FromML) -> None:
        handling.set()
        await asyncio.Event().wait()

    channel = MLChannel(tmp_path, handle, left.set)
    await channel.start()
    with connect(channel.path) as ml:
        ml.sendall(encode(Kill("", True, "")))
        await handling.wait()
        await channel.stop()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.wait(others)
        await asyncio.sleep(0)  # callbacks
    assert left.is_set()
    assert reported == []


SCRIPT = """
import os, socket, sys
from swarmlearning.channel.framing import LENGTH, ChannelError, encode
from swarmlearning.channel.messages import Kill

ml = socket.socket(socket.AF_UNIX)
ml.connect(sys.argv[1])
if os.fork() == 0:
    sys.stdin.read()  # lives on, with the socket
    os._exit(0)
ml.sendall(encode(Kill("", True, "good-bye")))
os._exit(0)
"""


async def test_a_script_that_has_ended_is_gone_although_its_forked_child_holds_the_socket(tmp_path: Path) -> None:
    """Messages that it had sent before are handled first."""
    messages, left = list[FromML](), asyncio.Event()

    async def handle(message: FromML) -> None:
        messages.append(message)

    channel = MLChannel(tmp_path, handle, left.set)
    await channel.start()
    script = await asyncio.create_subprocess_exec(sys.executable, "-c", SCRIPT, str(channel.path), stdin=PIPE)
    async with asyncio.timeout(60):
        await left.wait()
    assert messages == [Kill("", True, "good-bye")]
    with connect(channel.path) as again:  # another one may come
        left.clear()
        again.sendall(encode(Kill("", True, "")))
    await left.wait()
    assert len(messages) == 2
    assert script.stdin is not None
    script.stdin.close()
    await script.wait()
    await channel.stop()


async def test_a_script_that_does_not_read_its_messages_is_dropped_and_holds_up_nobody(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def handle(message: FromML) -> None:
        pass

    channel = MLChannel(tmp_path, handle, left.set)
    await channel.start()
    with connect(channel.path) as ml:
        ml.sendall(encode(Kill("", True, "")))
        while not left.is_set():
            channel.send(Waiting("x" * 100_000))
            await asyncio.sleep(0)
    await channel.stop()


async def test_an_ml_process_that_connects_right_behind_one_that_ends_is_served(tmp_path: Path) -> None:
    """As a script's next callback does, before the SL has read the end of its last one."""
    messages, handling, go_on = list[FromML](), asyncio.Event(), asyncio.Event()

    async def handle(message: FromML) -> None:
        messages.append(message)
        handling.set()
        await go_on.wait()

    channel = MLChannel(tmp_path, handle, lambda: None)
    await channel.start()
    with connect(channel.path) as first:
        first.sendall(encode(Kill("1", False, "interrupted")))
        await handling.wait()
    with connect(channel.path) as second:
        second.sendall(encode(Kill("2", True, "")))
        handling.clear()
        go_on.set()
        await handling.wait()
    assert [message.session for message in messages if isinstance(message, Kill)] == ["1", "2"]
    await channel.stop()


async def test_a_second_ml_process_beside_one_that_stays_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlchannel, "TURN_SECONDS", 0.01)

    async def handle(message: FromML) -> None: ...

    channel = MLChannel(tmp_path, handle, lambda: None)
    await channel.start()
    with connect(channel.path) as first:
        first.sendall(encode(Kill("1", True, "")))
        reader, writer = await asyncio.open_unix_connection(channel.path)
        assert TAKEN.encode() in await reader.read()
        writer.close()
    await channel.stop()


@pytest.mark.parametrize("beginning", [b"", b"\0\0", LENGTH.pack(50), LENGTH.pack(50) + b"{"])
async def test_a_connection_that_sends_no_message_does_not_keep_out_the_ml_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    """Its time is short, that of the ML process after it is not: this machine may be busy."""
    monkeypatch.setattr(mlchannel, "TURN_SECONDS", 600.0)
    monkeypatch.setattr(mlchannel, "FIRST_MESSAGE_SECONDS", 0.05)
    handled = asyncio.Event()

    async def handle(message: FromML) -> None:
        handled.set()

    def left() -> None:
        monkeypatch.setattr(mlchannel, "FIRST_MESSAGE_SECONDS", 600.0)

    channel = MLChannel(tmp_path, handle, left)
    await channel.start()
    with connect(channel.path) as silent, connect(channel.path) as ml:
        silent.sendall(beginning)
        ml.sendall(encode(Kill("", True, "")))
        async with asyncio.timeout(60):
            await handled.wait()
    await channel.stop()


async def test_an_ml_process_may_be_silent_for_long_after_its_first_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of that message is over with it: nothing waits here until the time is over."""
    limits = list[asyncio.Timeout]()

    def timeout(seconds: float) -> asyncio.Timeout:
        limits.append(asyncio.timeout(seconds))
        return limits[-1]

    monkeypatch.setattr(mlchannel, "asyncio", SimpleNamespace(**{**vars(asyncio), "timeout": timeout}))
    messages = asyncio.Queue[FromML]()
    channel = MLChannel(tmp_path, messages.put, lambda: None)
    await channel.start()
    with connect(channel.path) as ml:
        ml.sendall(encode(Kill("1", True, "")))
        await messages.get()
        assert len(limits) == 2, "for its turn, and for its first message"
        assert [repr(limit) for limit in limits] == ["<Timeout [finished]>"] * 2
        ml.sendall(encode(Kill("2", True, "")))
        async with asyncio.timeout(60):
            await messages.get()
    await channel.stop()


async def test_of_many_connections_at_once_most_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlchannel, "TURN_SECONDS", 600.0)
    monkeypatch.setattr(mlchannel, "_MOST_WAITING", 3)
    messages = asyncio.Queue[FromML]()
    channel = MLChannel(tmp_path, messages.put, lambda: None)
    await channel.start()
    with connect(channel.path) as ml:
        ml.sendall(encode(Kill("1", True, "")))
        await messages.get()
        others = [await asyncio.open_unix_connection(channel.path) for _ in range(10)]
        answers = [asyncio.ensure_future(reader.read()) for reader, _ in others]
        refused: set[asyncio.Future[bytes]] = set()
        async with asyncio.timeout(60):
            while len(refused) < 7:
                refused, _ = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.sleep(0)
    assert all(TAKEN.encode() in answer.result() for answer in refused)
    for _, writer in others:
        writer.close()
    await channel.stop()
    await asyncio.gather(*answers, return_exceptions=True)


@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
async def test_only_the_user_who_runs_the_sl_can_connect_as_its_ml_process(tmp_path: Path, mask: int) -> None:
    async def handle(message: FromML) -> None: ...

    before = os.umask(mask)
    try:
        channel = MLChannel(tmp_path / "channel", handle, lambda: None)
        await channel.start()
    finally:
        os.umask(before)
    assert stat.S_IMODE(channel.directory.stat().st_mode) == 0o700
    await channel.stop()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/etc/passwd", "a/", "ml.sock", "a\0b", "a\nb", "\u202eb", "\x1b[2J"]
)
def test_a_name_of_a_file_that_is_not_plain_is_refused(tmp_path: Path, name: str) -> None:
    async def handle(message: FromML) -> None: ...

    with pytest.raises(ChannelError, match="is not a plain file name"):
        MLChannel(tmp_path, handle, lambda: None).file(name)


async def test_a_socket_that_is_there_can_be_used_by_its_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script of another user that waits for its SL connects in the very moment in which the socket appears."""
    directory = tmp_path / "channel"
    start, seen = asyncio.start_unix_server, list[bool]()

    async def observed(*arguments: Any, **options: Any) -> asyncio.Server:
        seen.append((directory / SOCKET).exists())
        return await start(*arguments, **options)

    monkeypatch.setattr(asyncio, "start_unix_server", observed)

    async def handle(message: FromML) -> None: ...

    channel = MLChannel(directory, handle, lambda: None, group=os.getgid())
    await channel.start()
    assert seen == [False]
    assert stat.S_IMODE(channel.path.stat().st_mode) == 0o660
    connect(channel.path).close()
    await channel.stop()
