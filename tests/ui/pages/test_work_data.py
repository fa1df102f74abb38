"""What pages show of tasks, taskrunners, contracts and approvals, and which acts they offer."""

from pathlib import Path

from support.network import session
from support.operations import CA_1, RUNNER, listening
from swarmlearning.ledger.bodies import AbortTaskrunner, CreateContract, CreateTask, Pair
from swarmlearning.ledger.world import World
from swarmlearning.swop.approvals import Approvals, Question
from swarmlearning.ui.pages.approvals import answer, questions, waiting_view
from swarmlearning.ui.pages.nodelogs import chosen, command_of, log_sources
from swarmlearning.ui.pages.tasks import Choice, work_view

CONTRACT = "defaultbb.cqdb.sml.hpe"
DIGEST = "d" * 64


def test_an_empty_ledger_has_nothing_to_show() -> None:
    found = work_view(World())
    assert (found.tasks, found.taskrunners, found.contracts, found.swops) == ([], [], [], [])


def test_final_tasks_run_and_drafts_can_be_deleted() -> None:
    site = listening()
    site.send("op-1", CreateTask("RUN_SWARM", "a", "build", "o"), "draft")
    rows = {each.id: each for each in work_view(site.ledger.chain.world).tasks}
    assert list(rows) == ["ROOTTASK", "build", "draft", "run"]
    assert [(each.runs, each.deletable, each.trains) for each in rows.values()] == [
        *((False, False, False), (True, False, False), (False, True, True), (True, False, True))
    ]


def test_a_taskrunner_offers_what_can_be_done_with_it_now() -> None:
    site = listening()

    def acts() -> tuple[bool, bool, str]:
        (row,) = work_view(site.ledger.chain.world).taskrunners
        return row.busy, row.abortable, row.runner.status.state

    assert acts() == (False, False, "IDLE")
    site.assign("run", 1)
    assert acts() == (True, True, "ASSIGNED")
    site.send("op-1", AbortTaskrunner())
    assert acts() == (True, False, "ERROR")


def test_a_contract_offers_what_can_be_done_with_it_now() -> None:
    site = listening()

    def acts(name: str) -> tuple[bool, bool, bool, bool]:
        row = next(each for each in work_view(site.ledger.chain.world).contracts if each.id == name)
        return row.created, row.resettable, row.forced, row.stoppable

    assert acts(CONTRACT) == (False, False, False, False)
    site.send("op-1", CreateContract(members=("org-1",)), "other")
    assert acts("other") == (True, False, False, False)
    site.ledger.join("sl-9", "SL", CA_1)
    site.send("sl-9", session(1), CONTRACT)
    assert acts(CONTRACT) == (False, True, True, True)


def test_forms_choose_from_what_is_there() -> None:
    site = listening()
    site.lose("swop-2")
    found = work_view(site.ledger.chain.world)
    assert found.swops == [Choice("swop-1", "swop-1"), Choice("swop-3", "swop-3")]
    assert [each.id for each in found.organisations] == ["org-1", "org-2"]


def asking(folder: Path) -> None:
    question = Question(DIGEST, RUNNER, "run", "RUN_SWARM", "org-1", ("it is not \x1b trusted",), ("Name: run",))
    Approvals(folder).ask(question)


def test_what_waits_is_shown_with_its_reasons_where_the_swop_runs_here(tmp_path: Path) -> None:
    site = listening()
    site.assign("run", 0)
    site.report("swop-1", "awaiting-approval", digest=DIGEST)
    site.report("swop-3", "awaiting-approval", digest="e" * 64)
    asking(tmp_path / "swop-1")
    found = waiting_view(site.ledger.chain.world, "org-1", questions([tmp_path / "swop-1", tmp_path / "none"]))
    own, other = found.waiting
    assert (own.swop, own.own, own.folder) == ("swop-1", True, str(tmp_path / "swop-1"))
    assert (own.reasons, own.says) == (("it is not \\x1b trusted",), ("Name: run",))
    assert (other.swop, other.own, other.folder, other.reasons) == ("swop-3", False, "", ())


def test_an_answer_is_left_where_the_swop_reads_it(tmp_path: Path) -> None:
    asking(tmp_path)
    assert not answer(tmp_path, DIGEST, approved=True)
    assert Approvals(tmp_path).answers() == (frozenset({DIGEST}), frozenset())
    answer(tmp_path, DIGEST, approved=False)
    assert Approvals(tmp_path).answers() == (frozenset(), frozenset({DIGEST}))
    assert questions([tmp_path]) == {str(tmp_path): []}


def test_another_organisation_s_question_is_not_answered_with_what_lies_here(tmp_path: Path) -> None:
    site = listening()
    site.assign("run", 0)
    site.report("swop-3", "awaiting-approval", digest=DIGEST)
    asking(tmp_path)
    (other,) = waiting_view(site.ledger.chain.world, "org-1", questions([tmp_path])).waiting
    assert (other.own, other.folder) == (False, "")


def test_logs_are_those_of_nodes_and_of_the_pairs_of_present_tasks() -> None:
    site = listening()
    site.ledger.join("sl-9", "SL", CA_1)
    site.assign("run", 1).carry_out("swop-1", "enrolled")
    site.report("swop-1", "running", pairs=(Pair(0, "sl-9", "running"),))
    found = log_sources(site.ledger.chain.world)
    assert [(each.name, each.kind, each.part, each.state) for each in found] == [
        ("SN-1", "SN", "NODE", "alive"),
        ("swop-1", "SWOP", "NODE", "alive"),
        ("swop-2", "SWOP", "NODE", "alive"),
        ("swop-3", "SWOP", "NODE", "alive"),
        ("sl-9", "SL", "NODE", "alive"),
        ("swop-1", "SWOP", "SL", "running"),
        ("swop-1", "SWOP", "ML", "running"),
    ]
    assert command_of(found[0]) == "swarm logs sn-1 --follow"
    assert command_of(found[-1]) == f"swarm logs swop-1 --taskrunner {RUNNER} --ml 0 --follow"
    assert chosen(found, "swop-1", "ML", RUNNER, 0) is found[-1]
    assert chosen(found, "swop-1", "ML", RUNNER, 1) is None
    assert log_sources(World()) == []
