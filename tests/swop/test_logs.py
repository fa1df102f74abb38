"""Which log of a SWOP is meant, and whom its site's policy lets read it."""

from pathlib import Path
from typing import Any

import pytest

from support.operations import RUNNER, Operations
from swarmlearning.ledger.bodies import Assign, ResetTaskrunner
from swarmlearning.node.logfile import FILE, LogError
from swarmlearning.node.sealing import Part, Wanted
from swarmlearning.swop.logs import SwopShelf
from swarmlearning.swop.managing import Attempt, PairLogs
from swarmlearning.swop.policy import Policy


class Manager:
    """Notes of what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Attempt, int]] = []

    def logs(self, attempt: Attempt, index: int) -> PairLogs:
        self.asked.append((attempt, index))
        return PairLogs(Path("sl"), Path("ml"))


def shelf(policy: Policy | None = None, uid: str = "swop-2", manager: Any = None) -> SwopShelf:
    asked: Any = manager or Manager()
    return SwopShelf(Path("/data/node.log"), uid, asked, lambda: policy or Policy())


def test_the_output_of_a_pair_is_that_of_the_newest_attempt() -> None:
    ops, manager = Operations(), Manager()
    ops.listen("swop-2")
    ops.make("train")
    ops.send("op-1", Assign("train", 2))
    world = ops.ledger.chain.world
    with pytest.raises(LogError, match="has no part"):
        shelf(uid="swop-1", manager=manager).path(world, Wanted("ML", RUNNER, 1))
    with pytest.raises(LogError, match="has no task now"):
        shelf(manager=manager).path(world, Wanted("ML", "another", 1))
    ops.report("swop-2", "enrolled", digest="d" * 64)
    world, task = ops.ledger.chain.world, ops.runner.assignment
    assert task is not None
    mine = shelf(manager=manager)
    assert mine.path(world, Wanted("ML", RUNNER, 1)) == Path("ml")
    assert mine.path(world, Wanted("SL", RUNNER, 0)) == Path("sl")
    assert mine.path(world, Wanted()) == Path("/data") / FILE
    attempt = Attempt(RUNNER, 1, ops.peer("swop-2").attempt, "train", task.digest)
    assert manager.asked == [(attempt, 1), (attempt, 0)]
    ops.send("op-1", ResetTaskrunner())
    with pytest.raises(LogError, match="has no task now"):
        mine.path(ops.ledger.chain.world, Wanted("ML", RUNNER, 1))


@pytest.mark.parametrize(
    ("policy", "part", "shares"),
    [
        (Policy(), "ML", {"a": None, "b": None}),
        (Policy(share_logs={"SL": ("own",)}), "ML", {"a": None, "b": None}),
        (Policy(share_logs={"ML": ("own", "b")}), "ML", {"a": True, "b": True, "c": False}),
        (Policy(share_logs={"ML": ("b",)}), "ML", {"a": False, "b": True}),
        (Policy(share_logs={"ML": ()}), "ML", {"a": False, "b": False}),
        (Policy(share_logs={"SWOP": ("own", "b")}), "NODE", {"a": True, "b": True, "c": False}),
        (Policy(broken="no YAML"), "ML", {"a": True, "b": False}),
        (Policy(), "REPORT", {"a": None, "b": None}),
        (Policy(share_logs={"SWOP": ("b",)}), "REPORT", {"a": False, "b": True}),
        (Policy(share_logs={"SWOP": ("b",), "REPORT": ("own",)}), "REPORT", {"a": True, "b": False}),
        (Policy(broken="no YAML"), "REPORT", {"a": True, "b": False}),
    ],
)
def test_who_reads_is_what_the_policy_states(policy: Policy, part: Part, shares: dict[str, bool | None]) -> None:
    assert {who: shelf(policy).shares(part, who, "a") for who in shares} == shares
