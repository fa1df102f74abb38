"""The SL's end of the local channel when the node ends."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

from swarmlearning.channel.address import connect
from swarmlearning.channel.framing import encode
from swarmlearning.channel.messages import FromML, Kill, Waiting
from swarmlearning.sl.mlchannel import MLChannel


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
from swarmlearning.channel.framing import encode
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
    """What it had sent before is heard first."""
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
