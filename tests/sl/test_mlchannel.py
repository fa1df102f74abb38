"""The SL's end of the local channel when the node ends."""

import asyncio
from pathlib import Path
from typing import Any

from swarmlearning.channel.address import connect
from swarmlearning.channel.framing import encode
from swarmlearning.channel.messages import FromML, Kill
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
