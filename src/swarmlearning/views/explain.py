"""Why a round took as long as it did, or waits: for whom, since when, doing what.

Two kinds of facts meet here: the ledger's, which all verify (when each model was in, who led), and what sites state of
themselves (`times`), as far as they give it. What the ledger shows is never replaced by what a site says.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final

import msgspec

from swarmlearning.ledger.contracts.training.state import Training, awaited
from swarmlearning.views.agreed import agreed_text
from swarmlearning.views.checks import RoundChecks, named, round_checks
from swarmlearning.views.evidence import Beat, Evidence
from swarmlearning.views.explanation import Cause, Explanation, Missing, Replaced, SiteNow
from swarmlearning.views.missing import missing, missing_of
from swarmlearning.views.names import displayed
from swarmlearning.views.shares import ORDER, coded, received, seconds, shares
from swarmlearning.views.sliced import RoundWay, round_way, with_names
from swarmlearning.views.timeline import Moments
from swarmlearning.views.times import Script, Span, Times
from swarmlearning.views.training import Awaited, Reason, Waiting, activity, waiting_in

LONGEST_FAULT: Final = 200
FROZEN_SECONDS: Final = 8.0
"""A script that reports batches about once a second, and none for so long, is taken to hang."""
SLOW_BATCHES: Final = 10.0
"""So many times the time of a batch is not long for one."""


def explain_closed(evidence: Evidence, number: int) -> Explanation:
    """Why this round took as long as it did. `evidence.moments` are those of a closed round."""
    moments = evidence.moments
    assert moments is not None
    assert moments.closed_ms is not None
    leader = moments.leaders[-1][1] if moments.leaders else ""
    return Explanation(
        contract=displayed(evidence.state.name),
        run=evidence.state.run,
        round=number,
        cause="closed",
        seconds=seconds(moments.closed_ms - moments.opened_ms),
        since_ms=moments.opened_ms,
        leader=evidence.name(leader),
        have=len(moments.models),
        replaced=_replaced(evidence, moments),
        shares=shares(evidence, number, moments, moments.closed_ms),
        sites=_by_name(_site_then(evidence, moments, uid, number) for uid in moments.models),
        missing=missing(evidence, _concerned(evidence, moments), number, closed=True),
        way=_way(evidence, moments.way, number),
        checks=_checks(evidence, number),
        agreed=agreed_text(evidence.state),
        step_fault=_step_fault(evidence.state, number),
        step_round=number,
    )


def _site_then(evidence: Evidence, moments: Moments, uid: str, number: int) -> SiteNow:
    after = seconds(moments.models[uid] - moments.opened_ms)
    why = _why(missing_of(evidence, uid, number, closed=True))
    return SiteNow(evidence.name(uid), "in", after_seconds=after, why=why, coded=coded(evidence, uid, number))


def _concerned(evidence: Evidence, moments: Moments) -> set[str]:
    """Who has had a part in a closed round, and who was asked and has not answered."""
    silent = {uid for uid, account in evidence.accounts.items() if account.times is None}
    return {*moments.models, *(uid for _, uid in moments.leaders if uid), *silent}


def _why(found: Missing | None) -> str:
    """Why a site states nothing; empty where it states something."""
    return found.why if found is not None and not found.part else ""


def explain_now(evidence: Evidence) -> Explanation:
    """Why the training is not further: the round in progress, and for whom it waits."""
    state, facts = evidence.state, waiting_in(evidence.world, evidence.state)
    sites = {uid: _site_now(evidence, facts, uid) for uid in sorted(state.members)}
    cause, culprit = _cause(evidence, facts, sites)
    blocker = sites.get(culprit)
    since = facts.since_ms
    moments, slowest = evidence.moments, culprit if facts.phase == "collecting" and culprit else ""
    spent = shares(evidence, state.round.number, moments, evidence.now_ms, slowest) if state.round and moments else ()
    peer = blocker.peer if blocker else ""
    return Explanation(
        contract=displayed(state.name),
        run=state.run,
        round=facts.round,
        cause=cause,
        seconds=seconds(max(0, evidence.now_ms - since)) if since is not None else 0.0,
        since_ms=since,
        leader=evidence.name(facts.leader) if facts.leader else "",
        site=evidence.name(culprit) if culprit else "",
        peer=peer,
        address=displayed(evidence.addresses.get(culprit, "")) if cause == "unreachable" else "",
        have=facts.have,
        need=facts.need,
        have_organisations=facts.have_organisations,
        need_organisations=facts.need_organisations,
        rounds=state.rounds,
        waiting=evidence.waiting_text,
        replaced=_replaced(evidence, moments) if moments and state.round else (),
        shares=spent,
        sites=_by_name(sites.values()),
        alarms=evidence.alarms,
        proposals=evidence.proposals,
        missing=missing(evidence, state.members, _number(state), closed=False),
        idle=tuple(sorted((evidence.name(uid) for uid in facts.idle), key=lambda name: (len(name), name))),
        way=_way(evidence, round_way(state), state.round.number) if state.round else None,
        checks=_checks(evidence, state.round.number - 1) if state.round else None,
        agreed=agreed_text(state),
        step_fault=_step_fault(state, state.rounds - 1),
        step_round=max(0, state.rounds - 1),
    )


def _way(evidence: Evidence, way: RoundWay | None, number: int) -> RoundWay | None:
    """How the round is merged, with names, and what its mergers have received as they state it."""
    if way is None:
        return None
    mergers = []
    for each in way.mergers:
        size, rate = received(evidence, each.uid, number)
        mergers.append(msgspec.structs.replace(each, received=size, rate=rate))
    return with_names(msgspec.structs.replace(way, mergers=tuple(mergers)), evidence.name)


def _checks(evidence: Evidence, number: int) -> RoundChecks | None:
    found = round_checks(evidence.state)
    return named(found, evidence.name) if found is not None and found.round == number else None


def _step_fault(state: Training, number: int) -> str:
    """Why the outer step of this round was none; empty for any but that of the standing result."""
    result = state.result
    step = state.steps.get(result.digest) if result is not None and result.closed.number == number else None
    return displayed(step.fault, LONGEST_FAULT) if step is not None else ""


def _by_name(sites: Iterable[SiteNow]) -> tuple[SiteNow, ...]:
    """In the order of the names (site-2 before site-10)."""
    return tuple(sorted(sites, key=lambda each: (len(each.site), each.site)))


def _cause(evidence: Evidence, facts: Waiting, sites: Mapping[str, SiteNow]) -> tuple[Cause, str]:
    """The cause, and the UID of the site that it concerns, if it concerns one."""
    state = evidence.state
    if facts.phase in ("over", "empty"):
        return ("over" if facts.phase == "over" else "empty"), ""
    if evidence.majority is False:
        return "ledger", ""
    if facts.phase == "opening":
        away = next((each.uid for each in facts.awaited), "")
        return ("sessions" if facts.have < facts.need else "organisations"), away
    if facts.phase == "leaderless":
        return "leaderless", ""
    if facts.phase == "merging":
        return _merging(evidence, facts, sites)
    blockers = [uid for uid in awaited(state) if uid in sites]
    if blockers:
        worst = max(blockers, key=lambda uid: (sites[uid].frozen, sites[uid].eta_seconds or 0.0, sites[uid].seconds))
        return _doing(sites[worst]), worst
    reasons: dict[Reason, Cause] = {"unreachable": "unreachable", "unusable": "unusable", "no-base": "no-base"}
    enough = facts.have >= facts.need
    if enough and facts.have_organisations < facts.need_organisations:
        return "organisations", next((each.uid for each in facts.awaited), "")
    if enough:
        return "unknown", facts.leader  # it will be frozen with the next block
    for each in sorted(facts.awaited, key=_gravest):
        return reasons.get(each.reason, "away"), each.uid
    return "sessions", ""


def _gravest(each: Awaited) -> tuple[bool, bool, str]:
    return each.reason != "unreachable", each.reason in ("expected", "left", "joining"), each.uid


def _merging(evidence: Evidence, facts: Waiting, sites: Mapping[str, SiteNow]) -> tuple[Cause, str]:
    if facts.slices is not None and (waits := facts.slices.waits):
        return "merging", max(waits, key=lambda uid: (waits[uid], uid))
    leader = sites[facts.leader]
    failing = _failing(evidence, facts.leader)
    if leader.doing == "merge":
        return "merging", facts.leader
    if failing:
        return "unreachable", failing
    if leader.doing == "fetch":
        return "transfer", facts.leader
    return ("submitting" if leader.doing in ("publish", "send") else "merging"), facts.leader


def _failing(evidence: Evidence, leader: str) -> str:
    """The site from which the leader's last attempt to fetch has failed; empty where none has."""
    times = evidence.account(leader).times
    last: dict[str, Span] = {}
    for span in times.now.spans if times and times.now else ():
        if span.what == "fetch" and span.uid in evidence.state.members:
            last[span.uid] = span
    return next((uid for uid, span in last.items() if span.fault and span.end is not None), "")


def _doing(site: SiteNow) -> Cause:
    if site.frozen:
        return "frozen"
    match site.doing:
        case "train":
            return "training"
        case "fetch":
            return "transfer"
        case "take-over" | "check" | "load" | "carry" | "privacy":
            return "hand-over"
        case "submit" | "session" | "send":
            return "submitting"
    return "training" if site.batches_per_second else "unknown"


def _site_now(evidence: Evidence, facts: Waiting, uid: str) -> SiteNow:
    state, moments, member = evidence.state, evidence.moments, evidence.state.members[uid]
    waited = next((each for each in facts.awaited if each.uid == uid), None)
    at = moments.models.get(uid) if moments and state.round and uid in state.round.submissions else None
    account, beat = evidence.account(uid), evidence.beats.get(uid, Beat(None, None))
    site = SiteNow(
        site=evidence.name(uid),
        state=activity(state, member),
        awaited=uid in awaited(state),
        reason=waited.reason if waited else None,
        since_ms=waited.since_ms if waited else None,
        after_seconds=seconds(at - moments.opened_ms) if at is not None and moments else None,
        batches_per_second=beat.training.batches_per_second if beat.training else None,
        why=_why(missing_of(evidence, uid, _number(state), closed=False)),
        coded=coded(evidence, uid, state.round.number) if state.round else None,
    )
    return _with_account(evidence, site, account.times) if account.times and not site.why else site


def _number(state: Training) -> int:
    """The round that nodes are in: the one in progress, or the next one."""
    return state.round.number if state.round else state.rounds


def _with_account(evidence: Evidence, site: SiteNow, times: Times) -> SiteNow:
    """The same, with what the site states of itself; of several pieces of work the one that counts."""
    running = [span for span in times.now.spans if span.end is None] if times.now else []
    span = min(running, key=lambda each: ORDER.index(each.what), default=None)
    if span is None or times.now is None:
        return msgspec.structs.replace(site, doing="wait")
    begun_ms = times.now.begun_ms + span.begin
    site = msgspec.structs.replace(site, doing=span.what, seconds=seconds(max(0, times.now_ms - begun_ms)))
    if span.what == "train" and times.script is not None:
        return _with_script(site, times.script)
    return _with_transfer(evidence, site, span) if span.what == "fetch" else site


def _with_script(site: SiteNow, script: Script) -> SiteNow:
    idle, rate = script.idle_ms / 1000, script.batches_per_second
    patience = max(FROZEN_SECONDS, SLOW_BATCHES / rate if rate else FROZEN_SECONDS)
    return msgspec.structs.replace(
        site,
        frozen=script.steps > 0 and idle > patience,
        idle_seconds=round(idle, 1),
        batches_per_second=rate,
        left=script.left,
        eta_seconds=script.left / rate if script.left is not None and rate else None,
    )


def _with_transfer(evidence: Evidence, site: SiteNow, span: Span) -> SiteNow:
    state = evidence.state
    sizes = [each.size for each in state.round.submissions.values()] if state.round else []
    total = max([*sizes, state.result.size if state.result else 0])
    rate = span.bytes / site.seconds if site.seconds > 0 else 0.0
    return msgspec.structs.replace(
        site,
        peer=evidence.name(span.uid) if span.uid else "",
        bytes=span.bytes,
        total=total,
        eta_seconds=(total - span.bytes) / rate if rate and total > span.bytes else None,
    )


def _replaced(evidence: Evidence, moments: Moments) -> tuple[Replaced, ...]:
    """The leaders of this round before the present one."""
    members = evidence.state.members
    return tuple(
        Replaced(evidence.name(uid), later, members[uid].attendance if uid in members else "left")
        for (_, uid), (later, _) in pairwise(moments.leaders)
        if uid
    )
