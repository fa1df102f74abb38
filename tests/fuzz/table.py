"""All readers that are fuzzed."""

from typing import Final

from fuzz import chain, office, site
from fuzz.target import Target

TARGETS: Final[dict[str, Target]] = {target.name: target for target in (*chain.TARGETS, *site.TARGETS, *office.TARGETS)}
