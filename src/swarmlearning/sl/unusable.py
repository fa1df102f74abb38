"""A contributor whose model cannot be fetched, or merged, as the mergers of its slices find out."""

from collections.abc import Iterator
from contextlib import contextmanager

from swarmlearning.ledger.bodies import Exclusion, ExclusionReason, remark
from swarmlearning.merge.faults import Faulty
from swarmlearning.merge.merging import MergeError
from swarmlearning.merge.streaming import ModelMalformed, ModelUnreadable


class Unusable(Exception):
    """The model of this contributor cannot be fetched, or merged."""

    def __init__(self, uid: str, reason: ExclusionReason, detail: str) -> None:
        super().__init__(detail)
        self.exclusion = Exclusion(uid, reason, remark(detail))


@contextmanager
def blaming() -> Iterator[None]:
    """Names the contributor whose model has ended what is inside, as `Unusable`. Raises `MergeError` where it is the
    round's base."""
    try:
        yield
    except Faulty as error:
        uid, fault = next(iter(error.faults.items()))
        raise Unusable(uid, "non-finite", fault.text) from error
    except ModelUnreadable as error:
        if error.uid is None:
            raise MergeError(f"the base of the round cannot be read: {error.reason}") from error
        reason: ExclusionReason = "unreachable"
        if isinstance(error, ModelMalformed):
            reason = "non-finite" if error.not_finite else "malformed"
        raise Unusable(error.uid, reason, error.reason) from error
