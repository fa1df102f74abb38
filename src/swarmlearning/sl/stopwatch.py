"""Measures what this node does in a round: who works says so (`during`, `begin`), and the ledger when a round ends.

A measurement is two readings of the clock and an entry in a list. Belongs to one event loop.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.models.fileserver import Turn
from swarmlearning.transport.parties import Credential
from swarmlearning.views.times import MOST_SPANS, Coded, Fault, RoundTimes, Script, Span, Times, What

Key: TypeAlias = tuple[str, int, int]
OnClosed: TypeAlias = Callable[[RoundTimes], None]


@dataclass
class Work:
    """A piece of work that is measured, in seconds of the monotonic clock; `end`: None while it goes on."""

    what: What
    begin: float
    end: float | None = None
    uid: str = ""
    bytes: int = 0
    fault: Fault = ""
    behind: bool = False


class Stopwatch:
    """The times of the round in progress; each of `on_closed`, to which more may be added, gets the record of a round
    that has closed.

    `script` gives what is known of the training script; None while there is none.
    """

    def __init__(
        self, *on_closed: OnClosed, now: Callable[[], float] = time.monotonic, now_ms: Callable[[], int] | None = None
    ) -> None:
        self.sent = 0  # bytes of models that others have fetched here
        self.script: Callable[[], Script | None] = lambda: None
        self.on_closed = list(on_closed)
        self._now = now
        self._now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        self._key: Key | None = None
        self._works: list[Work] = []
        self._dropped = 0
        self._begun, self._begun_ms = now(), 0
        self._opened: float | None = None
        self._restarted = False
        self.coded: Coded | None = None  # the change made last, for the round of `_coded`
        self._coded: Key | None = None

    def codes(self, change: Coded | None) -> None:
        """The site gives this change to the round in progress."""
        self.coded, self._coded = change, self._key

    def begin(self, what: What) -> Work:
        """A piece of work begins; `end` ends it. One that has no room in the record is measured in vain."""
        work = Work(what, self._now())
        if len(self._works) < MOST_SPANS:
            self._works.append(work)
        else:
            self._dropped += 1
        return work

    def end(self, work: Work, fault: Fault = "") -> None:
        """A piece of work ends, the first time that this is called."""
        if work.end is None:
            work.end, work.fault = self._now(), fault

    @contextmanager
    def during(self, what: What) -> Iterator[Work]:
        """Measures the block; one that raises has failed, and one that is cancelled has not."""
        work = self.begin(what)
        try:
            yield work
        except Exception:
            self.end(work, "failed")
            raise
        finally:
            self.end(work)

    def counted(self, turn: Turn) -> Turn:
        """The same turn for whoever fetches a model here, with its bytes counted."""

        def take(credential: Credential, size: int) -> float:
            self.sent += size
            return turn(credential, size)

        return take

    def reached(self, state: Training) -> None:
        """The training is so now: closes the record of a round that is over, and begins that of the next."""
        key = (state.name, state.run, state.round.number if state.round else state.rounds)
        if key != self._key:
            self._close()
            self._restarted = self._key is None and state.round is not None
            self._key, self._dropped = key, 0
            self._begun, self._begun_ms = self._now(), self._now_ms()
            self._opened = None
        if self._opened is None and state.round is not None:
            self._opened = self._now()

    def answer(self, rounds: tuple[RoundTimes, ...]) -> Times:
        """What this node does now, with records of its diary."""
        record = self._record(None) if self._key is not None else None
        return Times(self._now_ms(), record, self.script(), rounds)

    def _close(self) -> None:
        if self._key is None:
            return
        record = self._record(self._now())
        self._works = [work for work in self._works if work.end is None]
        for tell in self.on_closed:
            tell(record)

    def _record(self, end: float | None) -> RoundTimes:
        assert self._key is not None
        contract, run, number = self._key
        return RoundTimes(
            contract=contract,
            run=run,
            round=number,
            begun_ms=self._begun_ms,
            spans=tuple(self._span(work, end) for work in self._works),
            opened=None if self._opened is None else self._offset(self._opened),
            ended=None if end is None else self._offset(end),
            dropped=self._dropped,
            restarted=self._restarted,
            coded=self.coded if self._coded == self._key else None,
        )

    def _span(self, work: Work, end: float | None) -> Span:
        until = work.end if work.end is not None else end
        return Span(
            what=work.what,
            begin=self._offset(work.begin),
            end=None if until is None else self._offset(until),
            uid=work.uid,
            bytes=work.bytes,
            fault=work.fault,
            behind=work.behind,
        )

    def _offset(self, moment: float) -> int:
        return round(1000 * (moment - self._begun))
