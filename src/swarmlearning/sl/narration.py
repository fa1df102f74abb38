"""The lines that report a training to people: in this node's log, and in the training log of the script that waits.

Nothing is decided here. Every text is shown once for as long as it stays the same; what a site waits for is repeated
now and then.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from swarmlearning.ledger.bodies import Lost, Publish, Submit, TrainingBody
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.ledger.world import World
from swarmlearning.sl.remarks import Remark
from swarmlearning.sl.results import FinalModel
from swarmlearning.views.names import escaped, fetch_addresses, node_names
from swarmlearning.views.render import clock, participation_text, waiting_text
from swarmlearning.views.training import Waiting, participation, with_retired

logger = logging.getLogger("swarm.SL")

WAITING_SECONDS: Final = 10.0
"""Between two looks at what the ML process waits for."""
REPEATED: Final = 6
"""After so many times an unchanged text is shown again."""
_SHOWN: Final = 256
_NUMBERS: Final = re.compile(r"(?<= )[0-9]+(?= )")

Outage: TypeAlias = Callable[[], tuple[float, str] | None]
"""Since when (Unix time) no SN has answered this node, and why; None while one does."""


class Narrator:
    """`show` puts a line into the training log; `shared_log`: that line is in this node's log already.

    `outage` may be set to a function that reports one.
    """

    def __init__(self, show: Callable[[str], None], shared_log: bool) -> None:
        self.outage: Outage = lambda: None
        self._show = show
        self._shared_log = shared_log
        self._reported: dict[str, None] = {}
        self._standing: list[str] = []

    # --- for the script too -----------------------------------------------------------------------------------------

    async def report_waiting(self, chain: Callable[[], Chain], waiting: Callable[[], Waiting | None]) -> None:
        """Reports until cancelled what the ML process waits for, whenever it waits."""
        before, times = "", 0
        while True:
            await asyncio.sleep(WAITING_SECONDS)
            facts = waiting()
            if facts is None:
                before = ""
                continue
            text = self._outage_text() or _text_in(chain().world, facts)
            times = times + 1 if text == before else 0
            before = text
            if times % REPEATED == 0:
                if not self._shared_log:
                    logger.info("%s", text)
                self._show(escaped(text))

    def remark(self, remark: Remark) -> None:
        """Reports what the ledger shows about merges."""
        logger.warning("%s", remark.text)
        if remark.own:
            self._show(escaped(remark.text))

    def not_fetched(self, digest: str, reason: str) -> None:
        """Reports that a model that this node needs cannot be fetched."""
        self._report_once(logging.WARNING, f"Cannot get model {digest[:16]}: {reason}")

    def local_failure(self, reason: str) -> None:
        """Reports why this node cannot do its part."""
        self._report_once(logging.ERROR, f"This site's SL node cannot do its part: {reason}")

    def bad_result(self, digest: str, fault: str) -> None:
        """Reports why a result is not given to the script."""
        self._report_once(logging.ERROR, f"The merged model {digest[:16]} is not used here: {fault}")

    def locked(self, text: str) -> None:
        """Reports what the site's privacy lock does not give."""
        self._report_once(logging.WARNING, text)

    def tell(self, text: str) -> None:
        """Tells the script alone: what is said about its model is for no log."""
        self._show(escaped(text))

    def warn(self, text: str) -> None:
        """Reports a condition that will trouble the training unless it is corrected, to each later ML process too."""
        self._standing.append(text)
        self._report_once(logging.WARNING, text)

    def greet(self) -> None:
        """Reports to an ML process that has just connected what it has to know."""
        for text in self._standing:
            self._show(escaped(text))

    # --- for the node's log only ------------------------------------------------------------------------------------

    def sent(self, body: TrainingBody | Lost) -> None:
        """Logs what this node has contributed."""
        match body:
            case Publish(round=number, result=result, receipt=receipt) if result:
                logger.info("Round %d: merged %d models into %s", number, len(receipt.contributions), result[:16])
            case Submit(round=number, submission="withheld", privacy=statement) if statement:
                logger.info("Round %d: the privacy lock gives no model (%s)", number, statement.withheld)
            case Submit(round=number, submission=kind, digest=digest):
                logger.info("Round %d: checked in %s model %s", number, kind, digest[:16])

    def failed(self, text: str) -> None:
        """Logs why the ML process is ended."""
        logger.error("%s", text)

    def finished(self, chain: Chain, contract: str) -> None:
        """Logs the end of the training."""
        text = participation_text(participation(state_of(chain.world, contract)), node_names(chain.world))
        logger.info("Training of contract %s is over and every live member holds the model", contract)
        logger.info("Participation %s", text)

    def recorded(self, kept: FinalModel | str, directory: Path) -> None:
        """Logs where the final model lies in the data directory, or why it could not be kept."""
        if isinstance(kept, str):
            logger.warning("%s", kept)
        else:
            path = directory / kept.path
            logger.info("The final model %s is %s, and a report of the run lies beside it", kept.model[:16], path)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _report_once(self, level: int, text: str) -> None:
        key = _NUMBERS.sub("", text)  # the free bytes of a full disk change with each attempt
        if key in self._reported:
            logger.debug("%s", text)
            return
        self._reported[key] = None
        while len(self._reported) > _SHOWN:
            del self._reported[next(iter(self._reported))]
        logger.log(level, "%s", text)
        self._show(escaped(text))

    def _outage_text(self) -> str:
        if (outage := self.outage()) is None or time.time() - outage[0] < WAITING_SECONDS / 2:
            return ""
        since, reason = outage
        return f"this node cannot reach any SN since {clock(int(1000 * since))}: {reason}"


def _text_in(world: World, facts: Waiting) -> str:
    """Returns what the training waits for, as people of this network read it."""
    return waiting_text(with_retired(world, facts), node_names(world), fetch_addresses(world))
