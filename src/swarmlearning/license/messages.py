"""What a license server answers, as its clients read it: every field is checked. Pure."""

from enum import StrEnum
from typing import Annotated

import msgspec

from swarmlearning.license.leases import LONGEST_MS, Lease

MOST_IN_AN_ANSWER = 2000
"""Leases; who follows another server requests more after these."""


class Code(StrEnum):
    """Why a server refuses; the values go over the wire."""

    NO_TOKEN = "304"
    """The original's number: no token of the feature can be had."""
    STANDBY = "standby"
    """This is the secondary, and the primary is at work."""
    NOT_ALLOWED = "not-allowed"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"


class Granted(msgspec.Struct, frozen=True):
    """A token, lent for so many seconds from now."""

    seconds: Annotated[float, msgspec.Meta(gt=0, le=LONGEST_MS / 1000)]


class Refused(msgspec.Struct, frozen=True):
    """`code` is for programs, `detail` for people."""

    code: Annotated[str, msgspec.Meta(max_length=100)]
    detail: Annotated[str, msgspec.Meta(max_length=4000)]


class Leases(msgspec.Struct, frozen=True):
    """The leases that have changed up to the change `number` of the server's start `start`; `more` are to come."""

    start: Annotated[str, msgspec.Meta(max_length=64)]
    number: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    leases: Annotated[list[Lease], msgspec.Meta(max_length=MOST_IN_AN_ANSWER)]
    more: bool
