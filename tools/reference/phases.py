"""The page of the phases of a site's script: a diagram and a table, made by asking `next_phase` for every pair."""

from itertools import product
from typing import Any, Final

from reference.diagram import Edge, diagram
from reference.markdown import code, first_sentence, prose, table
from swarmlearning.ledger.bodies import OpenSession
from swarmlearning.rounds import phases
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
from swarmlearning.rounds.phases import (
    Absent,
    Awaiting,
    Delivering,
    Ended,
    Failed,
    Joining,
    Open,
    OutOfOrder,
    Phase,
    Served,
    next_phase,
)

_RESULT, _MODEL = ModelRef(1, "1" * 64), Handed("2" * 64, 1)
_BEFORE = Awaiting(NO_MODEL, _MODEL)
EXAMPLES: Final[tuple[Phase, ...]] = (
    Absent(),
    Joining(NO_MODEL),
    Open(NO_MODEL),
    _BEFORE,
    Delivering(_BEFORE, _RESULT),
    Served(_RESULT, _MODEL),
    Ended(),
    Failed(),
)
"""One of each phase."""
_SESSION = OpenSession("mean", 1, "0" * 64, 1, 1, "snapshot", 1, False, True)
MESSAGES: Final[tuple[Any, ...]] = (
    SessionRequested(_SESSION),
    AnswerOpened(),
    ModelReceived(_MODEL.digest, 1, closing=False),
    Deliver(_RESULT.digest),
    DeliveryFailed(_RESULT.digest),
    Evaluated(None, None, 1, 1),
    AnswerSynced(1, over=False),
    AnswerClosed(),
    MLDisconnected(clean=True),
    Fail("why"),
)
PLACES: Final = {
    "Absent": (0, 0),
    "Joining": (1, 0),
    "Open": (2, 0),
    "Awaiting": (3, 0),
    "Failed": (0, 1),
    "Ended": (1, 1),
    "Served": (2, 1),
    "Delivering": (3, 1),
}
FROM_EVERYWHERE: Final = 4
"""From as many phases a message leads to the same one: it is told in the text instead of being drawn."""


def page() -> str:
    """The page."""
    edges = transitions()
    widely = {each for each in {edge.label for edge in edges} if _sources(edges, each) > FROM_EVERYWHERE}
    drawn = [
        edge
        for edge in edges
        if edge.start != edge.end and (edge.label not in widely or (edge.start, edge.end) == ("Absent", "Joining"))
    ]
    told = "\n".join(
        f"- `{label}` leads from {_sources(edges, label)} phases to {code(*_ends(edges, label))}."
        for label in sorted(widely)
    )
    found = {type(each).__name__: first_sentence(type(each).__doc__) for each in EXAMPLES}
    grid = {(edge.start, edge.label): edge.end for edge in edges}
    labels = [type(each).__name__ for each in MESSAGES]
    rows = [[code(label), *(grid.get((start, label), "") for start in found)] for label in labels]
    return (
        "# Phases of a training script\n\nAn SL node leads its script through these phases. The diagram and the table "
        "come from `rounds/phases.py`, by asking it for each pair of phase and message; a pair without an entry is an "
        "error that names both.\n\n"
        + diagram("The phases of a training script", PLACES, drawn)
        + f"\nNot drawn:\n\n{told}\n\n"
        + table(("phase", ""), ((code(name), text) for name, text in found.items()))
        + "\n## Every message in every phase\n\n"
        + table(("", *found), rows)
        + f"\n## What is possible when\n\n{prose(phases.__doc__).partition('Delivering' + chr(10))[2]}\n"
    )


def transitions() -> list[Edge]:
    """All ways from phase to phase, with the messages that lead there."""
    found: dict[Edge, None] = {}
    for phase, message in product(EXAMPLES, MESSAGES):
        try:
            after = next_phase(phase, message, _RESULT)
        except OutOfOrder:
            continue
        found[Edge(type(phase).__name__, type(after).__name__, type(message).__name__)] = None
    return list(found)


def _sources(edges: list[Edge], label: str) -> int:
    return len({edge.start for edge in edges if edge.label == label and edge.start != edge.end})


def _ends(edges: list[Edge], label: str) -> list[str]:
    return sorted({edge.end for edge in edges if edge.label == label and edge.start != edge.end})
