"""A site's link with the ledger: the SN it follows, the transactions it sends, and its heartbeats."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from simulation.ledger import BEAT_SECONDS, CONTRACT, Author, Sn
from simulation.unsigned import papers
from swarmlearning.ledger.bodies import Leave, Lost, Register, TrainingBody
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import SignedTransaction
from swarmlearning.rounds.events import Accepted, Refused
from swarmlearning.rounds.settings import FIRST_PAUSE, LONGEST_PAUSE

if TYPE_CHECKING:
    from simulation.site import Site

ANSWER_SECONDS = 40.0
RETRANSMIT_SECONDS = 1.0
"""Seconds until TCP sends again what did not arrive."""

TxContext: TypeAlias = TrainingBody | Lost | Register | Leave


@dataclass
class Offer:
    """A transaction on its way to the ledger; `tries` counts how often it was sent."""

    entry: SignedTransaction
    body: TxContext
    tries: int = 0
    pause: float = FIRST_PAUSE
    height: int | None = None


class Link:
    """Lives as long as the SL's process; begins with SN number `sn`."""

    def __init__(self, site: "Site", sn: int) -> None:
        self.site, self.swarm = site, site.swarm
        self.number = sn
        self.height = -1
        self.ready = False
        self.author = Author(site.swarm.log, site.papers, site.uid, site.life)
        self._offers: dict[str, Offer] = {}
        self._seeing = self._registered = self._searching = False

    @property
    def sn(self) -> Sn:
        return self.swarm.sns[self.number % len(self.swarm.sns)]

    @property
    def heard(self) -> bool:
        """True while the SN in use can be reached."""
        return self.swarm.reach(self.site.uid, self.sn.name) and self.sn.works and not self.site.revoked

    def _delay(self) -> float:
        return self.swarm.delay() + self.swarm.lag(self.site)

    # --- following --------------------------------------------------------------------------------------------------

    def look_for_sn(self) -> None:
        """Follows the SN in use while it can be reached, else switches to the next."""
        if not self._searching:
            self._searching = True
            self._search(FIRST_PAUSE)

    def _search(self, pause: float) -> None:
        if self.heard:
            self._searching = False
            self.see()
            return
        self.number += 1
        for offer in list(self._offers.values()):
            if offer.height is None:
                self._offer(offer)
        self.site.at(pause, lambda: self._search(min(2 * pause, LONGEST_PAUSE)))

    def see(self) -> None:
        """Learns of a new block of the SN in use; blocks in quick succession are seen together."""
        if not self._seeing:
            self._seeing = True
            self.site.at(self._delay(), self._seen)

    def _seen(self) -> None:
        self._seeing = False
        if not self.heard or self.sn.height <= self.height:
            return
        self.height = self.sn.height
        if not self._registered:
            self._registered = True
            self.send(Register("SL", self.site.uid, papers().pems[self.site.papers], "0"))
        if self.swarm.dice.random() < 0.5:  # a driver tells of a block and of what was accepted with it in either order
            self.site.advanced(self.height)
        else:
            self.site.at(self._delay(), partial(self.site.advanced, self.height))
        if self.swarm.doubles():  # the machine is told once more, perhaps when it knows of newer ones
            self.site.at(self._delay(), partial(self.site.advanced, self.height))
        for offer in [one for one in self._offers.values() if one.height is not None and one.height <= self.height]:
            self._settled(offer)

    def _beat(self) -> None:
        swarm, site = self.swarm, self.site
        if swarm.can_order() and any(sn.joined and swarm.reach(site.uid, sn.name) for sn in swarm.sns):
            swarm.presence.renew(site.uid, site.life)
        self.site.at(BEAT_SECONDS, self._beat)

    # --- saying -----------------------------------------------------------------------------------------------------

    def send(self, body: TxContext, height: int | None = None) -> None:
        """Sends what follows from the state at this height; None: it holds whatever that is."""
        contract = network.CONTRACT if isinstance(body, Lost | Register | Leave) else CONTRACT
        chain = self.swarm.log.chains[self.height if height is None else height]
        entry = self.author.write(chain, contract, body)
        self._offers[entry.id] = offer = Offer(entry, body)
        self._offer(offer)

    def leave(self) -> None:
        """Sends `Leave`, and waits for nothing else that it has sent."""
        self.ready = False
        self._offers.clear()
        self.send(Leave())

    def _offer(self, offer: Offer) -> None:
        """Sends the same bytes to the SN in use, and again while no answer comes."""
        offer.tries += 1
        tries, sn = offer.tries, self.sn

        def arrive() -> None:
            if not sn.alive:
                self.site.at(0.05, lambda: self._unanswered(offer, tries))
            elif self.swarm.reach(self.site.uid, sn.name):
                sn.at(0.0, lambda: sn.take(offer.entry, answer))
            elif offer.tries == tries:
                self.site.at(RETRANSMIT_SECONDS, arrive)

        def answer(found: int | Rejection | None, judged_on: int) -> None:
            if self.site.link is not self:
                return  # the process that has sent it is gone
            if not self.swarm.reach(self.site.uid, sn.name) and offer.tries == tries:
                self.site.at(RETRANSMIT_SECONDS, lambda: answer(found, judged_on))
            elif not self.swarm.loses():
                self.site.at(self._delay(), lambda: self._answered(offer, tries, found, judged_on))

        for _ in range(1 + self.swarm.doubles()):
            if not self.swarm.loses():
                self.site.at(self._delay(), arrive)
        self.site.at(ANSWER_SECONDS, lambda: self._unanswered(offer, tries))

    def _unanswered(self, offer: Offer, tries: int) -> None:
        if offer.entry.id in self._offers and offer.height is None and offer.tries == tries:
            offer.tries += 1  # whatever is still on its way is too late
            self._leave_sn()
            offer.pause, pause = min(2 * offer.pause, LONGEST_PAUSE), offer.pause
            self.site.at(pause, lambda: self._offer(offer) if offer.entry.id in self._offers else None)

    def _leave_sn(self) -> None:
        """Uses the next SN: this one does not do what it should."""
        self.number += 1
        self.look_for_sn()

    def _answered(self, offer: Offer, tries: int, found: int | Rejection | None, judged_on: int) -> None:
        if offer.entry.id not in self._offers or offer.height is not None:
            return
        if found is None:
            self._unanswered(offer, tries)
        elif isinstance(found, Rejection):
            del self._offers[offer.entry.id]
            self.swarm.witness.refused(self.site, offer.body, found)
            if not isinstance(offer.body, Register | Leave):
                self.site.tell(Refused(offer.body, found.code, found.detail, judged_on))
        else:
            self.swarm.witness.acknowledged(offer.entry, found)
            offer.height = found
            if found <= self.height:
                self._settled(offer)

    def _settled(self, offer: Offer) -> None:
        assert offer.height is not None
        del self._offers[offer.entry.id]
        if isinstance(offer.body, Register):
            self.ready = True
            self._beat()
            self.site.script.start()
        elif isinstance(offer.body, Leave):
            self.site.alive = False
        else:
            self.site.tell(Accepted(offer.body, offer.height))
