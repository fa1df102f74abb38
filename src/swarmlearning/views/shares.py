"""What the time of a round went to.

It runs along one chain: until the last model was in, at the site whose model that was; then until the result was
published, at the leader. Each moment of it counts to what was done there then, as that node states it; where it states
nothing, the ledger still shows how long it took.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec

from swarmlearning.views.evidence import Evidence
from swarmlearning.views.explanation import Doing, Share
from swarmlearning.views.timeline import Moments
from swarmlearning.views.times import Coded, RoundTimes, Span, What

MOST_SHARES: Final = 12
ORDER: Final[tuple[What, ...]] = (
    "train", "load", "take-over", "carry", "privacy", "merge", "check", "fetch", "submit", "publish", "session", "send",
)  # fmt: skip
"""Of several kinds of work at once, the first one counts: what a site does beside its training holds up nobody."""


def shares(evidence: Evidence, number: int, moments: Moments, until_ms: int, slowest: str = "") -> tuple[Share, ...]:
    """What the time of a round went to, from its opening until then; the largest first.

    `slowest`: the site that is still waited for, else the one whose model was in last.
    """
    total, spent = max(1, until_ms - moments.opened_ms), Counter[_Part]()
    frozen, end = moments.frozen_ms, until_ms - moments.opened_ms
    counted = {uid: at for uid, at in moments.models.items() if frozen is None or at <= frozen}
    if slowest:
        spent += _spent(evidence, number, slowest, 0, end)
    elif counted:
        last = max(counted, key=lambda uid: (counted[uid], uid))
        spent += _spent(evidence, number, last, 0, counted[last] - moments.opened_ms)
        spent[_Part("wait", "")] += (frozen or until_ms) - counted[last]
    if frozen is not None and moments.leaders and not slowest:
        leads_ms, leader = moments.leaders[-1]
        begin = max(frozen, leads_ms)
        spent[_Part("replace", moments.leaders[0][1])] += begin - frozen
        spent += _spent(evidence, number, leader, begin - moments.opened_ms, end)
    return tuple(_share(evidence, number, part, took, total) for part, took in (+spent).most_common(MOST_SHARES))


def received(evidence: Evidence, uid: str, number: int) -> tuple[int, float | None]:
    """The bytes that a site has fetched in a round, as it states them, and how many a second while it fetched any."""
    record = _measured(evidence, uid, number)
    fetches = [span for span in record.spans if span.what == "fetch" and span.end is not None] if record else []
    size, busy, until = sum(span.bytes for span in fetches), 0, None
    for span in sorted(fetches, key=lambda span: span.begin):
        begin = span.begin if until is None else max(span.begin, until)
        until = max(begin, span.end or begin)
        busy += until - begin
    return size, round(1000 * size / busy, 1) if busy > 0 else None


def coded(evidence: Evidence, uid: str, number: int) -> Coded | None:
    """The change that a site gave to a round, as it states it."""
    record = record_of(evidence, uid, number)
    return record.coded if record else None


class _Part(NamedTuple):
    """A kind of work at a site (UID), for a transfer with the one that a model comes from."""

    what: Doing
    uid: str
    peer: str = ""


def _spent(evidence: Evidence, number: int, uid: str, begin: int, end: int) -> Counter[_Part]:
    """What a site did from `begin` to `end`, in milliseconds since the round opened."""
    record = _measured(evidence, uid, number)
    if record is None or record.opened is None:
        return Counter({_Part("unknown", uid): end - begin})
    spent = Counter[_Part]()
    for span, took in _swept(record.spans, begin + record.opened, end + record.opened):
        spent[_Part(span.what, uid, span.uid) if span is not None else _Part("wait", uid)] += took
    return spent


def _share(evidence: Evidence, number: int, part: _Part, took: int, total: int) -> Share:
    record = _measured(evidence, part.uid, number)
    spans = record.spans if record is not None else ()
    same = [span for span in spans if (span.what, span.uid) == (part.what, part.peer)]
    size = sum(span.bytes for span in same)
    lasted = sum((span.end or 0) - span.begin for span in same)
    return Share(
        what=part.what,
        site=evidence.name(part.uid) if part.uid else "",
        seconds=seconds(took),
        share=round(took / total, 4),
        peer=evidence.name(part.peer) if part.peer else "",
        bytes=size,
        bytes_per_second=round(1000 * size / lasted, 1) if part.what == "fetch" and lasted > 0 else None,
        behind=any(span.behind for span in same),
    )


def record_of(evidence: Evidence, uid: str, number: int) -> RoundTimes | None:
    """What a site states of a round: the newest record of this run."""
    times, state = evidence.account(uid).times, evidence.state
    if times is None:
        return None
    wanted, now = (state.name, state.run, number), [times.now] if times.now is not None else []
    found = [each for each in (*times.rounds, *now) if (each.contract, each.run, each.round) == wanted]
    return found[-1] if found else None


def _measured(evidence: Evidence, uid: str, number: int) -> RoundTimes | None:
    """The same, with what is under way ending now."""
    record, times = record_of(evidence, uid, number), evidence.account(uid).times
    return _until(record, times.now_ms) if record and times else None


def _until(record: RoundTimes, now_ms: int) -> RoundTimes:
    """A record, with what is under way ending now."""
    now = record.ended if record.ended is not None else now_ms - record.begun_ms
    spans = [span if span.end is not None else msgspec.structs.replace(span, end=now) for span in record.spans]
    return msgspec.structs.replace(record, spans=tuple(spans))


def _swept(spans: Iterable[Span], begin: int, end: int) -> Iterable[tuple[Span | None, int]]:
    """The work that counts at each time from `begin` to `end`, and how long; None where nothing is measured."""
    there = [span for span in spans if span.end is not None and span.begin < end and span.end > begin]
    there.sort(key=lambda span: (ORDER.index(span.what), -(span.end or 0)))  # of transfers at once, the last to end
    edges = {begin, end, *(max(begin, span.begin) for span in there), *(min(end, span.end or 0) for span in there)}
    moments = sorted(edge for edge in edges if begin <= edge <= end)
    for first, second in pairwise(moments):
        found = next((span for span in there if span.begin <= first and (span.end or 0) >= second), None)
        yield found, second - first


def seconds(milliseconds: int) -> float:
    """For people."""
    return round(milliseconds / 1000, 3)
