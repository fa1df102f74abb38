"""A ledger with operators and SWOPs of two organisations, for tests of tasks and taskrunners."""

from copy import copy
from functools import cache
from typing import Self

from support.network import Ledger, organisation
from swarmlearning.identity.ca import create_authority
from swarmlearning.ledger.bodies import (
    AdmitOrganisation,
    AppendTaskBody,
    Assign,
    Back,
    Body,
    CreateTask,
    FinalizeTask,
    Listen,
    Lost,
    ReportPeer,
)
from swarmlearning.ledger.chain import RULES_VERSION
from swarmlearning.ledger.contracts import network, tasks
from swarmlearning.ledger.contracts.taskrunner import Peer, Taskrunner, taskrunner

RUNNER = "defaulttaskbb.taskdb.sml.hpe"
CA_1, CA_2 = (create_authority(f"CA-{number}", 3650) for number in (1, 2))
PAIRS = {"swop-1": 1, "swop-2": 2, "swop-3": 1}
"""The SWOPs, and the pairs that each can start. The last one is of the second organisation."""


@cache
def _founded(rules: int) -> Ledger:
    """Made once for each version: keys take longer than all else."""
    made = Ledger(CA_1, rules=rules, newest_rules=rules)
    made.join("op-1", "SWCI")
    made.send("op-1", AdmitOrganisation(organisation("org-2", CA_2)), network.CONTRACT)
    made.join("op-2", "SWCI", CA_2)
    made.join("mate", "SWCI")
    for uid in PAIRS:
        made.join(uid, "SWOP", CA_2 if uid == "swop-3" else None)
    return made


class Operations:
    """A ledger with the operators `op-1`, `mate` (both of org-1) and `op-2`, and three SWOPs."""

    def __init__(self, rules: int = RULES_VERSION) -> None:
        self.ledger = copy(_founded(rules))
        self.ledger.blocks = list(self.ledger.blocks)
        self.ledger.actors = {uid: copy(actor) for uid, actor in self.ledger.actors.items()}

    @property
    def runner(self) -> Taskrunner:
        """The taskrunner that is there from the start."""
        found = taskrunner(self.ledger.chain.world, RUNNER)
        assert found is not None
        return found

    @property
    def state(self) -> str:
        """That of this taskrunner."""
        return self.runner.state

    def peer(self, uid: str) -> Peer:
        """The peer of this UID."""
        return next(one for one in self.runner.peers if one.uid == uid)

    def send(self, uid: str, body: Body, contract: str = RUNNER) -> None:
        """One transaction in one block. Raises `Rejection`."""
        self.ledger.send(uid, body, contract)

    def make(self, name: str, kind: str = "RUN_SWARM", prerequisite: str = tasks.ROOT.name, by: str = "op-1") -> None:
        """A final task."""
        self.send(by, CreateTask(kind, "author", prerequisite, f"{name}-made"), name)  # type: ignore[arg-type]
        self.send(by, AppendTaskBody(1, ("one: 1", "two: 2")), name)
        self.send(by, FinalizeTask(), name)

    def listen(self, *uids: str) -> None:
        """These SWOPs begin to listen, or all of them."""
        for uid in uids or PAIRS:
            self.send(uid, Listen(PAIRS[uid]))

    def report(self, uid: str, state: str, **fields: object) -> None:
        """A SWOP's report in the present assignment and attempt."""
        values: dict[str, object] = {"serial": self.runner.serial, "attempt": self.peer(uid).attempt} | fields
        self.send(uid, ReportPeer(state=state, **values))  # type: ignore[arg-type]

    @property
    def states(self) -> list[str]:
        """Those of all peers, in their order."""
        return [peer.state for peer in self.runner.peers]

    def assign(self, task: str, peers: int) -> Self:
        """Has so many carry out this task; 0: all."""
        self.send("op-1", Assign(task, peers))
        return self

    def lose(self, uid: str) -> None:
        """The SN finds that this SWOP is gone."""
        self.send("sn-1", Lost(uid, self.ledger.actors[uid].incarnation), network.CONTRACT)

    def find(self, uid: str) -> None:
        """The SN finds that this SWOP is back."""
        self.send("sn-1", Back(uid, self.ledger.actors[uid].incarnation), network.CONTRACT)

    def carry_out(self, uid: str, *states: str) -> None:
        """A SWOP reports these states, one after the other."""
        for state in states or ("enrolled", "running", "complete"):
            self.report(uid, state, reason="site" if state == "failed" else None)


def listening(rules: int = RULES_VERSION) -> Operations:
    """All SWOPs listen; there are a final run task and the build task before it."""
    made = Operations(rules)
    made.make("build", "MAKE_USER_CONTAINER")
    made.make("run", "RUN_SWARM", "build")
    made.listen()
    return made
