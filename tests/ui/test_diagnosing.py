"""Diagnostics of a swarm of real processes: examined, its round explained, its logs collected, from the browser."""

import json
import tarfile
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from support.browser import LAPTOP, Chromium, View, barriers, overflows
from support.certs import make_workspace
from support.processes import Process, Processes
from support.swarm import Gate, Swarm, has_models
from support.ui import ADMIN, PASSWORD, Person, Ui, start_ui

if TYPE_CHECKING:
    from playwright.sync_api import Page

HELD = "site-2"


class Stage:
    """A training of two sites that waits for the second one, and a UI; `late` is that site."""

    def __init__(self, swarm: Swarm, ui: Ui, late: Process) -> None:
        self.swarm = swarm
        self.ui = ui
        self.late = late


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    gate = Gate(folder / "gate")
    with Processes(folder) as processes:
        processes.variables["SWARM_VITALS"] = "false"  # this machine's disk may be nearly full
        identities = make_workspace(folder / "cert", ["SN-1", "SL-1", "SL-2", "UI-1"])
        swarm = Swarm(processes, folder, identities)
        swarm.start_sn()
        ui = start_ui(processes, folder / "ui", identities["UI-1"], swarm.address)
        ml = ("--rounds", "3", "--min-peers", "2")
        swarm.start_sl(1, *ml)
        late = swarm.start_sl(2, *ml, "--hold-at", "1", "--gate", str(gate.path))
        swarm.until(has_models(1, 1))
        with ui.admin() as person:
            person.until("/diagnostics.json", lambda it: len(it["nodes"]) == 3 and bool(it["rounds"]), "ledger,status")
        yield Stage(swarm, ui, late)
        gate.close()


def examined(person: Person) -> Any:
    """What a new examination finds."""
    begun = person.data("/diagnostics.json")["examined"]
    person.page("/diagnostics")
    assert person.act("/diagnostics/examine").headers["location"] == "/diagnostics"
    return person.until("/diagnostics.json", lambda it: it["examining"] is None and it["examined"] != begun, "jobs")


def collected(person: Person, **form: Any) -> Any:
    """The job that a new collection is, once it has ended."""
    person.page("/diagnostics")
    answer = person.act("/diagnostics/collect", **form)
    assert answer.status_code == 303, answer.text
    return person.until(f"{answer.headers['location']}.json", lambda it: it["job"]["state"] != "running", "jobs")["job"]


def contents(data: bytes) -> dict[str, str]:
    """The files of an archive below its root."""
    with tarfile.open(fileobj=BytesIO(data)) as tar:
        read = {each.name: tar.extractfile(each) for each in tar}
        return {name.partition("/")[2]: file.read().decode() for name, file in read.items() if file is not None}


def test_a_healthy_network_is_examined_and_a_held_round_explained(stage: Stage) -> None:
    with stage.ui.admin() as person:
        before = person.data("/diagnostics.json")["rounds"][0]
        assert HELD in before["headline"]
        assert before["asked"] is False
        data = examined(person)
        while "3 nodes have answered for themselves" not in data["examined"]["fine"]:  # on a machine under heavy load
            data = examined(person)
        assert data["examined"]["by"] == ADMIN
        assert [each["code"] for each in data["examined"]["wrong"]] == []
        assert {cell for row in data["matrix"]["rows"] for cell in row["cells"]} <= {"ok", ""}
        assert data["rounds"][0]["asked"] is True
        page = person.page("/diagnostics").text
        assert "Nothing wrong found." in page
        assert "swarm doctor" in page


def test_all_logs_are_collected_into_one_archive_without_secrets(stage: Stage) -> None:
    with stage.ui.admin() as person:
        job = collected(person, since="hour", mb="1")
        assert job["state"] == "done", job
        (archive,) = person.data("/diagnostics.json")["archives"]
        assert archive["name"].startswith("Swarm_Diag_")
        answer = person.get(f"/diagnostics/archives/{archive['name']}")
        assert answer.headers["content-disposition"] == f'attachment; filename="{archive["name"]}"'
        found = contents(answer.content)
        nodes = {name.split("/")[1] for name in found if name.startswith("nodes/")}
        assert len(nodes) == 3
        for node in nodes:
            assert f"nodes/{node}/node.log" in found
            assert json.loads(found[f"nodes/{node}/report.json"])["versions"]["swarmlearning"]
        assert "Open" in found["ledger/blocks.txt"]
        assert "ui/ui.log" in found
        assert json.loads(found["summary.json"])["sources"][0]["type"] == "SN"
        assert "<script" not in found["index.html"]
        assert PASSWORD not in "".join(found.values())
        assert "PRIVATE KEY-----\n" not in "".join(found.values())
        only = collected(person, node=[person.data("/diagnostics.json")["nodes"][0]["uid"]])
        assert len(only["hosts"]) == 2
        names = [each["name"] for each in person.data("/diagnostics.json")["archives"]]
        assert len(names) == 2
        for name in names:
            assert person.act("/diagnostics/archives/remove", name=name).status_code == 303
        assert person.data("/diagnostics.json")["archives"] == []
        assert person.get(f"/diagnostics/archives/{names[0]}").status_code == 404


def test_a_site_that_hangs_is_found_and_a_collection_that_waits_for_it_ends_on_request(stage: Stage) -> None:
    stage.late.freeze()
    try:
        with stage.ui.admin() as person:
            data = examined(person)
            assert data["examined"]["wrong"], data["examined"]
            assert HELD in json.dumps(data["examined"]["wrong"][0])
            assert data["examined"]["wrong"][0]["remedy"]
            assert any(cell not in ("ok", "") for row in data["matrix"]["rows"] for cell in row["cells"])
            answer = person.act("/diagnostics/collect")
            job = answer.headers["location"]
            assert person.act("/diagnostics/collect").status_code == 303  # one at a time: told as what has failed
            assert person.data("/diagnostics.json")["collecting"] is not None
            assert person.act(f"{job}/cancel").status_code == 303
            ended = person.until(f"{job}.json", lambda it: it["job"]["state"] != "running", "jobs")["job"]
            assert ended["state"] == "cancelled"
            assert person.data("/diagnostics.json")["archives"] == []
            folder = stage.swarm.directory / "ui" / "diagnostics"
            assert [each.name for each in folder.iterdir()] == []
    finally:
        stage.late.thaw()


def test_the_page_in_a_browser(stage: Stage, chromium: Chromium) -> None:
    def story(page: "Page", heading: str, button: str) -> tuple[list[str], int]:
        page.goto(stage.ui.address + "diagnostics")
        page.locator("input[name=name]").fill(ADMIN)
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("main button").first.click()
        page.get_by_role("heading", name=heading, exact=True).wait_for()
        page.get_by_role("button", name=button).click()
        page.locator("#ways table").wait_for()
        page.locator("#examination progress").wait_for(state="detached")
        chromium.shoot(page, f"diagnostics-{heading}-{page.viewport_size['width'] if page.viewport_size else 0}")
        return barriers(page), overflows(page)

    laptop, phone = LAPTOP, View(390, 844, "dark", "de-DE")
    english = partial(story, heading="Diagnostics", button="Examine now")
    assert chromium.run(english, laptop, ignore_https_errors=True) == ([], 0)
    german = partial(story, heading="Diagnose", button="Jetzt untersuchen")
    assert chromium.run(german, phone, ignore_https_errors=True) == ([], 0)
