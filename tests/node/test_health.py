"""A node's health without a certificate: over a socket in its data directory."""

import asyncio
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from support.local_sn import running_sn
from swarmlearning.cli.main import app
from swarmlearning.identity.identity import Identity
from swarmlearning.node.errors import NodeError
from swarmlearning.node.health import SOCKET, answering, request_health


async def test_a_running_sn_answers_the_health_command_and_a_stopped_one_does_not(
    tmp_path: Path, identities: dict[str, Identity]
) -> None:
    async with running_sn(tmp_path, identities["SN-1"]):
        found = await asyncio.to_thread(request_health, tmp_path)
    assert found["ready"]
    assert found["height"] >= 0
    with pytest.raises(NodeError, match="no node runs with this data directory"):
        await asyncio.to_thread(request_health, tmp_path)


async def test_only_the_node_s_user_may_request_its_health(tmp_path: Path) -> None:
    async with answering(tmp_path, lambda: {"ready": True}):
        assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) & 0o077 == 0
    assert not (tmp_path / SOCKET).exists()


async def test_the_health_socket_of_a_killed_process_is_replaced(tmp_path: Path) -> None:
    (tmp_path / SOCKET).touch()
    async with answering(tmp_path, lambda: {"ready": True}):
        assert await asyncio.to_thread(request_health, tmp_path) == {"ready": True}


async def test_the_health_socket_works_in_a_deep_data_directory(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    async with answering(deep, lambda: {"ready": True}):
        assert await asyncio.to_thread(request_health, deep) == {"ready": True}


@pytest.mark.parametrize(("facts", "status"), [({"ready": True}, 0), ({"ready": False}, 1), (None, 1)])
async def test_the_health_command_has_an_exit_status_for_scripts(
    facts: dict[str, bool] | None, status: int, tmp_path: Path
) -> None:
    command = ["health", "--data-dir", str(tmp_path)]
    if facts is None:
        assert CliRunner().invoke(app, command).exit_code == status
        return
    async with answering(tmp_path, lambda: facts):
        ran = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert ran.exit_code == status
