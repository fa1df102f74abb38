"""SWCI's commands about taskrunners, with SWOPs that report on a ledger in memory, in virtual time."""

import re

from support.operations import RUNNER, listening
from support.scripted_session import play
from swarmlearning.ledger.bodies import ResetTaskrunner, SetPolicy, Sign
from swarmlearning.swci.waiting import OVER

DIGEST = "d" * 64


def shown(text: str) -> list[str]:
    """What stands below the last command."""
    return re.split(r"SWCI:\d+ > .*\n", text)[-1].splitlines()


def field(text: str, name: str) -> str:
    """The value of a field in what the last command shows."""
    return next(line for line in shown(text) if line.startswith(f"    {name} : ")).partition(" : ")[2]


def test_a_task_goes_from_idle_to_complete() -> None:
    operations = listening()
    assert field(play(operations, f"GET TASKRUNNER STATUS {RUNNER}"), "TASK NAME") == "Empty"
    assert field(play(operations, f"GET TASKRUNNER STATUS {RUNNER}"), "TASK_STATE") == "IDLE"
    assert shown(play(operations, f"ASSIGN TASK run TO {RUNNER} WITH 3 PEERS")) == [
        f"    TASK ASSIGNED : run TO {RUNNER}"
    ]
    text = play(
        operations,
        f"WAIT FOR TASKRUNNER {RUNNER}",
        (15.0, lambda made: made.carry_out("swop-1", "enrolled", "running")),
        (16.0, lambda made: made.carry_out("swop-2", "enrolled", "running")),
        (30.0, lambda made: made.report("swop-1", "complete")),
        (31.0, lambda made: made.report("swop-2", "complete")),
    )
    assert shown(text) == [
        "    WAITING FOR TASKRUNNER TO COMPLETE",
        "    MAXIMUM WAIT TIME : 1 MINUTES",
        "    waits for 3 more SL-ML pairs (4 free)",
        "    #",
        "    waits for 2 more SL-ML pairs (3 free)",
        "    #",
        "    TASK_STATE : COMPLETE",
    ]
    status = play(operations, f"GET TASKRUNNER STATUS {RUNNER}")
    counts = ("PEER TYPE", "REQUIRED PEERS", "ENROLLED PEERS", "ACTIVE PEERS", "COMPLETED PEERS", "FAILED PEERS")
    assert [field(status, name) for name in counts] == ["SL", "3", "3", "0", "3", "0"]
    assert shown(play(operations, f"RESET TASKRUNNER {RUNNER}")) == [f"    TASKRUNNER RESET : {RUNNER}"]
    assert operations.state == "IDLE"


def test_whose_approval_is_missing_is_said_at_once() -> None:
    operations = listening()
    operations.assign("build", 3)
    operations.report("swop-3", "awaiting-approval", digest=DIGEST)
    text = play(operations, f"WAIT FOR TASKRUNNER {RUNNER}", (3.0, lambda made: made.send("op-1", ResetTaskrunner())))
    assert shown(text)[2] == (
        "    waits for 3 more SWOPs (2 free); the approval of swop-3 (org-2), whose operator "
        f"gives it there by: swarm swop approve {DIGEST}"
    )
    assert shown(text)[-1] == "    TASK_STATE : IDLE"
    operations.assign("build", 3)
    operations.report("swop-3", "awaiting-approval", digest=DIGEST)
    peer = play(operations, f"GET TASKRUNNER PEER STATUS {RUNNER} swop-3")
    assert field(peer, "STATUS") == "AWAITING APPROVAL"
    assert DIGEST in field(peer, "DESCRIPTION")


def test_a_wait_ends_with_a_warning_which_is_no_failure() -> None:
    operations = listening()
    operations.assign("run", 4)
    text = play(operations, f"EXIT ON FAILURE\nWAIT FOR TASKRUNNER {RUNNER}\nPWD", minutes=1)
    assert f"    #####\n    {OVER}\n    TASK_STATE : ASSIGNED\nSWCI:2 > PWD\n" in text


def test_a_failed_task_is_an_error_that_names_site_reason_and_exit_code() -> None:
    operations = listening()
    operations.assign("run", 4)
    for uid in ("swop-1", "swop-2"):
        operations.carry_out(uid, "enrolled", "running")
    text = play(
        operations,
        f"EXIT ON FAILURE\nWAIT FOR TASKRUNNER {RUNNER}\nPWD",
        (1.0, lambda made: made.report("swop-3", "enrolled")),
        (2.0, lambda made: made.report("swop-2", "failed", reason="ml-exit", exit_code=3)),
    )
    assert text.endswith(
        "    TASK_STATE : ERROR\n"
        "ERROR : task run of taskrunner defaulttaskbb.taskdb.sml.hpe has failed: swop-2 (org-1): the ML process ended "
        "with an error (exit code 3)\n"
    )
    assert field(play(operations, f"GET TASKRUNNER STATUS {RUNNER}"), "FAILED PEERS") == "2"
    again = play(operations, f"ASSIGN TASK run TO {RUNNER} TARGET swop-2")
    assert shown(again) == [f"    TASK ASSIGNED : run TO {RUNNER}"]
    assert operations.peer("swop-2").attempt == 2


def test_peers_are_numbered_those_that_take_part_first() -> None:
    operations = listening()
    operations.assign("build", 1)
    operations.carry_out("swop-2", "enrolled")
    listed = shown(play(operations, f"LIST TASKRUNNER PEERS {RUNNER}"))
    assert [line.split()[:2] for line in listed] == [
        ["INDEX", "SWOP"],
        ["0", "swop-2"],
        ["1", "swop-1"],
        ["2", "swop-3"],
    ]
    for named in ("0", "swop-2"):
        assert shown(play(operations, f"GET TASKRUNNER PEER STATUS {RUNNER} {named}")) == [
            "    SWOP UID : swop-2",
            "    SWOP NAME : swop-2",
            "    ORGANISATION : org-1",
            "    STATUS : ENROLLED",
            "    DESCRIPTION : takes part, and has not begun yet",
        ]
    assert "has 3 peers, and 7 is none" in play(operations, f"GET TASKRUNNER PEER STATUS {RUNNER} 7")


def test_what_cannot_be_is_refused_with_what_to_do() -> None:
    operations = listening()
    play(operations, f"ASSIGN TASK build TO {RUNNER} WITH 2 PEERS")
    for command, message in {
        f"ASSIGN TASK run TO {RUNNER} WITH 1 PEERS": "carries out the task build",
        f"ASSIGN TASK run TO {RUNNER} WITH ALL PEERS": "carries out the task build",
        f"ASSIGN TASK run TO {RUNNER} WITH 0 PEERS": "WITH ALL PEERS takes all that listen",
        f"ASSIGN TASK build TO {RUNNER} WITH 99999999 PEERS": "this cannot stand on the ledger: ",
        f"ASSIGN TASK build TO {RUNNER} TARGET nobody": "nobody",
        "ASSIGN TASK build TO other WITH 1 PEERS": "there is no taskrunner 'other'",
        "WAIT FOR TASKRUNNER other": "there is no taskrunner 'other'; there is ",
        f"CREATE TASKRUNNER {RUNNER}": "already",
    }.items():
        (line,) = shown(play(operations, command))
        assert line.startswith("ERROR : ")
        assert message in line


def test_taskrunners_are_created_listed_and_ended() -> None:
    operations = listening()
    assert shown(play(operations, "CREATE TASKRUNNER second")) == ["    TASKRUNNER CREATED : second"]
    assert shown(play(operations, "LIST TASKRUNNERS")) == [f"    {RUNNER}", "    second"]
    assert field(play(operations, "GET TASKRUNNER INFO second"), "ORGANISATION") == "org-1"
    operations.assign("build", 2)
    assert shown(play(operations, f"ABORT TASKRUNNER {RUNNER}")) == [f"    TASKRUNNER ABORTED : {RUNNER}"]
    assert "has failed: " in play(operations, f"WAIT FOR TASKRUNNER {RUNNER}")


def test_what_others_sign_for_is_proposed() -> None:
    operations = listening()
    operations.assign("build", 1)
    operations.carry_out("swop-1", "enrolled", "running")
    (line,) = shown(play(operations, f"RESET TASKRUNNER {RUNNER}", uid="op-2"))
    assert re.fullmatch(r"    PROPOSED : \d+, waits for org-1", line)
    number = int(line.split()[2].rstrip(","))
    assert shown(play(operations, "LIST PROPOSALS"))[1].split()[:2] == [str(number), "reset-taskrunner"]
    signs = (2.0, lambda made: made.send("op-1", Sign(number), "network"))
    waited = shown(play(operations, f"WAIT FOR PROPOSAL {number}", signs, uid="op-2"))
    assert waited == [line, f"    PROPOSAL {number} : DONE (reset-taskrunner {RUNNER})"]
    assert operations.state == "IDLE"


def test_a_swop_that_is_lost_for_a_moment_fails_no_task() -> None:
    operations = listening()
    operations.assign("build", 1)
    operations.carry_out("swop-1", "enrolled", "running")
    text = play(
        operations,
        f"WAIT FOR TASKRUNNER {RUNNER}",
        (1.0, lambda made: made.lose("swop-1")),
        (6.0, lambda made: made.find("swop-1")),
        (7.0, lambda made: made.carry_out("swop-1", "running", "complete")),
    )
    assert shown(text)[2:] == ["    waits for swop-1 to come back", "    TASK_STATE : COMPLETE"]


def test_a_swop_that_stays_lost_has_failed() -> None:
    operations = listening()
    operations.assign("build", 1)
    operations.carry_out("swop-1", "enrolled", "running")
    operations.lose("swop-1")
    text = play(operations, f"WAIT FOR TASKRUNNER {RUNNER}", minutes=5)
    assert shown(text)[-2:] == [
        "    TASK_STATE : ERROR",
        f"ERROR : task build of taskrunner {RUNNER} has failed: swop-1 (org-1): its SWOP is not there: its lease has "
        "ended",
    ]


def test_an_assignment_that_others_have_to_sign_is_waited_for() -> None:
    operations = listening()
    operations.send("op-1", SetPolicy("assign-tasks", "all"), "network")
    operations.send("op-2", Sign(1), "network")
    assigned = shown(play(operations, f"ASSIGN TASK build TO {RUNNER} WITH 1 PEERS"))
    assert assigned == ["    PROPOSED : 2, waits for org-2"]
    text = play(
        operations,
        f"WAIT FOR TASKRUNNER {RUNNER}",
        (1.0, lambda made: made.send("op-2", Sign(2), "network")),
        (2.0, lambda made: made.carry_out("swop-1")),
    )
    assert shown(text)[2:] == [
        "    PROPOSED : 2, waits for org-2",
        "    waits for 1 more SWOP (3 free)",
        "    TASK_STATE : COMPLETE",
    ]
