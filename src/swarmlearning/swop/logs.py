"""The logs at a SWOP: its own, and the output of the pairs that it has started."""

from collections.abc import Callable
from pathlib import Path

from swarmlearning.ledger.contracts.taskrunner import taskrunner
from swarmlearning.ledger.world import World
from swarmlearning.node.logfile import LogError
from swarmlearning.node.reading import NO_ROUNDS
from swarmlearning.node.sealing import Part, Wanted
from swarmlearning.swop.managing import Attempt, ResourceManager
from swarmlearning.swop.policy import Part as PolicyPart
from swarmlearning.swop.policy import Policy, may_read_logs
from swarmlearning.views.names import displayed
from swarmlearning.views.times import Times

_NAMES: dict[Part, PolicyPart] = {"NODE": "SWOP", "SL": "SL", "ML": "ML", "TIMES": "SWOP", "REPORT": "REPORT"}


class SwopShelf:
    """See `node.reading.Shelf`. `policy` reads the site's policy as it stands."""

    def __init__(self, log: Path, uid: str, manager: ResourceManager, policy: Callable[[], Policy]) -> None:
        self._path = log
        self._uid = uid
        self._manager = manager
        self._policy = policy

    def shares(self, part: Part, reader: str, own: str) -> bool | None:
        """What the policy states; with one that cannot be used, nothing is shared."""
        policy, named = self._policy(), _NAMES[part]
        if named == "REPORT" and named not in policy.share_logs:
            named = "SWOP"  # who reads a node's log learns its settings from that, too
        if policy.broken is None and named not in policy.share_logs:
            return None
        return may_read_logs(policy, named, reader, own)

    def path(self, world: World, wanted: Wanted) -> Path:
        """The output of a pair in this SWOP's newest attempt at the taskrunner's task, or this SWOP's own log."""
        if wanted.part == "NODE":
            return self._path
        runner, shown = taskrunner(world, wanted.taskrunner), displayed(wanted.taskrunner)
        if runner is None or runner.assignment is None:
            raise LogError(f"taskrunner {shown} has no task now; the output of earlier ones stays at the site")
        mine = next((peer for peer in runner.peers if peer.uid == self._uid and peer.attempt), None)
        if mine is None:
            raise LogError(f"this SWOP has no part in the task of taskrunner {shown}")
        task = runner.assignment
        attempt = Attempt(runner.name, task.serial, mine.attempt, task.task, task.digest)
        logs = self._manager.logs(attempt, wanted.pair)
        return logs.sl if wanted.part == "SL" else logs.ml

    async def times(self, wanted: Wanted) -> Times:
        """See `node.reading.Shelf`."""
        raise LogError(NO_ROUNDS)
