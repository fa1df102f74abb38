"""The pages of tasks, taskrunners, contracts, approvals and logs, over HTTP, each act with its command."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.ledgerui import LedgerUi, Visitor, ledger_ui
from support.network import session
from support.operations import CA_1, RUNNER, Operations, listening
from swarmlearning.ledger.bodies import CreateTask
from swarmlearning.ledger.contracts.tasks import task
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.swop.approvals import Approvals, Question
from swarmlearning.ui.pages import logpages
from swarmlearning.ui.pages.nodelogs import Excerpt

CONTRACT = "defaultbb.cqdb.sml.hpe"
DIGEST = "d" * 64
PAGES = ("tasks", "taskrunners", "contracts", "approvals", "logs")


@pytest.fixture
def site() -> Operations:
    made = listening()
    made.ledger.join("sl-9", "SL", CA_1)
    return made


@pytest.fixture
async def ui(tmp_path: Path, site: Operations) -> AsyncIterator[LedgerUi]:
    async with ledger_ui(tmp_path, site.ledger) as made:
        yield made


@pytest.fixture
async def operator(ui: LedgerUi) -> AsyncIterator[Visitor]:
    async with ui.visitor("operator") as made:
        yield made


@pytest.mark.parametrize("language", ["en", "de"])
async def test_every_page_is_there_with_and_without_something_on_it(
    tmp_path: Path, site: Operations, language: str
) -> None:
    site.assign("run", 0)
    site.report("swop-1", "awaiting-approval", digest=DIGEST)
    site.send("sl-9", session(1), CONTRACT)
    async with ledger_ui(tmp_path / "full", site.ledger) as ui, ui.visitor("operator", language) as visitor:
        for each in PAGES:
            await visitor.page(f"/projects/{each}")
            await visitor.data(f"/projects/{each}.json")
        assert "build" in await visitor.page("/projects/tasks/task?name=run")
        assert (await visitor.get("/projects/tasks/task?name=none")).status_code == 404
    async with ledger_ui(tmp_path / "empty", None) as ui, ui.visitor("operator", language) as visitor:
        for each in PAGES:
            await visitor.page(f"/projects/{each}")


async def test_a_task_is_executed_with_what_it_uses_emptied_first(
    operator: Visitor, site: Operations, ui: LedgerUi
) -> None:
    fields = {"task": "run", "contract": CONTRACT, "peers": "1"}
    done = await operator.does("/projects/tasks/execute", **fields)
    assert done["command"] == f"swarm taskrunner assign run {RUNNER} --peers 1"
    site.send("sl-9", session(1), CONTRACT)
    assert "is not over" in await operator.fails("/projects/tasks/execute", **fields)
    done = await operator.does("/projects/tasks/execute", **fields, forced="yes", every="yes")
    assert done["command"] == (
        f"swarm contract reset {CONTRACT} --force && swarm taskrunner reset {RUNNER} && "
        f"swarm taskrunner assign run {RUNNER} --all"
    )
    assert site.runner.serial == 2
    assert state_of(site.ledger.chain.world, CONTRACT).run == 2
    assert set(ui.feed.persons) == {"operator-en"}


async def test_a_note_is_kept_for_the_run_that_a_task_begins(operator: Visitor, site: Operations, ui: LedgerUi) -> None:
    fields = {"task": "run", "contract": CONTRACT, "peers": "1", "note": "first\r\ntry", "unlisted": "yes"}
    site.send("sl-9", session(1), CONTRACT)
    done = await operator.does("/projects/tasks/execute", **fields, forced="yes")
    assert done["command"].endswith(
        f"&& swarm experiment annotate {CONTRACT}/2 'first\ntry' && swarm experiment hide {CONTRACT}/2"
    )
    assert f"run {CONTRACT}/2 begins" in done["text"]
    (waiting,) = await ui.feed.notes.waiting()
    assert (waiting.run, waiting.text, waiting.hidden, waiting.person) == (2, "first\ntry", True, "operator-en")
    without = {**fields, "contract": ""}
    assert "Choose the training contract" in await operator.fails("/projects/tasks/execute", **without)
    target = {"task": "run", "swop": "swop-3", "contract": CONTRACT, "note": "x"}
    assert "for a new training" in await operator.fails("/projects/tasks/target", **target)
    assert "cannot stand on the ledger" in await operator.fails(
        "/projects/tasks/execute", **{**fields, "note": "\u202e"}
    )


async def test_a_targeted_task_joins_or_begins_anew(operator: Visitor, site: Operations) -> None:
    await operator.does("/projects/tasks/execute", task="run", peers="1")
    done = await operator.does("/projects/tasks/target", task="run", swop="swop-3")
    assert done["command"] == f"swarm taskrunner assign run {RUNNER} --target swop-3"
    assert site.runner.serial == 1
    await operator.does("/projects/tasks/target", task="run", swop="swop-3", anew="yes")
    assert site.runner.serial == 2


async def test_drafts_are_made_final_or_deleted_and_files_become_tasks(operator: Visitor, site: Operations) -> None:
    for name in ("one", "two"):
        site.send("op-1", CreateTask("RUN_SWARM", "a", "build", "o"), name)
    assert await operator.fails("/projects/tasks/finalize", task="one")
    await operator.does("/projects/tasks/delete", task="two")
    assert task(site.ledger.chain.world, "two") is None
    file = b"Name: made\nTaskType: MAKE_USER_CONTAINER\nAuthor: me\nPrereq: ROOTTASK\nOutcome: image\n"
    file += b"Body:\n  BuildType: INLINE\n  BuildContext: null\n  BuildSteps: [FROM python:3.11]\n"
    done = await operator.does("/projects/tasks/create", files=[("file", ("made.yaml", file))])
    assert (done["text"], done["command"]) == (
        "On the ledger, final: made.",
        "swarm task create made.yaml && swarm task finalize made",
    )
    wrong = [("file", ("made.yaml", file.replace(b"INLINE", b"REMOTE")))]
    assert "made.yaml:7:14: Body.BuildType" in await operator.fails("/projects/tasks/create", files=wrong)


async def test_taskrunners_are_created_aborted_and_reset(operator: Visitor, site: Operations) -> None:
    site.assign("run", 1)
    acts = [("create", "mine"), ("abort", RUNNER), ("reset", RUNNER)]
    commands = [(await operator.does(f"/projects/taskrunners/{act}", name=name))["command"] for act, name in acts]
    assert commands == [f"swarm taskrunner {act} {name}" for act, name in acts]
    assert site.state == "IDLE"
    assert "is idle" in await operator.fails("/projects/taskrunners/abort", name=RUNNER)


async def test_contracts_are_created_changed_stopped_and_reset(operator: Visitor, site: Operations) -> None:
    done = await operator.does(
        "/projects/contracts/create",
        name="study",
        member=["org-1", "org-2"],
        observer=["org-2"],
        observers_read_results="yes",
        min_peers="2",
        merge_method="mean",
        weights="samples",
        max_organisation_weight="0.5",
        outer_optimizer="nesterov",
        transfer="int4",
        transfer_back="int8",
    )
    assert done["command"] == (
        "swarm contract create study --member org-1 --member org-2 --observer org-2 --observers-read-results "
        "--weights samples --max-organisation-weight 0.5 --merge-method mean --min-peers 2 "
        "--transfer int4 --transfer-back int8 --outer-optimizer 'nesterov 0.7 0.9'"
    )
    done = await operator.does("/projects/contracts/change", name="study", without=["org-2"], results="no")
    assert done["command"] == "swarm contract change study --without org-2 --no-observers-read-results"
    site.send("sl-9", session(1), CONTRACT)
    assert (await operator.does("/projects/contracts/stop", name=CONTRACT))["kind"] in ("done", "waits")
    assert "is not over" in await operator.fails("/projects/contracts/reset", name=CONTRACT)
    assert "no number" in await operator.fails("/projects/contracts/create", name="x", max_organisation_weight="half")
    assert "nesterov or adam" in await operator.fails("/projects/contracts/create", name="x", outer_optimizer="lion")


async def test_a_question_is_answered_where_its_swop_runs(
    operator: Visitor, site: Operations, ui: LedgerUi, tmp_path: Path
) -> None:
    site.assign("run", 0)
    site.report("swop-1", "awaiting-approval", digest=DIGEST)
    command = f"swarm swop approve {DIGEST} --data-dir DIRECTORY"
    assert command in await operator.page("/projects/approvals")
    await operator.does("/projects/create", name="mnist")
    await operator.does("/projects/mnist/nodes/host", host="here", address="10.0.0.1", root=str(tmp_path / "opt"))
    await operator.does("/projects/mnist/nodes/add", node="SWOP-1", kind="swop", host="here")
    folder = tmp_path / "opt" / "projects" / "mnist" / "nodes" / "swop-1"
    fields = {"digest": DIGEST, "folder": str(folder), "said": "approve"}
    assert "does not run on this machine" in await operator.fails("/projects/approvals/answer", **fields)
    Approvals(folder).ask(Question(DIGEST, RUNNER, "run", "RUN_SWARM", "org-1", ("its folder is new",), ("Name: run",)))
    page = await operator.page("/projects/approvals")
    assert "its folder is new" in page
    assert command not in page
    done = await operator.does("/projects/approvals/answer", **fields)
    assert done["command"] == f"swarm swop approve {DIGEST} --data-dir {folder}"
    assert Approvals(folder).answers().approved == {DIGEST}


async def test_a_log_is_shown_followed_or_withheld(operator: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, bool]] = []
    answers = [
        Excerpt("one <b>\n", "12~"),
        Excerpt("two\n", "16~"),
        Excerpt(withheld="node sl-9 answers: not for org-1"),
        Excerpt(fault="it is not connected"),
    ]

    async def read(_: object, source: Any, cursor: str, *, wait: bool) -> Excerpt:
        asked.append((source.node, cursor, wait))
        return answers.pop(0)

    monkeypatch.setattr(logpages, "read", read)
    page = await operator.page("/projects/logs?node=sl-9")
    assert "one &lt;b&gt;" in page
    assert "swarm logs sl-9 --follow" in page
    assert (await operator.data("/projects/logs/more?node=sl-9&cursor=12~"))["text"] == "two\n"
    page = await operator.page("/projects/logs?node=sl-9")
    assert "The site does not give this log" in page
    assert "not for org-1" in page
    assert "it is not connected" in await operator.page("/projects/logs?node=sl-9")
    assert asked == [("sl-9", "", False), ("sl-9", "12~", True), ("sl-9", "", False), ("sl-9", "", False)]
    assert (await operator.get("/projects/logs/more?node=none&cursor=")).status_code == 404
    assert (await operator.get("/projects/logs/more?node=sl-9&cursor=../x")).status_code == 422


async def test_an_observer_s_ui_shows_everything_and_acts_on_nothing(ui: LedgerUi, operator: Visitor) -> None:
    ui.feed.certified = "OBSERVER"
    assert "/projects/tasks/execute" not in await operator.page("/projects/tasks")
    message = await operator.fails("/projects/tasks/execute", task="run", peers="1")
    assert message.startswith("The UI's certificate is for the role OBSERVER")
    assert (await operator.fails("/projects/taskrunners/create", name="x")).startswith("The UI's certificate")


async def test_a_viewer_acts_on_nothing(ui: LedgerUi) -> None:
    async with ui.visitor("viewer") as viewer:
        assert "/projects/tasks/execute" not in await viewer.page("/projects/tasks")
        for path in ("tasks/execute", "tasks/target", "taskrunners/reset", "contracts/create", "approvals/answer"):
            assert (await viewer.post(f"/projects/{path}", name="x")).status_code == 403
        assert (await viewer.get("/projects/logs")).status_code == 403
