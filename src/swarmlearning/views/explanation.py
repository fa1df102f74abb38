"""The answer to why a round took as long as it did, or waits, as facts: what `swarm explain --json` prints."""

from typing import Literal, TypeAlias

import msgspec

from swarmlearning.views.checks import RoundChecks
from swarmlearning.views.sliced import RoundWay
from swarmlearning.views.times import Coded, Fault
from swarmlearning.views.training import Activity, Reason

Doing: TypeAlias = Literal[
    "train", "take-over", "check", "load", "carry", "privacy", "fetch", "merge", "session", "submit", "publish", "send",
    "wait", "replace", "unknown",
]  # fmt: skip
"""What a piece of a round's time went to: the work of a site (`times.What`); `wait`: nothing that is measured;
`replace`: from a leader's failure to the present one; `unknown`: the node does not state what it did."""

Cause: TypeAlias = Literal[
    "closed", "over", "empty", "ledger", "sessions", "organisations", "leaderless", "away", "unreachable", "unusable",
    "no-base", "frozen", "training", "hand-over", "transfer", "merging", "submitting", "unknown",
]  # fmt: skip
"""Why a round is not closed. `sessions`: fewer than minPeers are open; `away`: a site is lost, or without its script;
`unreachable`: nobody can fetch from a site; `frozen`: a script trains no batch; `unknown`: a site is expected, and does
not state what it does."""


class Share(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of a round's time: `site` did this for so many seconds, `share` of all (0 to 1).

    `peer`: the site that a model was fetched from; `bytes`: of it; `bytes_per_second` of the whole transfer. `behind`:
    through the relay of an SN.
    """

    what: Doing
    site: str
    seconds: float
    share: float
    peer: str = ""
    bytes: int = 0
    bytes_per_second: float | None = None
    behind: bool = False


class SiteNow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member in this round. `state`: what the ledger shows; `after_seconds`: its model was in so long after the
    round opened; `doing` for `seconds`: as its node states, with its script; `why`: the reason why it states nothing.

    `frozen`: its script trains no batch though it should. `left`: batches until it hands its model over, and
    `eta_seconds` what that, or a transfer, will take. `peer`, `bytes` of `total` bytes: the transfer.
    `coded`: the change that it gave to the round, as its node states it.
    """

    site: str
    state: Activity | Literal["in"]
    awaited: bool = False
    reason: Reason | None = None
    since_ms: int | None = None
    after_seconds: float | None = None
    doing: Doing | None = None
    seconds: float = 0.0
    frozen: bool = False
    idle_seconds: float = 0.0
    batches_per_second: float | None = None
    left: int | None = None
    eta_seconds: float | None = None
    peer: str = ""
    bytes: int = 0
    total: int = 0
    fault: Fault = ""
    why: str = ""
    coded: Coded | None = None


class Replaced(msgspec.Struct, frozen=True):
    """A leader of this round before the present one, until when (Unix time), and what the ledger shows of it now."""

    site: str
    until_ms: int
    state: str


class Missing(msgspec.Struct, frozen=True, omit_defaults=True):
    """A site that does not state what it did in the round, or `part` of it, with the reason and what to do about it."""

    site: str
    why: str
    remedy: str = ""
    part: bool = False


class Explanation(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer. `cause` concerns `site` (of `peer`, where one fetches from the other); times are Unix time in
    milliseconds, `seconds` since the round opened or until it closed.

    `have` of `need` models are in, or sessions open; of so many organisations. `idle`: SLs that are there and have no
    session, since no script has connected to them. `way`: how the round is merged, of the latest rounds, once that is
    decided; `checks`: what members have checked, of it or of the standing result, where that was merged in slices.
    `agreed`: how values travel, and the outer optimizer, in words; empty where there is neither. `step_fault`: of the
    outer step of round `step_round`, that of the standing result, which was not finite. `alarms`: of the SN that was
    asked; `proposals`: texts of open ones that this training may wait for. `missing`: sites that do not state what
    they did, or only a part of it, and why.
    """

    contract: str
    run: int
    round: int | None
    cause: Cause
    seconds: float = 0.0
    since_ms: int | None = None
    leader: str = ""
    site: str = ""
    peer: str = ""
    address: str = ""
    have: int = 0
    need: int = 0
    have_organisations: int = 0
    need_organisations: int = 1
    rounds: int = 0
    waiting: str = ""
    replaced: tuple[Replaced, ...] = ()
    shares: tuple[Share, ...] = ()
    sites: tuple[SiteNow, ...] = ()
    alarms: tuple[str, ...] = ()
    proposals: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    idle: tuple[str, ...] = ()
    way: RoundWay | None = None
    checks: RoundChecks | None = None
    agreed: str = ""
    step_fault: str = ""
    step_round: int = 0
