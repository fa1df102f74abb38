"""The kinds of schedules, of which a sweep may run only some: `make simulate ONLY="outer steps"`."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from simulation.swarm import Swarm

SLICES: Final = "slices"
OUTER: Final = "outer steps"
CODED: Final = "coded changes"
FEEDBACK: Final = "error feedback"
KINDS: Final = (SLICES, OUTER, CODED, FEEDBACK)


def kinds_of(swarm: "Swarm") -> set[str]:
    """Returns what is true of a swarm: its rounds are merged in slices, it has an outer optimizer, its changes are
    coded, and what coding leaves out is added to later ones."""
    coded = swarm.struck["coded changes"] > 0
    found = {
        SLICES: swarm.sliced,
        OUTER: swarm.outer is not None,
        CODED: coded,
        FEEDBACK: coded and swarm.method == "mean",
    }
    return {kind for kind, there in found.items() if there}
