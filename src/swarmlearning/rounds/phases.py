"""The phases of a site's ML process, and which messages are possible in each.

    Absent ──SessionRequested──▶ Joining ──AnswerOpened──▶ Open ──ModelReceived──▶ Awaiting
                                                             ▲                      │  ▲
                                                             │              Deliver │  │ DeliveryFailed
                                                AnswerSynced │                      ▼  │
                                   Ended ◀──AnswerClosed── Served ◀─Evaluated─ Delivering

phase       it may send      it may be sent                       meanwhile its node
----------  ---------------  -----------------------------------  ----------------------------------------------------
Absent      -                -                                    reports it lost, where the ledger thinks it present
Joining     -                AnswerOpened, Fail                   opens its session on the ledger
Open        ModelReceived    Fail                                 fetches each result, and reports that it has it
Awaiting    -                Deliver, AnswerSynced, AnswerClosed, submits its model or carries it over, fetches the
                             Fail                                 result, delivers it
Delivering  Evaluated        Fail                                 waits until the result is loaded
Served      -                the same as in Awaiting              waits for its pace, or until the training is settled
Ended       -                -                                    waits until all others have the final model
Failed      anything         -                                    ignores what was sent before the failure was read

`SessionRequested` leads from every phase to Joining (another ML process, or the same one anew), `MLDisconnected` to
Absent, `Fail` to Failed. A result that becomes void is followed by another one, so `Deliver` is possible in Served too;
in Awaiting the ML process is answered without a result where training is over and it has the final model already.
"""

from dataclasses import dataclass
from typing import TypeAlias

from swarmlearning.rounds.events import (
    AnswerClosed,
    AnswerOpened,
    AnswerSynced,
    Deliver,
    DeliveryFailed,
    Evaluated,
    Fail,
    MLDisconnected,
    ModelReceived,
    SessionRequested,
)
from swarmlearning.rounds.facts import NO_MODEL, Handed, ModelRef

FromML: TypeAlias = SessionRequested | ModelReceived | Evaluated | MLDisconnected
"""Messages of the ML process."""
ToML: TypeAlias = AnswerOpened | Deliver | AnswerSynced | AnswerClosed | Fail
"""Messages to the ML process."""


@dataclass(frozen=True)
class Absent:
    """There is no ML process."""


@dataclass(frozen=True)
class Joining:
    """It waits until its session is open. `has`: the merged model it trains from; `recorded`: the ledger has it."""

    has: ModelRef
    recorded: bool = False


@dataclass(frozen=True)
class Open:
    """Its session is open, and it trains, from the merged model that it `has`."""

    has: ModelRef


@dataclass(frozen=True)
class Awaiting:
    """It has handed over `model`, which it trained from what it `has`, and waits for the swarm's."""

    has: ModelRef
    model: Handed


@dataclass(frozen=True)
class Served:
    """It has loaded a result since it handed over `model`, and waits until it may train on or end."""

    has: ModelRef
    model: Handed


@dataclass(frozen=True)
class Delivering:
    """It loads `result`; `before` is the phase until then."""

    before: Awaiting | Served
    result: ModelRef


@dataclass(frozen=True)
class Ended:
    """It knows that training is over everywhere."""


@dataclass(frozen=True)
class Failed:
    """It has got the reason why it cannot go on."""


Phase: TypeAlias = Absent | Joining | Open | Awaiting | Delivering | Served | Ended | Failed


class OutOfOrder(Exception):
    """A message to or from the ML process that is not possible in its phase."""

    def __init__(self, phase: Phase, message: FromML | ToML | DeliveryFailed) -> None:
        super().__init__(f"{type(message).__name__} is not possible in phase {type(phase).__name__} of the ML process")


def next_phase(phase: Phase, message: FromML | ToML | DeliveryFailed, latest: ModelRef) -> Phase:
    """Returns the phase after a message to or from the ML process, or after one that could not be delivered.

    `latest` is the merged model that stands: what is delivered. Raises `OutOfOrder`.
    """
    match phase, message:
        case _, SessionRequested(holds=holds):
            return Joining(latest if holds and holds == latest.digest else NO_MODEL)
        case _, MLDisconnected():
            return Absent()
        case Failed(), ModelReceived() | Evaluated():
            return phase
        case Joining() | Open() | Awaiting() | Delivering() | Served(), Fail():
            return Failed()
        case Joining(has), AnswerOpened():
            return Open(has)
        case Open(has), ModelReceived(digest, size):
            return Awaiting(has, Handed(digest, size))
        case Awaiting() | Served(), Deliver():
            return Delivering(phase, latest)
        case Delivering(before, result), Evaluated():
            return Served(result, before.model)
        case Delivering(before, result), DeliveryFailed(digest) if digest == result.digest:
            return before
        case _, DeliveryFailed():
            return phase  # of a delivery to an ML process that has gone
        case Awaiting(has) | Served(has), AnswerSynced():
            return Open(has)
        case Awaiting() | Served(), AnswerClosed():
            return Ended()
        case _:
            raise OutOfOrder(phase, message)
