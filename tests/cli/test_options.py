"""How a node or a command ends on a signal."""

import asyncio
import os
import signal

import pytest

from swarmlearning.cli.options import run_node, run_to_the_end
from swarmlearning.node.errors import NodeError

TURNS = 100
"""Of the event loop: a signal needs two or three."""


def test_a_second_signal_does_not_cut_the_stop_short() -> None:
    steps = []

    async def node() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(TURNS):
                await asyncio.sleep(0)
            steps.append("stopped in good order")

    assert run_node(node()) is None
    assert steps == ["stopped in good order"]


def test_a_command_that_a_signal_stops_does_not_claim_to_be_done() -> None:
    async def command() -> int:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
        return 1

    with pytest.raises(NodeError, match="stopped by a signal before it was done"):
        run_to_the_end(command())


def test_a_command_that_is_not_stopped_has_its_result() -> None:
    async def command() -> int:
        return 1

    assert run_to_the_end(command()) == 1
