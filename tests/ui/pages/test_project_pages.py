"""The pages of projects, over HTTP: files in, checks shown, tasks onto the ledger, and a plan."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.ledgerui import LedgerUi, Visitor, ledger_ui
from support.operations import Operations, listening
from swarmlearning.ledger.contracts.tasks import task

PROFILE = (Path(__file__).parents[2] / "data" / "operate" / "profiles" / "process.yaml").read_bytes()
TASK = b"""\
Name: train
TaskType: RUN_SWARM
Author: me
Prereq: build
Outcome: train
Body:
  Command: <PROJECT-MODEL>/train.py
  Entrypoint: python3
  WorkingDir: /tmp/test
  Envvars: null
  PrivateContent: null
  SharedContent: null
"""


@pytest.fixture
def site() -> Operations:
    return listening()


@pytest.fixture
async def ui(tmp_path: Path, site: Operations) -> AsyncIterator[LedgerUi]:
    async with ledger_ui(tmp_path, site.ledger) as made:
        yield made


@pytest.fixture
async def operator(ui: LedgerUi) -> AsyncIterator[Visitor]:
    async with ui.visitor("operator") as made:
        await made.does("/projects/create", name="mnist", description="Digits <script>")
        yield made


async def upload(visitor: Visitor, kind: str, name: str, data: bytes) -> str:
    done = await visitor.does("/projects/mnist/upload", files=[("files", (name, data))], kind=kind)
    return str(done["text"])


async def test_a_project_from_nothing_to_a_plan(operator: Visitor, site: Operations) -> None:
    assert "Digits &lt;script&gt;" in await operator.page("/projects")
    assert "No files yet" in await operator.page("/projects/mnist")
    assert await upload(operator, "task", "run.yaml", TASK) == "Stored: tasks/run.yaml"
    await upload(operator, "profile", "p.yaml", PROFILE)
    await upload(operator, "model", "train.py", b"print(1)\n")
    rows = {each["checked"]["path"]: each for each in (await operator.data("/projects/mnist.json"))["files"]}
    assert rows["tasks/run.yaml"]["ledger"] == "new"
    assert not rows["tasks/run.yaml"]["checked"]["faults"]
    await operator.does("/projects/mnist/nodes/host", host="north", address="10.0.0.1", root="/opt/swarm")
    done = await operator.does("/projects/mnist/establish", path="tasks/run.yaml")
    assert done["command"] == "swarm task create tasks/run.yaml && swarm task finalize train"
    made = task(site.ledger.chain.world, "train")
    assert made is not None
    assert made.final
    assert any("/opt/swarm/projects/mnist/model/train.py" in line for line in made.lines)
    await operator.does("/projects/mnist/nodes/add", node="SN-1", kind="sn", host="north", founds="yes")
    await operator.does(
        "/projects/mnist/nodes/add", node="SWOP-1", kind="swop", host="north", profile="profiles/p.yaml"
    )
    found = await operator.data("/projects/mnist/nodes.json")
    contents = [(each["text"], each["replaced"]) for each in found["plan"]["files"]]
    assert contents, "the plan has files"
    assert set(map(str, contents)) == {"(None, [])"}, "what is in files is for operators, and this page for all"
    assert found["plan"]["tasks"] == {}
    assert [each["name"] for each in found["plan"]["nodes"]] == ["SN-1", "SWOP-1"]
    assert "swarm sn --host-ip 10.0.0.1 --sentinel" in await operator.page("/projects/mnist/nodes")
    assert found["nodes"][0]["state"] == "alive"  # the ledger has a node of this name


async def test_a_fault_is_shown_with_its_place_and_a_file_as_its_host_gets_it(operator: Visitor) -> None:
    await upload(operator, "task", "run.yaml", TASK.replace(b"RUN_SWARM", b"RUN_SWARMS"))
    page = await operator.page("/projects/mnist")
    assert "line 2, column 11" in page
    assert "did you mean RUN_SWARM?" in page
    await upload(operator, "task", "run.yaml", TASK)
    await operator.does("/projects/mnist/nodes/host", host="north", address="10.0.0.1", root="/opt/swarm")
    page = await operator.page("/projects/mnist/file?path=tasks/run.yaml&host=north")
    assert "Command: /opt/swarm/projects/mnist/model/train.py" in page
    assert "Command: &lt;PROJECT-MODEL&gt;/train.py" in await operator.page("/projects/mnist/file?path=tasks/run.yaml")
    await upload(operator, "model", "weights.bin", bytes(1000))
    assert "This is no text" in await operator.page("/projects/mnist/file?path=model/weights.bin")


async def test_macros_get_values_and_lose_them(operator: Visitor) -> None:
    await upload(operator, "task", "run.yaml", TASK.replace(b"/tmp/test", b"<WORKING-DIR>"))
    assert "has no value yet" in await operator.page("/projects/mnist")
    await operator.does("/projects/mnist/macro", macro="<WORKING-DIR>", value="/tmp/test")
    assert "has no value yet" not in await operator.page("/projects/mnist")
    await operator.does("/projects/mnist/macro", macro="<WORKING-DIR>", value="")
    assert "has no value yet" in await operator.page("/projects/mnist")
    assert "cannot be its value" in await operator.fails("/projects/mnist/macro", macro="<DNS>", value="a: b")


@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        ("/projects/create", {"name": "a/b"}, "cannot name a project"),
        ("/projects/create", {"name": "mnist"}, "there is a project mnist already"),
        ("/projects/mnist/remove", {"again": "other"}, "Type mnist to confirm"),
        ("/projects/none/remove", {"again": "none"}, "there is no project none"),
        ("/projects/mnist/drop", {"path": "../../etc/passwd"}, "has no file"),
        ("/projects/mnist/establish", {"path": "README.md"}, "is no task file"),
        ("/projects/mnist/nodes/add", {"node": "SL-1", "kind": "sn", "host": "x"}, "begins with SN-"),
        ("/projects/mnist/nodes/add", {"node": "SL-1", "kind": "sl", "host": "x", "script": "'"}, "quotation mark"),
        ("/projects/mnist/nodes/host", {"host": "a", "address": "0.0.0.0", "root": "/opt"}, "stands for all addresses"),
    ],
)
async def test_what_cannot_be_done_says_why(operator: Visitor, path: str, fields: dict[str, str], message: str) -> None:
    assert message in await operator.fails(path, **fields)


async def test_a_private_key_is_refused(operator: Visitor) -> None:
    files = [("files", ("sl-1.pem", b"-----BEGIN EC PRIVATE KEY-----\n"))]
    assert "private key" in await operator.fails("/projects/mnist/upload", files=files, kind="certificate")
    assert (await operator.data("/projects/mnist.json"))["files"] == []


async def test_files_hosts_nodes_and_projects_are_removed(operator: Visitor) -> None:
    await upload(operator, "model", "a.py", b"")
    await operator.does("/projects/mnist/drop", path="model/a.py")
    await operator.does("/projects/mnist/nodes/host", host="north", address="10.0.0.1", root="/opt/swarm")
    await operator.does("/projects/mnist/nodes/add", node="SN-1", kind="sn", host="north", founds="yes")
    assert "still has nodes" in await operator.fails("/projects/mnist/nodes/host/remove", host="north")
    await operator.does("/projects/mnist/nodes/remove", node="SN-1")
    await operator.does("/projects/mnist/nodes/host/remove", host="north")
    await operator.does("/projects/mnist/remove", again="mnist")
    assert (await operator.data("/projects.json"))["projects"] == []
    answer = await operator.get("/projects/mnist")
    assert answer.status_code != 200
    assert "there is no project mnist" in answer.text


async def test_a_viewer_sees_projects_and_changes_nothing(ui: LedgerUi, operator: Visitor) -> None:
    async with ui.visitor("viewer", "de") as viewer:
        page = await viewer.page("/projects/mnist")
        assert "Dateien" in page
        assert "/upload" not in page
        assert (await viewer.get("/projects/mnist/file?path=README.md")).status_code == 403
        for path in ("/projects/create", "/projects/mnist/upload", "/projects/mnist/nodes/add", "/projects/mnist/drop"):
            assert (await viewer.post(path, name="x")).status_code == 403
