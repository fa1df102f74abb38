"""The features of a license, by the numbers that the original has given them. Pure."""

import re
from enum import IntEnum

from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import OPERATORS, Role

VERSION = 1
"""Of each feature, as it stands behind the colon."""

_NUMBER = re.compile(r"[0-9]{1,10}")


class LicenseError(UserError):
    """Something about licenses that cannot go on; the message says what, where and what to do."""


class Feature(IntEnum):
    """A feature: a node takes one token of it."""

    SL = 1100000378
    SN = 1100000380
    SWCI = 1100000388
    SWOP = 1100000390
    TRAINING_CONTRACTS = 1100000394
    """Training contracts beside the default one."""
    TASKRUNNERS = 1100000396
    """Taskrunners beside the default one."""

    @property
    def versioned(self) -> str:
        """As logs and errors name it: `1100000378:1`."""
        return f"{self.value}:{VERSION}"

    @property
    def title(self) -> str:
        """For people, as `swarm license` spells it."""
        return self.name.lower().replace("_", "-")


_BY_ROLE: dict[Role, frozenset[Feature]] = {
    "SL": frozenset({Feature.SL}),
    "SN": frozenset({Feature.SN, Feature.TRAINING_CONTRACTS, Feature.TASKRUNNERS}),
    "SWOP": frozenset({Feature.SWOP}),
    **{role: frozenset({Feature.SWCI}) for role in OPERATORS},
}


def features_for(role: Role) -> frozenset[Feature]:
    """The features of which the holder of a certificate for this role may take a token."""
    return _BY_ROLE.get(role, frozenset())


def read_feature(text: str) -> Feature:
    """The feature of this number or name (`1100000378`, `SL`). Raises `LicenseError`."""
    for feature in Feature:
        if (_NUMBER.fullmatch(text) and int(text) == feature) or text.lower() == feature.title:
            return feature
    known = ", ".join(f"{feature.title} ({feature.value})" for feature in Feature)
    raise LicenseError(f"{text[:60]!r} is no feature of a license; there is {known}")
