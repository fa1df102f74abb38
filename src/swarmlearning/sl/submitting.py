"""Sends what the round machine states to the ledger, and reports what becomes of it."""

import logging
from collections.abc import Callable
from typing import Final

from swarmlearning.api.client import Refusal
from swarmlearning.ledger.bodies import Depose, Lost, OpenSession, Publish, Submit, TrainingBody
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.codes import Code, is_transient
from swarmlearning.ledger.contracts import network
from swarmlearning.node.errors import Superseded
from swarmlearning.node.sender import Sender
from swarmlearning.rounds.events import Accepted, Event, Refused
from swarmlearning.sl.narration import Narrator
from swarmlearning.sl.stopwatch import Stopwatch
from swarmlearning.views.times import What

logger = logging.getLogger("swarm.SL")

_SENT: Final[dict[type, What]] = {OpenSession: "session", Submit: "submit", Publish: "publish"}


class Submitting:
    """Belongs to one event loop, in which `emit` is called. `contract` gives the training contract at work now: what
    became of a transaction to an earlier one is of no interest to the machine."""

    def __init__(
        self,
        sender: Sender,
        narrator: Narrator,
        emit: Callable[[Event], None],
        watch: Stopwatch,
        contract: Callable[[], str],
    ) -> None:
        self._sender = sender
        self._narrator = narrator
        self._emit = emit
        self._watch = watch
        self._contract = contract

    async def send(self, body: TrainingBody | Lost, chain: Chain) -> None:
        """Sends this, decided on this chain. Raises `Superseded` when this node was started again elsewhere."""
        training = self._contract()
        contract = network.CONTRACT if isinstance(body, Lost) else training
        try:
            with self._watch.during(_SENT.get(type(body), "send")):
                height = await self._sender.send(contract, body, chain)
        except Refusal as refusal:
            if refusal.code == Code.OLD_INCARNATION and not isinstance(body, Lost | Depose):
                raise Superseded(refusal.detail) from refusal
            level = logging.DEBUG if is_transient(refusal.code) else logging.WARNING
            logger.log(level, "%s refused: %s", type(body).__name__, refusal)
            if training == self._contract():
                self._emit(Refused(body, refusal.code, refusal.detail, refusal.height))
        else:
            self._narrator.sent(body)
            if training == self._contract():
                self._emit(Accepted(body, height))
