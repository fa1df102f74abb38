"""A training of many sites and rounds as a UI knows it: signing all its transactions would take minutes, so what the
ledger has recorded of its rounds is made up, the same each time."""

from dataclasses import replace
from typing import Final

import msgspec

from support.network import CONTRACT, Ledger, session
from support.styleguide import curves, participation
from swarmlearning.ledger.bodies import ReportPerformance, Submit
from swarmlearning.views.records import (
    ABSENT,
    CONTRIBUTED,
    EXCLUDED,
    LATE,
    LOST,
    PART,
    REPEATED,
    WITHHELD,
    Head,
    RunRecord,
)
from swarmlearning.views.report import Recorder

SITES: Final = 64
ROUNDS: Final = 1000
RUN: Final = f"{CONTRACT}/1"
_CELLS: Final = {
    "c": CONTRIBUTED,
    "L": CONTRIBUTED,
    "l": ABSENT,
    "t": LATE,
    "x": LOST,
    "a": ABSENT,
    "e": EXCLUDED,
    "r": CONTRIBUTED | REPEATED,
    "w": CONTRIBUTED | WITHHELD,
    " ": 0,
}


class LongTraining:
    """Its `ledger`, seen by the operator `op-1`, and what a UI has recorded of it."""

    def __init__(self, sites: int = SITES, rounds: int = ROUNDS) -> None:
        self.uids = [f"klinikum-{number}" for number in range(1, sites + 1)]
        self.ledger = Ledger()
        self.ledger.join("op-1", "SWCI")
        for uid in self.uids:
            self.ledger.join(uid)
        for uid in self.uids:
            self.ledger.send(uid, session(min_peers=sites, epochs=rounds))
        self.recorder = Recorder()
        self.record = self.recorder.runs[CONTRACT, 1] = RunRecord(CONTRACT, 1)
        self._at_round(rounds)
        self._made_up(rounds)

    def submit(self, *uids: str) -> None:
        """These sites hand in their models for the round in progress."""
        for uid in uids:
            current = self.ledger.training.round
            assert current is not None
            self.ledger.send(uid, Submit(current.number, current.base, "trained", "a" * 64, 1, 1))
        self._known()

    def _at_round(self, rounds: int) -> None:
        """So many rounds are over, and the next one has begun."""
        state = self.ledger.training
        assert state.round is not None
        now = msgspec.structs.replace(state, rounds=rounds, round=msgspec.structs.replace(state.round, number=rounds))
        world = self.ledger.chain.world.with_entries({f"training/{CONTRACT}": now})
        self.ledger.chain = replace(self.ledger.chain, world=world)
        self._known()

    def _known(self) -> None:
        self.recorder.chain = self.ledger.chain
        self.record.advance(self.ledger.training, self.ledger.clock)

    def _made_up(self, rounds: int) -> None:
        cells = participation(len(self.uids), rounds)["cells"]
        drawn = [each for each in curves(len(self.uids), rounds)["series"] if each["kind"] == "site"]
        leaders = [_leader(self.uids, [line[at] for line in cells]) for at in range(rounds)]
        self.record.heads = [Head(0, leader, self.ledger.clock + 20_000 * at) for at, leader in enumerate(leaders)]
        for uid, line, curve in zip(self.uids, cells, drawn, strict=True):
            for at, letter in enumerate(line):
                if letter in "cLr":
                    loss, metric = curve["loss"][at], curve["metric"][at]
                    self.record.report(uid, ReportPerformance(at, loss, metric, at + 1, rounds))
            column = self.record._column(uid, rounds - 1)
            for at, letter in enumerate(line):
                column.parts[at] |= _CELLS[letter]
                if _CELLS[letter] & PART == CONTRIBUTED:
                    column.measures["distance"][at] = round(0.1 + 0.9 / (at + 1), 4)


def _leader(uids: list[str], letters: list[str]) -> str:
    """Whose letter says so; the first one in a round without."""
    return next((uid for uid, letter in zip(uids, letters, strict=True) if letter in "Ll"), uids[0])
