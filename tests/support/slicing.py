"""Rounds merged in slices, on a ledger in memory: one line a transaction, and what is stated of the slices after it.

A member's model has the digest `model(uid, round)`, a slice's root is `root(index)` unless another is named. Who merges
what depends on the run's order, which differs from ledger to ledger: tests ask the state for it.
"""

import copy
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pytest

from support.network import CONTRACT, Ledger, organisation, session
from support.organisations import AUTHORITIES
from support.play import merged, model, receipt_of
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.ledger.bodies import (
    AdmitOrganisation,
    Back,
    Body,
    CreateContract,
    Depose,
    Exclusion,
    ExclusionReason,
    Freeze,
    Held,
    Leave,
    Lost,
    Publish,
    Reassign,
    Receipt,
    ReportFault,
    ReportPerformance,
    Revoke,
    Sliced,
    StateLink,
    Submit,
)
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.slices import Slice, Slicing, roots_of
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Result, Round, Training
from swarmlearning.ledger.rules import RULES

VERSION = 3
LARGE = 256 * 2**20
"""Bytes of a model: large enough that the first round is merged in slices."""
SITES = ("a", "b", "c", "d")


def sliced_ledger() -> Ledger:
    """A network under the rules that know slices, with an operator."""
    made = Ledger(AUTHORITIES["org-1"], Chain(rulebook=RULES), rules=VERSION, newest_rules=VERSION)
    made.join("op-1", "SWCI")
    return made


class InSlices:
    """A training on such a ledger; `frozen` begins with its first round frozen."""

    def __init__(
        self,
        *sites: str,
        min_peers: int = 2,
        size: int = LARGE,
        organisations: Mapping[str, str] | None = None,
        created: CreateContract | None = None,
        **terms: object,
    ) -> None:
        """`organisations`: of sites that are not of the first one. `created`: the contract, where it is not open."""
        self.ledger, self.size = sliced_ledger(), size
        self.sites = sites or SITES
        for name in sorted(set((organisations or {}).values()) - {"org-1"}):
            for operator in [uid for uid in self.ledger.actors if uid.startswith("op-")]:
                self.ledger.send(operator, AdmitOrganisation(organisation(name, AUTHORITIES[name])), network.CONTRACT)
            self.ledger.join(f"op-{name[-1]}", "SWCI", AUTHORITIES[name])
        for uid in self.sites:
            self.ledger.join(uid, "SL", AUTHORITIES[(organisations or {}).get(uid, "org-1")])
        if created:
            self.send("op-1", created)
        self.send_all([(uid, session(min_peers, **terms)) for uid in self.sites])

    def copied(self) -> "InSlices":
        """Another one that goes on from here."""
        made = copy.copy(self)
        made.ledger = copy.copy(self.ledger)
        made.ledger.blocks = list(self.ledger.blocks)
        made.ledger.actors = {uid: copy.copy(actor) for uid, actor in self.ledger.actors.items()}
        return made

    # --- the state ----------------------------------------------------------------------------------------------------

    @property
    def state(self) -> Training:
        return self.ledger.training

    @property
    def round(self) -> Round:
        assert self.state.round is not None
        return self.state.round

    @property
    def leader(self) -> str:
        return self.round.leader

    @property
    def result(self) -> Result:
        assert self.state.result is not None
        return self.state.result

    @property
    def is_sliced(self) -> bool:
        return slicing_of(self.state, self.round.number) is not None

    @property
    def frozen_whole(self) -> bool:
        """True if the contributors are fixed, and one leader merges their models."""
        return self.round.phase == "frozen" and not self.is_sliced

    @property
    def slicing(self) -> Slicing:
        """The slices of the round in progress, or else of the standing result."""
        assert self.state.slicings
        return self.state.slicings[-1]

    def slice(self, index: int) -> Slice:
        return self.slicing.slices[index]

    def of(self, uid: str) -> list[int]:
        """The slices that this member is to merge."""
        return [index for index, each in enumerate(self.slicing.slices) if each.merger == uid]

    def others(self, *uids: str) -> list[str]:
        """The sites that are alive but these."""
        return [uid for uid in self.sites if uid not in uids and self.state.members[uid].alive]

    # --- transactions -------------------------------------------------------------------------------------------------

    def send(self, uid: str, body: Body, contract: str = CONTRACT) -> None:
        self.send_all([(uid, body)], contract)

    def send_all(self, sent: Sequence[tuple[str, Body]], contract: str = CONTRACT) -> None:
        """All in one block, a second after the last. Raises `Rejection`."""
        self.ledger.clock = max(self.ledger.clock, self.ledger.chain.time_ms) + 1000
        self.ledger.commit(*(self.ledger.write(uid, contract, body) for uid, body in sent))

    def submit(self, *uids: str, **changes: object) -> None:
        current = self.round
        values: dict[str, object] = {
            "round": current.number,
            "base": current.base,
            "submission": "trained",
            "size": self.size,
            "weight": 1,
        }
        bodies = [
            (uid, Submit(**({"digest": model(uid, current.number)} | values | changes)))  # type: ignore[arg-type]
            for uid in uids or self.sites
        ]
        self.send_all(bodies)

    def freeze(self) -> None:
        self.send(self.leader, Freeze(self.round.number, self.round.term))

    def link(self, uid: str, speed: int = 0, *, merges: bool = True) -> None:
        self.send(uid, StateLink(speed, speed, merges))

    def merge(self, *indexes: int, by: str = "", root_of: str = "") -> None:
        """These slices, or all that are not, are merged by their mergers."""
        open_slices = [index for index, each in enumerate(self.slicing.slices) if not each.holders]
        number, recipe = self.slicing.round, self.slicing.recipe
        self.send_all(
            [
                (by or self.slice(index).merger, Sliced(number, recipe, index, root(index, root_of)))
                for index in indexes or open_slices
            ]
        )

    def hold(self, uid: str, *indexes: int, roots: str = "") -> None:
        """The member holds copies of these slices, or of all that it has not merged, if there are any."""
        named = indexes or tuple(index for index, each in enumerate(self.slicing.slices) if uid not in each.holders)
        if not named:
            return
        what = roots or roots_of(self.slicing.slices, named)
        self.send(uid, Held(self.slicing.round, self.slicing.recipe, named, what))

    def fault(self, index: int, uid: str, reason: ExclusionReason = "unreachable", by: str = "") -> None:
        """The merger of this slice cannot get or use the model of `uid`."""
        exclusion = Exclusion(uid, reason, "no route")
        body = ReportFault(self.slicing.round, self.slicing.recipe, index, exclusion)
        self.send(by or self.slice(index).merger, body)

    def reassign(self, *indexes: int, by: str = "") -> None:
        body = Reassign(self.round.number, self.round.term, self.slicing.recipe, indexes)
        self.send(by or self.leader, body)

    def receipt(self) -> Receipt:
        """That which follows from the round."""
        return receipt_of(self.round, {part.uid: part.reason for part in self.slicing.excluded})

    def publish(self, receipt: Receipt | None = None) -> None:
        body = Publish(
            self.round.number, self.round.term, merged(self.round.number), self.size, receipt or self.receipt()
        )
        self.send(self.leader, body)

    def report(self, *uids: str) -> None:
        number = self.result.closed.number
        self.send_all([(uid, ReportPerformance(number, 0.5, None, 1, 1)) for uid in uids or self.sites])

    def lose(self, *uids: str) -> None:
        self.send_all([("sn-1", Lost(uid, 1)) for uid in uids], network.CONTRACT)

    def back(self, *uids: str) -> None:
        self.send_all([("sn-1", Back(uid, 1)) for uid in uids], network.CONTRACT)

    def leave(self, uid: str) -> None:
        self.send(uid, Leave(), network.CONTRACT)

    def revoke(self, uid: str) -> None:
        shown = thumbprint(self.ledger.actors[uid].pair.certificate)
        self.send("op-1", Revoke(shown), network.CONTRACT)

    def complete(self) -> None:
        """A whole round: all submit, merge, hold, and report."""
        self.submit()
        if self.is_sliced:
            self.merge()
            for uid in self.others(self.leader)[:2]:
                self.hold(uid)
        self.publish(None if self.is_sliced else receipt_of(self.round, {}))
        self.report()


def root(index: int, of: str = "") -> str:
    """The digest of a slice's chunks as an honest merger states it, or `of` somebody else."""
    return hashlib.sha256(f"slice {index} {of}".encode()).hexdigest()


@cache
def _opened(*sites: str, organisations: str, **changes: Any) -> InSlices:
    return InSlices(*sites, organisations=dict(zip(sites, organisations.split(), strict=False)), **changes)


@cache
def _frozen(*sites: str, **changes: Any) -> InSlices:
    made = opened(*sites, **changes)
    made.submit()
    assert made.is_sliced
    return made


def opened(*sites: str, organisations: str = "", **changes: Any) -> InSlices:
    """All sessions are open. `organisations`: of the sites, in order; where there are none, one has all."""
    return _opened(*(sites or SITES), organisations=organisations, **changes).copied()


def frozen(*sites: str, **changes: Any) -> InSlices:
    """Round 0, frozen and cut; nothing is merged yet."""
    return _frozen(*sites, **changes).copied()


def publish_and_hold(play: InSlices) -> None:
    """All slices are merged, each is held by two more members, and the leader publishes."""
    play.merge()
    for uid in play.others(play.leader)[:2]:
        play.hold(uid)
    play.publish()


def depose(play: InSlices, *by: str) -> None:
    for uid in by:
        play.send(uid, Depose(play.round.number, play.round.term, 1, play.ledger.chain.height, "progress"))


def refusal(play: InSlices, uid: str, body: Body) -> Code:
    """The code with which this is refused; the state is as before."""
    before = play.state
    with pytest.raises(Rejection) as refused:
        play.send(uid, body)
    assert play.state is before
    return refused.value.code


def mergers(play: InSlices) -> Counter[str]:
    return Counter(each.merger for each in play.slicing.slices)
