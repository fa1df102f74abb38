"""The end of a node or a command on a signal, and the reports of its event loop."""

import asyncio
import os
import select
import signal
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.certs import make_workspace
from swarmlearning.cli.running import run_node, run_to_the_end
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.node.errors import NodeError

TURNS = 100
"""Of the event loop: a signal needs two or three."""
SECONDS = 120  # only ends a test that would hang


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


def test_a_command_that_a_signal_stops_does_not_report_success() -> None:
    async def command() -> int:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
        return 1

    with pytest.raises(NodeError, match="stopped by a signal before it was done"):
        run_to_the_end(command())


def test_a_command_that_is_not_stopped_returns_its_result() -> None:
    async def command() -> int:
        return 1

    assert run_to_the_end(command()) == 1


def test_a_connection_that_is_cancelled_as_it_is_made_is_not_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    identities = make_workspace(tmp_path, ["SN-1", "SL-1"])
    accepting, connecting = server_context(identities["SN-1"]), client_context(identities["SL-1"])

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, pytest.raises((ConnectionError, ssl.SSLError)):
            accepting.wrap_socket(connection, server_side=True)  # sends its part; there is no answer

    async def connect(address: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        client = socket.create_connection(address)
        making = loop.create_connection(asyncio.Protocol, sock=client, ssl=connecting, server_hostname="")
        task = asyncio.create_task(making)
        await asyncio.sleep(0)  # the transport is made; in the next turn it sends the client's hello
        loop.call_soon(cancel_late, task, client.dup())
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)

    def cancel_late(task: "asyncio.Task[object]", client: socket.socket) -> None:
        with client:
            assert select.select([client], [], [], SECONDS)[0]  # the server's part is there; nobody has read it yet
        task.cancel()

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve, listener)
        run_node(connect(listener.getsockname()))
        serving.result(SECONDS)
    assert caplog.text == ""


def test_other_reports_of_the_event_loop_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("something else")

    async def node() -> None:
        asyncio.get_running_loop().call_soon(fail)
        for _ in range(TURNS):
            await asyncio.sleep(0)

    run_node(node())
    assert "something else" in caplog.text
