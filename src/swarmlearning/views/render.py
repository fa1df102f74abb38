"""The only place where facts become text for people. Names are safe already (`names`); the text is plain, no markup."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from itertools import groupby
from shlex import quote

from swarmlearning.views.curves import RoundMean
from swarmlearning.views.names import Names, displayed, for_person, name_of
from swarmlearning.views.nodes import Expiry
from swarmlearning.views.proposals import ProposalView
from swarmlearning.views.report import RoundReport, TrainingReport
from swarmlearning.views.training import Activity, Awaited, Participation, Slices, Waiting

LONGEST_LIST = 20
SHOWN_GAPS = 8
WARNING_DAYS = 30
LAST_WARNING_DAYS = 60
"""For the last authority of an organisation: a new one takes time."""
YEAR_10000_MS = 253_402_300_800_000
MINUTE_MS = 60 * 1000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

REASONS = {
    "lost": "lost",
    "restarted": "restarted",
    "other-terms": "has other terms",
    "ml-lost": "without its script",
    "left": "left",
    "unreachable": "others cannot fetch models from it",
    "unusable": "its model cannot be used",
    "no-base": "nobody can give it the latest model",
    "joining": "joins once it holds the latest model",
    "no-start": "gives no model to begin with, by its privacy lock",
}

ACTIVITIES: dict[Activity, str] = {
    "training": "training",
    "submitted": "waits for the others",
    "late": "late for round {}",
    "merging": "merging round {}",
    "finished": "finished, the others still train",
    "loading": "loads the final model",
    "done": "done",
    "lost": "is lost",
    "restarted": "was restarted",
    "ml-lost": "has lost its script",
    "left": "has left",
    "other-terms": "has other terms than the others",
}


def waiting_text(facts: Waiting, names: Names, addresses: Names | None = None) -> str:
    """One line: the state of a training, and the members it waits for, since when and why.

    `addresses`: where models are fetched from each node, named where they cannot be. Where it waits in vain, what
    operators can do.
    """
    return _state_text(facts, names, addresses) + _in_vain(facts)


def _state_text(facts: Waiting, names: Names, addresses: Names | None) -> str:
    waits = _awaited_text(facts, names, addresses or {})
    number = f"round {facts.round}{' (the last one: an operator has stopped the training)' if facts.stopping else ''}"
    earlier = _earlier_leaders(facts, names, addresses or {})
    match facts.phase:
        case "over":
            return f"training is over, {participation_text(facts.participation, names)}"
        case "empty":
            return "no session is open yet" + without_script(facts.idle, names)
        case "opening":
            opened = f"{facts.have} of {facts.need} sessions of contract {displayed(facts.contract)} are open"
            more = listed([*_more(facts.need - facts.have), *_more_organisations(facts)])
            return f"{opened}; round 0 waits for {more}{waits}{without_script(facts.idle, names)}"
        case "leaderless":
            return f"{number}: no member can lead (all lost, or SL_MAKE_ME_ADMIN=False)"
        case "merging":
            if facts.slices is not None:
                return f"{number}: {_slices_text(facts.slices, facts.have, names)}{earlier}"
            return f"{number}: {_leader(facts, names, addresses or {})} is merging {facts.have} models{earlier}"
        case "collecting":
            since = f", open since {clock(facts.since_ms)}" if facts.since_ms is not None else ""
            counts = f"{facts.have} models in, minPeers {facts.need}{_organisations(facts)}"
            return f"{number}{since}: {counts}{waits}{earlier}"


def _slices_text(slices: Slices, models: int, names: Names) -> str:
    waits = listed([f"{name_of(names, uid)} ({count})" for uid, count in slices.waits.items()])
    does, done = ("survey", "surveyed") if slices.survey else ("merge", "merged")
    text = f"{slices.mergers} sites {does} {models} models in {slices.count} slices, {slices.merged} of them are {done}"
    return f"{text}; waiting for {waits}" if waits else text


def without_script(idle: Collection[str], names: Names) -> str:
    """What is wrong with SLs that are there and have no session, to be added to a sentence; empty without any."""
    found = sorted((name_of(names, uid) for uid in idle), key=lambda name: (len(name), name))
    return f"; no script has connected to {listed(found)}" if found else ""


def _in_vain(facts: Waiting) -> str:
    name = displayed(facts.contract)
    if not facts.retired:
        return _until_others_join(facts, name)
    return (
        f"; a round needs sites of {facts.need_organisations} organisations, and never gets them: "
        f"{listed(list(facts.retired))} of the contract's members take no part in the network any more. Operators end "
        f"this training with `swarm contract reset {quote(name)} --force`, and name its members anew with "
        f"`swarm contract create {quote(name)}`"
    )


def _until_others_join(facts: Waiting, name: str) -> str:
    if not facts.to_join:
        return ""
    return (
        f"; sites of {facts.to_join} more organisation{'s' * (facts.to_join != 1)} have to join, since all sites of "
        f"others have left, or operators end this training with `swarm contract reset {quote(name)} --force`"
    )


def _more(count: int) -> list[str]:
    return [f"{count} more"] if count > 0 else []


def _more_organisations(facts: Waiting) -> list[str]:
    count = facts.need_organisations - facts.have_organisations
    return [f"sites of {count} more organisation{'s' * (count != 1)}"] if count > 0 else []


def _organisations(facts: Waiting) -> str:
    if facts.need_organisations == 1:
        return ""
    return f", of {facts.have_organisations} of the {facts.need_organisations} organisations needed"


def participation_text(facts: Participation, names: Names) -> str:
    """One line: `complete: 12/12 rounds with 4/4`, or which members are not in all rounds; and who repeated models."""
    total, count = facts.rounds, len(facts.members)
    repeated = [f"{name_of(names, one.uid)} in {one.repeated}" for one in facts.members if one.repeated]
    without_training = f"; with a model not trained for the round: {listed(repeated)}" if repeated else ""
    if facts.complete:
        return f"complete: {total}/{total} rounds with {count}/{count}{without_training}"
    fewer = [
        f"{name_of(names, one.uid)} in {one.contributed}" + (f" (late for {one.late})" if one.late else "")
        for one in facts.members
        if one.contributed < total
    ]
    others = ", all others in all" if len(fewer) < count else ""
    return f"partial: {total} round{'s' * (total != 1)} with {count} members: {listed(fewer)}{others}{without_training}"


def report_text(report: TrainingReport) -> str:
    """One line: the outcome of a training, the number of rounds with all sites, and the gaps in the others."""
    sites, total = len(report.holds), len(report.rounds)
    taking_part = [len(each.contributors) for each in report.rounds]
    full = taking_part.count(sites)
    text = f"{full}/{total} rounds with {sites}/{sites}" if total else "no round was merged"
    if full < total:
        text += f", the others with at least {min(taking_part)}/{sites}: {_gaps(report)}"
    if report.problem:
        return f"the ledger does not verify ({report.problem}); the blocks that do: {text}"
    if not report.over:
        return f"not over: {text}"
    return f"{'complete' if full == total else 'partial'}: {text}"


def mean_text(mean: RoundMean) -> str:
    """One line: a round, and what sites have measured with its result on the average."""
    values = [
        f"{name} {value:.4g}" for name, value in (("metric", mean.metric), ("loss", mean.loss)) if value is not None
    ]
    return f"round {mean.round}, mean {', '.join(values)} of {mean.sites} site{'s' * (mean.sites != 1)}"


def expiry_text(expiry: Expiry, now_ms: int) -> str:
    """One line: when a certificate expires, in days, or that it has; empty while that is far off."""
    return ": ".join(expiry_parts(expiry, now_ms) or ())


def expiry_parts(expiry: Expiry, now_ms: int) -> tuple[str, str] | None:
    """The same, and what to do, apart; None while it is far off."""
    left = expiry.expires_ms - now_ms
    if expiry.overdue_ms and not (expiry.last and now_ms >= expiry.overdue_ms):
        return None
    if left > (LAST_WARNING_DAYS if expiry.last else WARNING_DAYS) * DAY_MS:
        return None
    days = left // DAY_MS
    when = "has expired" if left <= 0 else f"expires in {days} day{'s' * (days != 1)}" if days else "expires today"
    what = f"the certificate of {_holder(expiry)} {when}, {clock(expiry.expires_ms)}"
    return what, _remedy(expiry, left <= 0)


def _holder(expiry: Expiry) -> str:
    if not expiry.organisation:
        return expiry.of
    rank = "last authority" if expiry.last else "authority"
    return f"{expiry.of}, {'the' if expiry.last else 'an'} {rank} of organisation {expiry.organisation},"


def _remedy(expiry: Expiry, expired: bool) -> str:
    if not expiry.organisation:
        return "its node cannot take part any more; renew it" if expired else "renew it before then"
    if expiry.overdue_ms:
        return "no SN or SWOP of it has added a new root of its trust domain: do their SPIFFE agents run?"
    if not expiry.last:
        return "what it has issued is refused from then on; its nodes need certificates by another authority"
    if expired:
        return "none of its nodes can take part; the others name its successor: swarm trust add, or swarm sn recover"
    return f"add its successor before then: swarm trust add CA-FILE --organisation {expiry.organisation}"


def activity_text(activity: Activity, number: int | None) -> str:
    """A few words: what a member does; `number` is the round in progress."""
    return ACTIVITIES[activity].format(number)


def clock(milliseconds: int) -> str:
    """A block time in UTC: `2026-01-31 23:59:59Z`; one that no calendar has, as the number it is."""
    if not 0 <= milliseconds < YEAR_10000_MS:
        return f"{milliseconds} ms"
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def lasting(milliseconds: int) -> str:
    """A time that something takes or has taken, to be grasped at once: `45 s`, `12 min`, `3 h`, `4 days`."""
    for size, name in ((DAY_MS, "days"), (HOUR_MS, "h"), (MINUTE_MS, "min")):
        if milliseconds >= 2 * size:
            return f"{milliseconds // size} {name}"
    return f"{max(0, milliseconds) // 1000} s"


def awaited_text(facts: Waiting, names: Names, addresses: Names | None = None) -> str:
    """Those for whom a training waits, each with the reason why its model is not in."""
    found = sorted(
        name_of(names, each.uid) + (_reason(each, names, addresses or {}) or " (has not sent its model yet)")
        for each in facts.awaited
    )
    return listed(found)


def listed(parts: list[str]) -> str:
    """A list for a sentence; of a long one the first, and how many more there are."""
    more = len(parts) - LONGEST_LIST
    return ", ".join(parts[:LONGEST_LIST]) + (f" and {more} more" if more > 0 else "")


def _gaps(report: TrainingReport) -> str:
    """The sites that were not in all rounds, and why; rounds in a row with the same gap are named together."""
    found = []
    for missing, run in groupby(report.rounds, key=lambda each: _missing(each, list(report.holds))):
        numbers = [each.number for each in run]
        if missing:
            rounds = f"round {numbers[0]}" if len(numbers) == 1 else f"rounds {numbers[0]} to {numbers[-1]}"
            found.append(f"{rounds} without {missing}")
    more = f" and {len(found) - SHOWN_GAPS} more gaps" if len(found) > SHOWN_GAPS else ""
    return ", ".join(found[:SHOWN_GAPS]) + more


def _missing(each: RoundReport, sites: list[str]) -> str:
    why = dict.fromkeys(each.late, "late") | dict.fromkeys(each.lost, "lost") | dict.fromkeys(each.absent, "absent")
    why |= dict.fromkeys(each.excluded, "excluded")
    return " and ".join(f"{site} ({why.get(site, 'not there yet')})" for site in sites if site not in each.contributors)


def _leader(facts: Waiting, names: Names, addresses: Names) -> str:
    """The leader's name, and the reason why others cannot fetch its result."""
    found = [_reason(each, names, addresses) for each in facts.awaited if each.uid == facts.leader]
    return name_of(names, facts.leader) + "".join(found)


def _awaited_text(facts: Waiting, names: Names, addresses: Names) -> str:
    found = sorted(name_of(names, each.uid) + _reason(each, names, addresses) for each in facts.awaited)
    return f"; waiting for {listed(found)}" if found else ""


def _earlier_leaders(facts: Waiting, names: Names, addresses: Names) -> str:
    """The members that may be the reason why the round is not closed yet, though its leader is at work."""
    found = [name_of(names, uid) + _at(uid, addresses) for uid in facts.once_unreachable]
    return f"; earlier leaders could not fetch models from {listed(found)}" if found else ""


def _reason(each: Awaited, names: Names, addresses: Names) -> str:
    if each.reason == "expected":
        return ""
    if each.reason == "unreachable":
        return f" ({REASONS[each.reason]}{_at(each.uid, addresses)})"
    if each.holders:
        found = listed([name_of(names, uid) + _at(uid, addresses) for uid in each.holders])
        return f" (cannot fetch the latest model from {found})"
    since = f" since {clock(each.since_ms)}" if each.since_ms is not None else ""
    return f" ({REASONS[each.reason]}{since})"


def _at(uid: str, addresses: Names) -> str:
    return f", at {addresses[uid]}" if uid in addresses else ""


def answered(found: ProposalView, organisations: Iterable[str]) -> str:
    """These organisations, each with the person for whom its operator has answered the proposal."""
    return ", ".join(each + for_person(found.persons.get(each, "")) for each in organisations)


def proposal_text(found: ProposalView) -> str:
    """One sentence for a proposal: whose signatures it waits for and how they are given, or what became of it."""
    title = f"proposal {found.number} ({found.act} {found.what})"
    signers, rejecting = (answered(found, each) or "nobody" for each in (found.signed, found.rejected))
    if found.state == "done":
        return f"{title} takes effect; signed by {signers}"
    if found.state != "open":
        return f"{title} is {found.state}; rejected by {rejecting}"
    needs = {"majority": "a majority of the organisations", "all": "all organisations"}.get(found.needs, found.needs)
    rejected = f", rejected by {rejecting}" if found.rejected else ""
    return (
        f"{title} needs {needs}; signed by {signers}{rejected}, not yet by "
        f"{', '.join(found.missing) or 'nobody'}. Until {clock(found.expires_ms)} their operators sign with: "
        f"swarm proposal sign {found.number}"
    )
