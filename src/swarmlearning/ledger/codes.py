"""The codes of refusals, on which programs act when the ledger or an SN refuses something.

The values go over the wire and stay as they are; people read the detail beside them. A *transient* refusal only
reports that the chain has moved on meanwhile: the next block shows what to do instead. `QUOTA` passes by itself: the
same is sent again later.
"""

from enum import StrEnum


class Code(StrEnum):
    """The reason of a refusal."""

    # the transaction, before it is looked into
    MALFORMED = "malformed"
    OTHER_NETWORK = "other-network"
    OTHER_CHAIN = "other-chain"
    EXPIRED = "expired"
    REPLAYED = "replayed"
    WRONG_CONTRACT = "wrong-contract"

    # its sender
    BAD_SIGNATURE = "bad-signature"
    BAD_CERTIFICATE = "bad-certificate"
    UNKNOWN_CERTIFICATE = "unknown-certificate"
    UNTRUSTED = "untrusted"
    REVOKED = "revoked"
    UNKNOWN_NODE = "unknown-node"
    OTHER_SUBJECT = "other-subject"
    HAS_LEFT = "has-left"
    QUARANTINE = "quarantine"
    OLD_INCARNATION = "old-incarnation"
    UNKNOWN_INCARNATION = "unknown-incarnation"
    FAR_INCARNATION = "far-incarnation"
    BAD_ROLE = "bad-role"
    BAD_UID = "bad-uid"
    NOT_ALLOWED = "not-allowed"

    # the network
    NO_NETWORK = "no-network"
    NO_GENESIS = "no-genesis"
    FOUNDED_ALREADY = "founded-already"
    NO_AUTHORITY = "no-authority"
    UNKNOWN_AUTHORITY = "unknown-authority"
    LAST_AUTHORITY = "last-authority"
    UNKNOWN_ORGANISATION = "unknown-organisation"
    OTHER_ORGANISATION = "other-organisation"
    LAST_ORGANISATION = "last-organisation"
    TOO_MANY = "too-many"
    QUOTA = "quota"
    UNKNOWN_ACT = "unknown-act"
    LOCKED_OUT = "locked-out"
    NO_PROPOSAL = "no-proposal"
    NO_INVITATION = "no-invitation"
    LAST_SN = "last-sn"
    TOO_MANY_ADDRESSES = "too-many-addresses"
    BAD_ADDRESS = "bad-address"
    OLD_RULES = "old-rules"
    FAR_RULES = "far-rules"
    NO_CHANGE = "no-change"
    NOT_COUNTED = "not-counted"

    # a training
    NO_CONTRACT = "no-contract"
    CREATED_ALREADY = "created-already"
    NOT_INVITED = "not-invited"
    NO_SAMPLES = "no-samples"
    FORMER_RUN = "former-run"
    NO_SESSION = "no-session"
    OTHER_TERMS = "other-terms"
    UNSOUND = "unsound"
    TRAINING_OVER = "training-over"
    NOT_OVER = "not-over"
    SETTLED = "settled"
    NOT_A_MEMBER = "not-a-member"
    CLOSED_ALREADY = "closed-already"
    NOT_CLOSED = "not-closed"
    FINISHED = "finished"
    NO_ROUND = "no-round"
    OTHER_ROUND = "other-round"
    STALE_TERM = "stale-term"
    NOT_LEADER = "not-leader"
    PROGRESS = "progress"
    NO_PROGRESS = "no-progress"
    COLLECTING = "collecting"
    FROZEN_ALREADY = "frozen-already"
    BELOW_MIN_PEERS = "below-min-peers"
    STALE_BASE = "stale-base"
    SUBMITTED_ALREADY = "submitted-already"
    EXCLUDED = "excluded"
    WRONG_KIND = "wrong-kind"
    WRONG_WEIGHT = "wrong-weight"
    WRONG_METHOD = "wrong-method"
    WRONG_CONTRIBUTORS = "wrong-contributors"
    WRONG_CONTRIBUTION = "wrong-contribution"
    NO_WEIGHT = "no-weight"
    NO_RESULT = "no-result"
    NOT_INITIAL = "not-initial"
    STILL_HELD = "still-held"
    OTHER_RECIPE = "other-recipe"
    NOT_MERGER = "not-merger"
    NOT_MERGED = "not-merged"
    NOT_CHECKER = "not-checker"
    TOO_LATE = "too-late"
    WRONG_STEP = "wrong-step"
    WRONG_CHANGE = "wrong-change"

    # an experiment
    NO_RUN = "no-run"

    # a task, a taskrunner
    NO_TASK = "no-task"
    NO_LINE = "no-line"
    FINAL_ALREADY = "final-already"
    NOT_FINAL = "not-final"
    WRONG_PREREQUISITE = "wrong-prerequisite"
    NO_TASKRUNNER = "no-taskrunner"
    NOT_IDLE = "not-idle"
    NO_PEERS = "no-peers"
    NO_ASSIGNMENT = "no-assignment"
    NOT_LISTENING = "not-listening"
    NOT_ENROLLED = "not-enrolled"
    ENOUGH_PEERS = "enough-peers"
    OTHER_ASSIGNMENT = "other-assignment"
    ASSIGNMENT_OVER = "assignment-over"
    WRONG_REPORT = "wrong-report"

    # a block
    TIME = "time"
    TRANSACTION_ROOT = "transaction-root"
    RULES_VERSION = "rules-version"
    STATE_HASH = "state-hash"
    SEALER = "sealer"
    SEAL = "seal"

    # a request to an SN
    NO_BLOCK = "no-block"
    ARCHIVED = "archived"
    CONFLICT = "conflict"
    LOCAL_ORDERING = "local-ordering"
    NOT_CONNECTED = "not-connected"
    NO_REQUEST = "no-request"
    NO_LICENSE = "no-license"
    UNAVAILABLE = "unavailable"

    @property
    def transient(self) -> bool:
        """True if the chain has merely moved on meanwhile, so that the refusal calls for no remedy."""
        return self in _TRANSIENT


_TRANSIENT = frozenset(
    {
        Code.ASSIGNMENT_OVER,
        Code.BELOW_MIN_PEERS,
        Code.CLOSED_ALREADY,
        Code.COLLECTING,
        Code.ENOUGH_PEERS,
        Code.EXCLUDED,
        Code.EXPIRED,
        Code.FINISHED,
        Code.FORMER_RUN,
        Code.FROZEN_ALREADY,
        Code.NO_CHANGE,
        Code.NO_ROUND,
        Code.NOT_A_MEMBER,
        Code.NOT_CHECKER,
        Code.NOT_CLOSED,
        Code.NOT_COUNTED,
        Code.NOT_LEADER,
        Code.NOT_MERGED,
        Code.NOT_MERGER,
        Code.OLD_INCARNATION,
        Code.OTHER_ASSIGNMENT,
        Code.OTHER_RECIPE,
        Code.OTHER_ROUND,
        Code.PROGRESS,
        Code.QUOTA,
        Code.NO_PROGRESS,
        Code.STALE_BASE,
        Code.STALE_TERM,
        Code.SUBMITTED_ALREADY,
        Code.TOO_LATE,
        Code.TRAINING_OVER,
        Code.WRONG_WEIGHT,
    }
)


def is_transient(code: str) -> bool:
    """`Code.transient` of a code as it came over the wire; False for one this program does not know."""
    return code in _TRANSIENT
