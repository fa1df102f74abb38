"""The bodies of transactions on a taskrunner; the contract that a transaction names is the taskrunner."""

from typing import Annotated, Literal, TypeAlias

import msgspec

from swarmlearning.ledger.fields import Body, Digest, Name, Positive, Uid

MAX_PAIRS = 64
"""SL+ML pairs of one SWOP."""

Reason: TypeAlias = Literal[
    "ml-exit",  # the ML process ended with another exit code than 0
    "sl-exit",  # the SL ended before the training was over
    "no-start",  # SL or ML could not be started
    "build",  # a build step failed
    "pull",  # an image could not be pulled
    "download",  # a file could not be downloaded or extracted
    "unsupported",  # this resource manager cannot do what the task or the profile asks
    "limit",  # a limit of the site's policy: time, memory or processes
    "hung",  # the ML process made no progress, and the profile ends such processes
    "rejected",  # the site's operator has rejected the task
    "aborted",  # an operator has aborted the taskrunner
    "site",  # the site's own fault, such as a full disk or a container engine that does not answer
]
"""Why a part of a task has failed, as far as others learn it: from this list, never a text that a task has made."""

ExitCode: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
Reported: TypeAlias = Literal["enrolled", "awaiting-approval", "running", "complete", "failed"]
PairState: TypeAlias = Literal["running", "complete", "failed"]


class CreateTaskrunner(Body, frozen=True):
    """An operator creates a taskrunner: SWOPs listen to it, and carry out what is assigned to it."""


class Listen(Body, frozen=True):
    """The sender, a SWOP, follows this taskrunner from now on, and no other one; it can start so many pairs."""

    pairs: Annotated[int, msgspec.Meta(ge=0, le=MAX_PAIRS)]


class Assign(Body, frozen=True):
    """An operator assigns a final task to an idle taskrunner. `peers`: for a RUN_SWARM the number of pairs, else of
    SWOPs, that carry it out: whichever answer first; 0: all that listen."""

    task: Name
    peers: Annotated[int, msgspec.Meta(ge=0, le=2**16)]


class AssignTarget(Body, frozen=True):
    """An operator assigns a task to one SWOP: alone where the taskrunner is idle, else besides those that carry it out
    already, or once more where it has failed or was lost."""

    task: Name
    swop: Uid


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How one SL+ML pair of a SWOP is: its index in the SWOP's profile, and the UID of its SL."""

    index: Annotated[int, msgspec.Meta(ge=0, lt=2**16)]
    uid: Uid
    state: PairState
    reason: Reason | None = None
    exit_code: ExitCode | None = None


class ReportPeer(Body, frozen=True, omit_defaults=True):
    """The sender, a SWOP, states how its part of the assignment `serial` is, in this attempt.

    `enrolled` takes part, before it begins; `awaiting-approval` waits for its site's operator, and takes nobody's
    place. `digest` is what that operator approves: the task, its prerequisites and what these have brought in.
    """

    serial: Positive
    attempt: Positive
    state: Reported
    digest: Digest | None = None
    reason: Reason | None = None
    exit_code: ExitCode | None = None
    pairs: Annotated[tuple[Pair, ...], msgspec.Meta(max_length=MAX_PAIRS)] = ()


class ResetTaskrunner(Body, frozen=True):
    """An operator makes a taskrunner idle; the SWOPs end and remove what they have started."""


class AbortTaskrunner(Body, frozen=True):
    """An operator ends a task that is carried out: the SWOPs end what they have started, and keep its logs."""
