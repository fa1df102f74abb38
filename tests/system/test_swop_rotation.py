"""The certificates of a SWOP and of SWCI's web mode are replaced while a task runs: both go on, as the same nodes."""

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp

from support.certs import make_workspace, with_key
from support.ports import fixed_port
from support.processes import COMMAND, Process, Processes
from support.swarm import PAUSE, SECONDS, Gate, Swarm, identity_options, run
from support.swops import only, operations, script
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, peer_certificate
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network

NODES = ["SN-1", "SL-1", "SWOP-1", "SWCI-1", "SWCI-2"]
WEB = "SWCI-2"


def web_mode(swarm: Swarm, port: int) -> Process:
    """SWCI, which serves operators on this port once its script has run."""
    folder = swarm.directory / "usr"
    folder.mkdir()
    (folder / "swci-init").write_text(f"CREATE CONTEXT c WITH IP 127.0.0.1 {swarm.port}\nSWITCH CONTEXT c\n")
    options = {"usr-dir": folder, "data-dir": swarm.directory / "swci", **identity_options(swarm.identities[WEB])}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    started = swarm.processes.start(
        "SWCI", *COMMAND, "swci", *words, environment={"SWCI_MODE": "WEB", "SWCI_WEB_PORT": str(port)}
    )
    until(lambda: "Web mode : https port" in started.output, started)
    return started


def until(reached: Callable[[], bool], process: Process) -> None:
    deadline = time.monotonic() + SECONDS
    while not reached():
        assert process.running, process.output
        assert time.monotonic() < deadline, process.output
        time.sleep(PAUSE)


def execute(port: int, operator: Identity, command: str) -> str:
    """What the web mode shows for a command."""

    async def ask() -> str:
        connector = aiohttp.TCPConnector(ssl=client_context(operator))
        url = f"https://127.0.0.1:{port}/exec"
        async with (
            aiohttp.ClientSession(connector=connector) as client,
            client.post(url, params={"cmd": command}) as answer,
        ):
            assert answer.status == 200, await answer.text()
            return "\n".join((await answer.json())["CONTENT"])

    return run(ask())


def shown(port: int, operator: Identity) -> str:
    """The thumbprint of the certificate that the web mode shows."""
    with (
        socket.create_connection(("127.0.0.1", port), SECONDS) as connection,
        client_context(operator).wrap_socket(connection) as tls,
    ):
        return thumbprint(peer_certificate(tls))


def test_a_swop_at_work_and_the_web_mode_go_over_to_new_certificates_and_keys(
    processes: Processes, tmp_path: Path, gate: Gate
) -> None:
    folder = tmp_path / "cert"
    swarm = Swarm(processes, tmp_path, make_workspace(folder, NODES))
    assert swarm.start_sn().ready
    with operations(swarm) as ops:
        swop = ops.start("SWOP-1", ["SL-1"])
        port = fixed_port()
        web = web_mode(swarm, port)
        operator = swarm.identities["SWCI-1"]
        execute(port, operator, "CREATE CONTRACT before")  # so SWCI is a node
        hold = ("--rounds", "2", "--hold-at", "1", "--gate", str(gate.path), "--min-peers", "1")
        ops.task("train", script(*hold, working_dir=tmp_path))
        ops.assign("train", 1)
        swarm.until(lambda training: training.rounds == 1)
        for kind in ("ed25519", "rsa"):
            new = {name: with_key(folder, name, kind) for name in ("SWOP-1", WEB)}
            for process in (swop, web):
                os.kill(process.pid, signal.SIGHUP)
            wanted = {each.thumbprint for each in new.values()}

            def registered(chain: Chain, wanted: set[str] = wanted) -> bool:
                return wanted <= {known.certificate for known in network.nodes(chain.world)}

            swarm.until_chain(registered)
            assert shown(port, operator) == new[WEB].thumbprint
            execute(port, operator, f"CREATE CONTRACT {kind}")
        gate.let()
        done = ops.over(1)
        assert (done.state, only(done).uid, only(done).attempt) == ("COMPLETE", swop.ready["uid"], 1)
        contracts = execute(port, operator, "LIST CONTRACTS")
        assert all(name in contracts for name in ("before", "ed25519", "rsa"))
        assert swop.running
        assert web.running
        known = {each.name: each.incarnation for each in network.nodes(swarm.chain().world)}
        assert {name: known[name] for name in ("SN-1", "SWOP-1", "SL-1", WEB)} == {
            "SN-1": 1,
            "SWOP-1": 1,
            "SL-1": 1,
            WEB: 1,
        }
