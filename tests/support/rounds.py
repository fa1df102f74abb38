"""Rounds on a ledger in memory: three sites whose names are their UIDs."""

from support.network import Ledger, session
from swarmlearning.ledger.bodies import (
    CloseSession,
    Contribution,
    Exclusion,
    Missing,
    Publish,
    Receipt,
    ReportPerformance,
    SubmissionKind,
    Submit,
    Void,
)

SITES = ["site-1", "site-2", "site-3"]
UNUSABLE = "e" * 64


def three_sites() -> Ledger:
    """A ledger with open sessions of all of them; minPeers is 2."""
    made = Ledger()
    for site in SITES:
        made.join(site)
    for site in SITES:
        made.send(site, session(min_peers=2))
    return made


def submit(ledger: Ledger, *sites: str, digest: str = "") -> None:
    for site in sites:
        current, member = ledger.training.round, ledger.training.members[site]
        assert current is not None
        kind: SubmissionKind = "snapshot" if member.finished else "trained"
        ledger.send(site, Submit(current.number, current.base, kind, digest or site[-1] * 64, 1, 1))


def publish(ledger: Ledger, result: str) -> None:
    """The leader publishes; submissions of `UNUSABLE` are excluded."""
    current = ledger.training.round
    assert current is not None
    given = sorted(current.submissions.values(), key=lambda entry: entry.uid)
    merged = tuple(Contribution(one.uid, one.digest, one.weight, one.weight) for one in given if one.digest != UNUSABLE)
    excluded = tuple(Exclusion(one.uid, "non-finite", "NaN in a") for one in given if one.digest == UNUSABLE)
    receipt = Receipt("mean", merged, excluded)
    ledger.send(current.leader, Publish(current.number, current.term, result, 1, receipt))


def merge_again(ledger: Ledger, result: str) -> None:
    """Round 0 with everybody, whose result all then miss: it is void, and merged again to this one."""
    submit(ledger, *SITES)
    publish(ledger, "0" * 64)
    for site in SITES:
        ledger.send(site, Missing(0))
    ledger.send("sn-1", Void(0))
    submit(ledger, *SITES)
    publish(ledger, result)


def report_all(ledger: Ledger, *sites: str) -> None:
    for site in sites or SITES:
        ledger.send(site, ReportPerformance(ledger.training.rounds - 1, 0.5, None, 1, 1))


def finish(ledger: Ledger, result: str = "f" * 64) -> None:
    """A last round with everybody, after which training is over."""
    for site in SITES:
        ledger.send(site, CloseSession("snapshot"))
    submit(ledger, *SITES)
    publish(ledger, result)
