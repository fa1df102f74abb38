"""What a SWOP reports to people: in its log, by lines that those of the original's operators know."""

import logging
from pathlib import Path

from swarmlearning.ledger.contracts.taskrunner import Peer
from swarmlearning.swop.facts import LedgerAdvanced, Make, Send, Stalled, Start, Stop, Watch, Work
from swarmlearning.swop.managing import ManagerError, PairState
from swarmlearning.views.names import displayed

logger = logging.getLogger("swarm.swop")


class Narrator:
    """Writes the log; it decides nothing."""

    def __init__(self) -> None:
        self._task: tuple[str, int] | None = None
        self._state = ""
        self._absent = False

    def shown(self, ledger: LedgerAdvanced, taskrunner: str) -> None:
        """The ledger shows something else of the taskrunner."""
        absent = ledger.listening is None
        if absent and not self._absent:
            logger.warning(
                "There is no taskrunner %s yet: an operator creates it with CREATE TASKRUNNER, or `swarm taskrunner "
                "create`. Waiting for it",
                displayed(taskrunner),
            )
        self._absent = absent
        assigned = ledger.assigned
        task = (assigned.attempt.task, assigned.attempt.serial) if assigned else None
        if task != self._task:
            self._task = task
            name, serial = task or ("None", "None")
            logger.info("SWOPExecutor: Current Task : %s , opId : %s", displayed(name), serial)
        self._report_state(assigned.mine if assigned else None)

    def _report_state(self, mine: Peer | None) -> None:
        state = mine.state if mine else ""
        if state == self._state or self._task is None:
            return
        self._state = state
        name, serial = displayed(self._task[0]), self._task[1]
        if mine is not None and state == "enrolled":
            logger.info("SWOPExecutor: ENROLL TO Task : %s , opId : %d - Ends", name, serial)
        elif mine is not None and state in ("complete", "failed", "awaiting-approval"):
            reason = f" : {mine.reason}" if mine.reason else ""
            logger.info("SWOPExecutor: Task : %s , opId : %d - %s%s", name, serial, state.upper(), reason)

    def begun(self, work: Work) -> None:
        """A work begins."""
        match work:
            case Send(attempt, report) if report.state == "enrolled":
                logger.info("SWOPExecutor: ENROLL TO Task : %s , opId : %d - Begins", attempt.task, attempt.serial)
            case Make(attempt):
                logger.info("SWOPExecutor: Task : %s , opId : %d is made", attempt.task, attempt.serial)

    def starting(self, index: int, sl_uid: str, *, again: bool) -> None:
        """A pair is started, or is there already: a former life of this SWOP has started it."""
        what = "SL and user process found again" if again else "starting SL and user process"
        logger.info("SWOPRunTask: %s, idx : %d , SL UID : %s", what, index, sl_uid)

    def without_private_data(self, index: int, path: str) -> None:
        """The task has a place for private data, and this node of the profile has none."""
        logger.warning(
            "SWOPRunTask: idx : %d has no privatedata in the profile: the script finds nothing at %s, the task's "
            "PrivateContent",
            index,
            path,
        )

    def done(self, work: Work, result: object) -> None:
        """A work has ended, as it should."""
        match work:
            case Watch(_, index, known) if isinstance(result, PairState):
                sl, ml = (known.sl_code, result.sl_code), (known.ml_code, result.ml_code)
                for part, (before, code) in (("SL", sl), ("user process", ml)):
                    if code is not None and before is None:
                        logger.info("SWOPRunTask: the %s of idx : %d has ended with exit code %d", part, index, code)

    def failed(self, work: Work, error: ManagerError) -> None:
        """A work has failed; the text stays at the site."""
        names = {Make: "SWOPBuildTask", Start: "SWOPRunTask", Stop: "SWOPRunTask", Watch: "SWOPRunTask"}
        logger.error("%s: %s: %s", names.get(type(work), "SWOPExecutor"), error.reason, error)

    def stalled(self, news: Stalled, seconds: float) -> None:
        """An ML process makes no progress, or some again."""
        if news.hangs:
            logger.warning("SWOPRunTask: the user process of idx : %d has made no batch for %g s", news.index, seconds)
        else:
            logger.info("SWOPRunTask: the user process of idx : %d goes on", news.index)

    def stacks(self, news: Stalled, shown: bool, log: Path) -> None:
        """It was to write its stacks to its log."""
        if shown:
            logger.warning("SWOPRunTask: the stacks of idx : %d are in %s", news.index, log)
        else:
            logger.warning(
                "SWOPRunTask: idx : %d writes no stacks: it has not made a SwarmCallback, or not ours. Its log is %s",
                *(news.index, log),
            )
