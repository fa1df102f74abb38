"""All readers that are fuzzed."""

from typing import Final

from fuzz import chain, doctor, newcomers, office, site, timed, told
from fuzz.target import Target

_READERS = (
    *chain.TARGETS,
    *site.TARGETS,
    *office.TARGETS,
    *newcomers.TARGETS,
    *doctor.TARGETS,
    *told.TARGETS,
    *timed.TARGETS,
)
TARGETS: Final[dict[str, Target]] = {target.name: target for target in _READERS}
