"""An image registry for tests: Debian's `docker-registry`."""

import json
import socket
import time
from contextlib import suppress
from pathlib import Path

from support.ports import fixed_port
from support.processes import Processes
from swarmlearning.address import split
from swarmlearning.pauses import Pauses

USERS = "site:$2b$04$pmSUfdbMmyO4BDOhcofKFeknZzMq9PDZN4e74bvOrq6eF9CnqhKty\n"
"""The registry's user `site`, whose password is `secret`."""


def start_registry(processes: Processes, folder: Path, *, closed: bool = False) -> str:
    """Starts one; a closed one asks for a login. Returns its address."""
    address = f"127.0.0.1:{fixed_port()}"
    settings: dict[str, object] = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
        "http": {"addr": address},
    }
    if closed:
        (folder / "users").write_text(USERS)
        settings["auth"] = {"htpasswd": {"realm": "swarm", "path": str(folder / "users")}}
    (folder / "registry.yml").write_text(json.dumps(settings))
    server = processes.start("registry", "docker-registry", "serve", folder / "registry.yml")
    pauses = Pauses(0.01, 0.2)
    while server.running:
        with suppress(ConnectionRefusedError), socket.create_connection(split(address), 10):
            return address
        time.sleep(pauses.next())
    raise AssertionError(server.output)
