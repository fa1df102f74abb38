"""Models that members have submitted to a round, and those that a site's privacy lock keeps from being merged.

A site with a lock may demand a minimum of contributors: it serves its model only once the contributors of the round are
fixed and are so many. Members without a model of their own do not count to them: those without weight, those that
state the digest of another, and those that submit the round's base unchanged. Where there are too few, the merge
leaves its model out, and the site counts to minPeers as one without weight does: it holds up nobody.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from swarmlearning.ledger.contracts.training.bodies import Privacy, SubmissionKind

NO_MODEL: Final = "0" * 64
"""The digest that stands for the model of a site that gives none, in a round without a base."""


class Submission(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member's model for a round."""

    uid: str
    kind: SubmissionKind
    digest: str
    size: int
    weight: int
    at_ms: int
    privacy: Privacy | None = None

    @property
    def contributors(self) -> int:
        """The contributors that its site demands, itself included."""
        return self.privacy.contributors if self.privacy and self.weight else 1


def contributing(submissions: Mapping[str, Submission], base: str) -> int:
    """The number of models that sites have trained for a round with this base."""
    return len({entry.digest for entry in submissions.values() if entry.weight} - {base})


def copies(submissions: Mapping[str, Submission], base: str) -> set[str]:
    """The members that have given, for a round with this base, a model that another one had given in an earlier block.

    Equal models are no proof of a lie: scripts with one seed begin alike (so nothing is one without a base), and sites
    with the same data may train alike. So nobody is refused; but who names what another one has trained is not credited
    with it.
    """
    if not base:
        return set()
    trained = [one for one in submissions.values() if one.weight and one.digest != base]
    first: dict[str, int] = {}
    for one in trained:
        first[one.digest] = min(one.at_ms, first.get(one.digest, one.at_ms))
    return {one.uid for one in trained if one.at_ms > first[one.digest]}


def kept_back(submissions: Mapping[str, Submission], base: str) -> set[str]:
    """The members whose models are not served, since fewer sites contribute than they demand."""
    demanding = {uid: one.contributors for uid, one in submissions.items() if one.privacy and one.digest != base}
    if not demanding:
        return set()
    there = contributing(submissions, base)
    return {uid for uid, needed in demanding.items() if needed > max(1, there)}
