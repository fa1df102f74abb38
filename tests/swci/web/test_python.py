"""`swarmlearning.swci.Swci`, and the original's client, at a web mode."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from support import original_swci
from support.carried import CarryingSn
from support.operations import RUNNER
from support.serving import serving
from support.webmode import WebMode
from swarmlearning.identity.identity import Identity
from swarmlearning.node.sealing import Piece
from swarmlearning.swci import Swci, SwciError
from swarmlearning.swci.python.connection import Connection
from swarmlearning.swci.python.swci import _field
from swarmlearning.swci.python.topology import nodes_of

T = TypeVar("T")
TASK = Path(__file__).parents[2] / "data" / "swci" / "build.yaml"
PNG = b"\x89PNG\r\n\x1a\n"


def files_of(identity: Identity) -> dict[str, Any]:
    """Those of an operator, as arguments of the client."""
    authority = identity.cert_path.parent / "ca" / "capath" / "ca-1-cert.pem"
    return {
        "clientCert": str(identity.cert_path),
        "clientPKey": str(identity.key_path),
        "clientCABundle": str(authority),
    }


@pytest.fixture
def swci(web: WebMode) -> Swci:
    return Swci("127.0.0.1", web.port, **files_of(web.operator), logger=logging.getLogger("test"))


async def calling(call: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """The result of a call that waits for the web mode, which runs in this thread."""
    return await asyncio.to_thread(call, *arguments, **named)


async def test_a_task_goes_all_its_way(swci: Swci, web: WebMode) -> None:
    assert await calling(swci.uploadTaskDefintion, str(TASK)) == "File uploaded : build.yaml"
    assert await calling(swci.registerTask, "build.yaml")
    name = next(each for each in await calling(swci.listTasks) if each not in ("ROOTTASK", "build", "run"))
    assert "FINALIZED : True" in await calling(swci.getTaskInfo, name)
    assert await calling(swci.assignTask, name, RUNNER, 1) == [f"TASK ASSIGNED : {name} TO {RUNNER}"]
    assert not await calling(swci.isTaskDone, RUNNER)
    web.operations.carry_out("swop-1")
    assert await calling(swci.isTaskDone, RUNNER)
    assert "STATUS : COMPLETE" in await calling(swci.getTaskRunnerPeerStatus, RUNNER, 0)
    assert await calling(swci.resetTaskRunner, RUNNER) == [f"TASKRUNNER RESET : {RUNNER}"]


async def test_execute_task_waits_until_it_is_complete_and_resets(
    swci: Swci, web: WebMode, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = []

    def carry_out(seconds: float) -> None:
        waits.append(seconds)
        web.operations.carry_out(f"swop-{len(waits)}")

    monkeypatch.setattr("swarmlearning.swci.python.swci.sleep", carry_out)
    assert await calling(swci.executeTask, "run", RUNNER, 3, pollWaitInSec=7)
    assert waits == [7, 7]
    assert web.operations.state == "IDLE"
    assert "TASK_STATE : COMPLETE" in capsys.readouterr().out


async def test_all_peers_and_targets(swci: Swci, web: WebMode) -> None:
    assert await calling(swci.assignTaskToAll, "build")
    await calling(swci.resetTaskRunner)
    assert await calling(swci.assignTaskToTarget, "build", "swop-2")
    assert web.operations.runner.assignment


async def test_the_logs_of_a_peer_are_its_lines_as_they_are(swci: Swci, web: WebMode) -> None:
    await calling(swci.assignTask, "run", RUNNER, 3)
    web.operations.carry_out("swop-1", "enrolled", "running")
    sn = CarryingSn(web.operations.ledger, Piece(b"one\n  two\n", "7:1"), signed_by="swop-1", asker="op-1")
    web.session.operator.clients = [sn]
    assert await calling(swci.getTaskRunnerPeerLogs, RUNNER, 0) == ["one", "  two"]
    await calling(swci.getTaskRunnerPeerLogs, RUNNER, "swop-1", "ML", 0)
    assert [asked.part for asked in sn.asked] == ["NODE", "ML"]
    assert await calling(swci.getTaskRunnerPeerLogs, RUNNER, 7) == []
    assert "7 is none" in swci.getErrors()


async def test_what_seldom_changes_is_asked_for_once(swci: Swci, web: WebMode, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    execute = Connection.execute

    def counted(connection: Connection, command: str) -> list[str]:
        asked.append(command)
        return execute(connection, command)

    monkeypatch.setattr(Connection, "execute", counted)
    for _ in range(2):
        await calling(swci.listTrainingContracts)
        await calling(swci.getTaskRunnerStatus)
    assert asked == ["list contracts", f"get taskrunner status {RUNNER}", f"get taskrunner status {RUNNER}"]
    await calling(swci.createTrainingContract, "mine")
    assert "mine" in await calling(swci.listTrainingContracts)


async def test_a_failure_is_an_empty_list_and_is_kept(swci: Swci) -> None:
    assert await calling(swci.getTaskInfo, "other") == []
    assert swci.getErrors().startswith("ERROR : there is no task 'other'")
    assert await calling(swci.pwd)
    assert swci.getErrors() == ""


async def test_a_state_is_read_from_its_own_field_alone(swci: Swci, web: WebMode) -> None:
    await web.upload("ERROR : no task", b"x")
    assert await calling(swci.ls) == ["ERROR : no task"]
    assert _field(["TASK NAME : TASK_STATE : COMPLETE", "TASK_STATE : RUNNING"], "TASK_STATE") == "RUNNING"


async def test_files_contexts_and_contracts(swci: Swci, web: WebMode) -> None:
    (web.folder / "taskdefs").mkdir()
    assert await calling(swci.ls) == ["taskdefs"]
    assert await calling(swci.cd, "taskdefs") == [f"Current Directory : {web.folder}/taskdefs"]
    assert await calling(swci.createContext, "d", "sn1") == ["API Server is UP!", "CONTEXT CREATED : d"]
    assert await calling(swci.createContext, "e", service="sn.example.org") == [
        "API Server is UP!",
        "CONTEXT CREATED : e",
    ]
    assert await calling(swci.switchContext, "d") == ["DEFAULT CONTEXT SET TO : d"]
    assert "API SERVER IP : sn1" in await calling(swci.getContextInfo)
    assert await calling(swci.getTrainingContractStatus)
    assert await calling(swci.getTrainingContractInfo)
    assert await calling(swci.perfData)
    assert await calling(swci.getTaskRunnerInfo)
    assert await calling(swci.getTaskBody, "build") == ["one: 1", "two: 2"]


async def test_the_topology_is_a_picture(swci: Swci) -> None:
    nodes = nodes_of(await calling(swci.listNodes))
    assert [each["NodeType"] for each in nodes] == ["SENTINEL", "SWOP", "SWOP", "SWOP"]
    picture = await calling(swci.plotTopology, attrs=["ContainerName"])
    assert picture
    assert picture.png.startswith(PNG)
    with pytest.raises(RuntimeError, match="nodes have no colour; there are NodeType"):
        swci.plotTopology(attrs=["colour"])


def test_wrong_arguments_raise_a_runtime_error(identities: dict[str, Identity]) -> None:
    files = files_of(identities["UI-1"])
    for arguments, message in (
        (("",), "SWCI IP not provided!"),
        (("host", "30306"), "SWCI Port not Integer!"),
        (("host", 30306, files["clientCert"]), "clientCert and clientPKey are missing"),
        (("host", 30306, files["clientCert"], files["clientPKey"]), "clientCABundle is missing"),
        (
            ("host", 30306, files["clientCert"], "nowhere", files["clientCABundle"]),
            "nowhere, .* for TLS",
        ),
    ):
        with pytest.raises(SwciError, match=message):
            Swci(*arguments)


@pytest.fixture
async def impostor(identities: dict[str, Identity]) -> AsyncIterator[int]:
    """The port of a node of the own organisation that serves something else."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps({}).encode()})

    async with serving(app, identities["SN-1"]) as server:
        yield server.port


async def test_the_server_is_verified_unless_told_otherwise(impostor: int, identities: dict[str, Identity]) -> None:
    files, logger = files_of(identities["UI-1"]), logging.getLogger("test")
    wary = Swci("127.0.0.1", impostor, **files, logger=logger)
    assert await calling(wary.pwd) == []
    assert "the server's certificate is not one of an SWCI" in wary.getErrors()
    stranger = {**files, "clientCABundle": str(identities["SWCI-9"].cert_path.parent / "ca/capath/ca-9-cert.pem")}
    other = Swci("127.0.0.1", impostor, **stranger, logger=logger)
    assert await calling(other.pwd) == []
    assert "CERTIFICATE_VERIFY_FAILED" in other.getErrors()
    careless = Swci("127.0.0.1", impostor, **files, logger=logger, verify=False)
    assert await calling(careless.pwd) == []
    assert careless.getErrors() == "ERROR : Command did not produce output"


def test_nothing_listening_is_a_failure_with_its_reason(identities: dict[str, Identity]) -> None:
    swci = Swci("127.0.0.1", 1, **files_of(identities["UI-1"]), logger=logging.getLogger("test"))
    assert swci.listTasks() == []
    assert swci.getErrors().startswith("ERROR : Exception occurred during POST request : SWCI at 127.0.0.1:1: ")


def test_it_is_imported_without_the_modules_of_nodes(tmp_path: Path) -> None:
    heavy = ("fastapi", "aiohttp", "cryptography", "msgspec", "numpy", "networkx", "matplotlib", "swarmlearning.ledger")
    code = f"import sys; from swarmlearning.swci import Swci; print([each for each in {heavy} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "[]\n"


def test_without_a_logger_it_logs_to_a_file_and_the_standard_error(
    tmp_path: Path, identities: dict[str, Identity]
) -> None:
    files = {name: str(Path(value).absolute()) for name, value in files_of(identities["UI-1"]).items()}
    code = f"from swarmlearning.swci import Swci; Swci('127.0.0.1', 1, **{files}).pwd()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert " : swci-web : ERROR : ERROR : Exception occurred during POST request" in done.stderr
    assert (tmp_path / "swci-web.log").read_text() == done.stderr


async def test_the_originals_client_works(web: WebMode) -> None:
    client = original_swci.Swci("127.0.0.1", web.port, web.operator.cert_path, web.operator.key_path)
    assert await calling(client.command, "create context d with ip sn1 30304") == [
        "API Server is UP!",
        "CONTEXT CREATED : d",
    ]
    assert await calling(client.command, "switch context d") == ["DEFAULT CONTEXT SET TO : d"]
    assert await calling(client.upload, TASK) == "File uploaded : build.yaml"
    task = await calling(client.register, "build.yaml")
    assert task in await calling(client.command, "list tasks")
    assert await calling(client.command, f"assign task {task} to {RUNNER} with 1 peers")
    assert await calling(client.state, RUNNER) == "ASSIGNED"
    web.operations.carry_out("swop-1")
    assert await calling(client.state, RUNNER) == "COMPLETE"
    assert await calling(client.command, f"get taskrunner peer status {RUNNER} 0")
    assert await calling(client.command, f"reset taskrunner {RUNNER}")
    assert [each["type"] for each in await calling(client.nodes)] == ["SENTINEL", "SWOP", "SWOP", "SWOP"]
    assert await calling(client.command, "get task info other") == []
    assert client.error.startswith("ERROR : there is no task 'other'")
