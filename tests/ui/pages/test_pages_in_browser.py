"""The pages of trainings, runs, projects and organisations in Chromium: none keeps people out by axe's judgement, is
wider than its window, or complains; in the light and the dark, on a laptop and a phone, in both languages."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from support.browser import LAPTOP, PHONE, Chromium, View, barriers, overflows
from support.network import session
from support.operations import CA_1, Operations, listening
from support.uirecords import recorder_of
from support.uiserver import ServedUi, served_ui
from swarmlearning.ledger.bodies import (
    AnnotateRun,
    Contribution,
    CreateContract,
    Pair,
    Publish,
    Receipt,
    ReportPerformance,
    SetPolicy,
    Submit,
    TagRun,
)
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.ui.projects.folder import Projects
from swarmlearning.ui.projects.settings import HostPlace, ProjectNode

if TYPE_CHECKING:
    from playwright.sync_api import Page

CONTRACT = "defaultbb.cqdb.sml.hpe"
RUN = f"{CONTRACT}/1"
PATHS = (
    *("/training", f"/training/{CONTRACT}", "/experiments", f"/experiments/{RUN}", f"/experiments/compare?run={RUN}"),
    *("/projects", "/projects/mnist", "/projects/mnist/nodes", "/projects/mnist/deploy"),
    "/projects/mnist/file?path=tasks/run.yaml&host=north",
    *("/projects/tasks", "/projects/taskrunners", "/projects/contracts", "/projects/approvals", "/projects/logs"),
    "/organisations",
)
TASK = b"Name: run\nTaskType: RUN\nBody: {Src: <PROJECT-MODEL>/a/long/path/that/no/phone/has/room/for/in/a/line}\n"
MODEL = b"import swarmlearning\n"


def site() -> Operations:
    """A ledger on which something of everything is under way."""
    made = listening()
    for uid in ("sl-8", "sl-9"):
        made.ledger.join(uid, "SL", CA_1)
    made.assign("run", 2)
    made.report("swop-1", "enrolled")
    made.report("swop-1", "running", pairs=(Pair(0, "sl-9", "running"),))
    made.report("swop-3", "awaiting-approval", digest="e" * 64)
    for uid in ("sl-8", "sl-9"):
        made.send(uid, session(2, epochs=6), CONTRACT)
    for number in range(4):
        _round(made, number)
    made.send("op-1", AnnotateRun(1, "With the new scanner.\nOnly images of 2025."), CONTRACT)
    made.send("op-1", TagRun(1, ("pilot", "abdomen")), CONTRACT)
    made.send("op-1", CreateContract(members=("org-1", "org-2")), "study")
    made.send("op-1", SetPolicy("create-contract", "majority"), network.CONTRACT)
    return made


def _round(made: Operations, number: int) -> None:
    """Both sites train and report; `sl-8` is the slower learner."""
    state = state_of(made.ledger.chain.world, CONTRACT)
    current = state.round
    assert current is not None
    for uid in ("sl-8", "sl-9"):
        made.send(uid, Submit(number, current.base, "trained", uid[-1] * 64, 1, 1), CONTRACT)
    parts = tuple(
        Contribution(uid, uid[-1] * 64, 1, 1, distance=far / (number + 1), cosine=0.9)
        for uid, far in (("sl-8", 0.8), ("sl-9", 0.2))
    )
    made.ledger.clock += 90_000
    made.send(current.leader, Publish(number, current.term, f"{number:064x}", 1, Receipt("mean", parts, ())), CONTRACT)
    for uid, loss in (("sl-8", 0.9), ("sl-9", 0.7)):
        measured = ReportPerformance(number, loss / (number + 1), 1 - loss / (number + 2), number + 1, 6)
        made.send(uid, measured, CONTRACT)


def project(folder: Path) -> None:
    """A project with files, hosts and nodes in the data folder of a UI."""
    projects = Projects(folder / "projects")
    projects.create("mnist", "alice", "Digits")
    projects.put("mnist", "task", "run.yaml", io.BytesIO(TASK))
    projects.put("mnist", "model", "train.py", io.BytesIO(MODEL))
    nodes = (
        ProjectNode("SN-1", "sn", "north", founds=True),
        ProjectNode("SL-1", "sl", "south", script=("python3", "<PROJECT-MODEL>/train.py")),
    )
    hosts = (HostPlace("north", "10.0.0.1", "/opt/swarm"), HostPlace("south", "10.0.0.2", "/opt/swarm"))
    projects.alter("mnist", lambda known: msgspec.structs.replace(known, hosts=hosts, nodes=nodes))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedUi]:
    folder, made = tmp_path_factory.mktemp("ui"), site()
    project(folder)
    with served_ui(folder, made.ledger, recorder_of(made.ledger)) as ui:
        yield ui


@pytest.mark.parametrize(
    "view",
    [LAPTOP, PHONE._replace(scheme="dark", language="de-DE")],
    ids=["laptop", "phone-dark-german"],
)
def test_pages_keep_nobody_out_and_fit_their_window(served: ServedUi, chromium: Chromium, view: View) -> None:
    def story(page: "Page") -> dict[str, object]:
        page.context.add_cookies(served.cookies())
        found: dict[str, object] = {}
        for path in PATHS:
            page.goto(f"{served.address}{path}", wait_until="domcontentloaded")
            for chart in page.locator("swarm-lines, swarm-matrix").all():
                chart.locator("canvas").first.wait_for()
            wide = overflows(page)
            chromium.shoot(page, f"{path.partition('?')[0].strip('/').replace('/', '-')}-{view.width}")
            if barred := [*barriers(page), *([f"wider by {wide} px"] if wide else [])]:
                found[path] = barred
        return found

    assert chromium.run(story, view) == {}
