"""Worlds of the ledger with tasks, one taskrunner and its SWOP, without the transactions that made them."""

from typing import Any

from support.uids import uid
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.contracts.taskrunner import Assignment, Taskrunner
from swarmlearning.ledger.contracts.tasks import ROOT, Task, digest_of
from swarmlearning.ledger.world import World
from swarmlearning.swop.managing import Attempt
from swarmlearning.swop.profile import NodeDefinition, Profile
from swarmlearning.taskfiles.definition import MakeUserContainer, RunSwarm
from swarmlearning.taskfiles.lines import body_lines

SWOP, OPERATOR = uid("swop"), uid("operator")
BUILD = body_lines(MakeUserContainer(("FROM python",)))
RUN = body_lines(RunSwarm("train.py", "python3", "/work"))
PROFILE = Profile("group", "runner", "PROCESS", "", (NodeDefinition(0),))


def task(name: str, kind: Any, lines: tuple[str, ...], prerequisite: Task = ROOT, maker: str = "own") -> Task:
    digest = digest_of(kind, f"{name}-made", lines, prerequisite.digest)
    subject = f"CN=SWCI-1,O={maker}"
    made = Task(name, kind, "author", prerequisite.name, f"{name}-made", "final", OPERATOR, maker, subject, 0)
    return Task(
        **{field: getattr(made, field) for field in made.__struct_fields__} | {"lines": lines, "digest": digest}
    )


def node(name: str, kind: Any, organisation: str) -> Node:
    return Node(name, kind, name, f"CN={kind}-1,O={organisation}", "", 1, True, False, "0", {}, organisation)


def world(*tasks: Task, assigner: str = "own") -> World:
    last = tasks[-1]
    assignment = Assignment(1, last.name, last.type, last.digest, 1, True, OPERATOR, assigner, last.organisation, 0)
    return World().with_entries(
        {
            **{f"task/{each.name}": each for each in tasks},
            "runner/runner": Taskrunner("runner", serial=1, assignment=assignment),
            f"node/{SWOP}": node(SWOP, "SWOP", "own"),
            f"node/{OPERATOR}": node(OPERATOR, "SWCI", assigner),
        }
    )


def attempt(of: Task) -> Attempt:
    return Attempt("runner", 1, 1, of.name, of.digest)
