"""`swarm swci` in the mode WEB as a process: first the script, then the web server."""

import asyncio
import re
import signal
import subprocess
from pathlib import Path

import aiohttp
import pytest

from support.local_sn import running_sn
from support.processes import COMMAND, Processes
from support.swarm import identity_options
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context

SECONDS = 60.0


def words(tmp_path: Path, identity: Identity) -> list[str | Path]:
    options = {"data-dir": tmp_path / "home", "bind-ip": "127.0.0.1", **identity_options(identity)}
    return [*COMMAND, "swci", *(word for name, value in options.items() for word in (f"--{name}", value))]


async def test_the_script_runs_first_and_its_context_is_that_of_web_clients(
    tmp_path: Path, identities: dict[str, Identity]
) -> None:
    folder = tmp_path / "usr"
    folder.mkdir()
    async with running_sn(tmp_path / "sn", identities["SN-1"]) as facts:
        port = facts["api"].rpartition(":")[2]
        (folder / "swci-init").write_text(f"CREATE CONTEXT c WITH IP 127.0.0.1 {port}\nSWITCH CONTEXT c\n")
        started = await asyncio.create_subprocess_exec(
            *words(tmp_path, identities["SWCI-1"]),
            "--usr-dir",
            folder,
            env={"SWCI_MODE": "WEB", "SWCI_WEB_PORT": "0", "PATH": "/usr/bin"},
            stdout=subprocess.PIPE,
        )
        assert started.stdout
        shown = ""
        async with asyncio.timeout(SECONDS):
            while (found := re.search(r"Web mode : https port (\d+)\n", shown)) is None:
                line = await started.stdout.readline()
                assert line, shown
                shown += line.decode()
        connector = aiohttp.TCPConnector(ssl=client_context(identities["UI-1"]))
        async with (
            aiohttp.ClientSession(connector=connector) as client,
            client.post(f"https://127.0.0.1:{found[1]}/exec", params={"cmd": "create contract mine"}) as answer,
        ):
            assert await answer.json() == {"CONTENT": ["CONTRACT CREATED : mine"]}
        started.send_signal(signal.SIGTERM)
        async with asyncio.timeout(SECONDS):
            assert await started.wait() == 0
    assert "DEFAULT CONTEXT SET TO : c" in shown


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SWCI_MODE": "WEB"}, "SWCI_MODE=WEB: clients upload files to the user directory: give --usr-dir"),
        ({"SWCI_MODE": "WEB", "SWCI_WEB_PORT": "70000"}, "SWCI_WEB_PORT=70000"),
    ],
)
def test_settings_that_cannot_be_end_with_one_message(
    tmp_path: Path, identities: dict[str, Identity], environment: dict[str, str], message: str
) -> None:
    with Processes(tmp_path) as processes:
        done = processes.start("swci", *words(tmp_path, identities["SWCI-1"]), environment=environment)
        assert done.wait(SECONDS) == 1
        assert message in done.output
