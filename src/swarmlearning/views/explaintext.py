"""An explanation as text: the first line is the answer, the second what to do about it. Names are safe already."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from swarmlearning.views.checks import checks_text
from swarmlearning.views.explanation import Cause, Doing, Explanation, Missing, Share, SiteNow
from swarmlearning.views.render import ACTIVITIES, REASONS, clock, listed
from swarmlearning.views.sizes import size_text
from swarmlearning.views.sliced import Merger, merger_text, trouble_texts, way_text
from swarmlearning.views.times import Coded

WORK: Final[dict[Doing, str]] = {
    "train": "training at {site}",
    "take-over": "the hand-over of its model from script to SL at {site}",
    "check": "checking the merged model at {site}",
    "load": "loading and evaluating the merged model at {site}",
    "carry": "carrying a late model over at {site}",
    "privacy": "the privacy lock of {site}",
    "merge": "merging at {site}",
    "session": "opening the session of {site} on the ledger",
    "submit": "entering the model of {site} on the ledger",
    "publish": "entering the merged model of {site} on the ledger",
    "send": "other transactions of {site}",
    "replace": "replacing {site}, which led the round and failed",
    "unknown": "{site}, which does not state what it did",
}
DOING: Final[dict[Doing, str]] = {
    "train": "trains",
    "take-over": "takes its script's model over",
    "check": "checks the merged model",
    "load": "loads and evaluates the merged model",
    "carry": "carries a late model over",
    "privacy": "its privacy lock is at work",
    "fetch": "fetches a model",
    "merge": "merges",
    "session": "waits for the ledger to open its session",
    "submit": "waits for the ledger to take its model",
    "publish": "waits for the ledger to take the merged model",
    "send": "waits for the ledger",
    "wait": "waits",
}
CONNECT: Final = "its SL runs and waits for it; then start the sites that are still missing"
AGAIN: Final = "start it again: it goes on with what it left"


def headline(found: Explanation) -> str:
    """The answer in one line."""
    text = _closed(found) if found.cause == "closed" else _HEADLINES[found.cause](found)
    for each in found.replaced[-1:]:
        state = "there" if each.state == "present" else each.state
        text += f"; {each.site} led it until {clock(each.until_ms)} and is {state} now, {found.leader} has taken over"
    return text


def remedy(found: Explanation) -> str:
    """What to do about it; empty where there is nothing to do, or only to wait."""
    if found.cause == "away":
        return _remedy_of_absence(found)
    if found.idle and found.cause in ("empty", "sessions", "organisations"):
        return f"see the output of the script at {listed(list(found.idle))}: {CONNECT}"
    return _REMEDIES.get(found.cause, "").format(site=found.site, address=found.address, contract=found.contract)


def share_text(each: Share) -> str:
    """What a part of a round's time went to."""
    if each.what == "fetch":
        speed = f" at {rate_text(each.bytes_per_second)}" if each.bytes_per_second else ""
        relay = ", through a relay" if each.behind else ""
        return f"the transfer of {size_text(each.bytes)} from {each.peer or '?'} to {each.site}{speed}{relay}"
    if each.what == "wait":
        return f"what {each.site} does not account for" if each.site else "the leader's wait for more models"
    return WORK[each.what].format(site=each.site)


def site_text(each: SiteNow, merger: Merger | None = None, survey: int = 0) -> str:
    """What a member does, and how far it is; `merger`: its part in a round that is merged in slices, or in this
    `survey` at them."""
    parts = []
    if each.after_seconds is not None:
        parts.append(f"model in after {span_text(each.after_seconds)}")
    elif each.reason not in (None, "expected"):
        since = f" since {clock(each.since_ms)}" if each.since_ms is not None else ""
        parts.append(f"{REASONS[each.reason or 'expected']}{since}")
    if each.doing is not None and each.doing != "wait":
        parts.append(_progress(each))
    elif each.batches_per_second and each.after_seconds is None:
        parts.append(f"trains at {each.batches_per_second:,.1f} batches/s, by its heartbeats")
    if not parts and each.state != "in":
        parts.append(ACTIVITIES[each.state].format("this one"))
    if merger is not None:
        parts.append(merger_text(merger, survey))
    if each.coded is not None:
        parts.append(coded_text(each.coded))
    return "; ".join(parts)


def coded_text(each: Coded) -> str:
    """`gave 1.2 MB as int8 in place of 4.7 MB; change of length 0.31, of which 0.002 is left for a later round`."""
    text = f"gave {size_text(each.bytes)} as {each.transfer} in place of {size_text(each.whole)}"
    if each.change is None or each.residual is None:
        return f"{text}; its change is not finite"
    text += f"; change of length {each.change:g}"
    if each.dropped:
        return f"{text}; {each.residual:g} was left out, more than that for some rounds, and is dropped"
    return f"{text}, {each.residual:g} left out of it and of those before"


def way_notes(found: Explanation) -> list[str]:
    """How the round is merged, why, what went wrong with slices, how values travel and are stepped, and what members
    have checked; a line each."""
    texts = []
    if found.way is not None and found.round is not None:
        texts = [way_text(found.way, found.round, closed=found.cause == "closed"), *trouble_texts(found.way)]
    if found.agreed:
        texts.append(f"{found.agreed[0].upper()}{found.agreed[1:]}")
    if found.step_fault:
        texts.append(
            f"The outer step of round {found.step_round} was not finite ({found.step_fault}): its merge stands, and "
            "the momentum begins anew"
        )
    if found.checks is not None:
        texts += [f"{line[0].upper()}{line[1:]}" for line in checks_text(found.checks, {}).splitlines()]
    return texts


def notes(found: Explanation) -> list[str]:
    """What else an operator should know: alarms, proposals, and whose facts are missing."""
    alarms, proposals = (f"ALARM {text}" for text in found.alarms), (f"Open: {text}" for text in found.proposals)
    return [*alarms, *proposals, *_missing_texts(found.missing)]


def _missing_texts(missing: Sequence[Missing]) -> Iterator[str]:
    """A line for the sites of whose facts the same is missing."""
    by_reason: dict[Missing, list[str]] = {}
    for each in missing:
        by_reason.setdefault(msgspec.structs.replace(each, site=""), []).append(each.site)
    for each, sites in by_reason.items():
        whole = "Partly from the ledger alone" if each.part else "From the ledger alone"
        what_to_do = f". What to do: {each.remedy}" if each.remedy else ""
        yield f"{whole} for {listed(sites)}: {each.why}{what_to_do}"


# --- in words -------------------------------------------------------------------------------------------------------


def span_text(seconds: float) -> str:
    """`0.4 s`, `31 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    minutes = whole // 60
    if minutes < 24 * 60:
        return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def rate_text(bytes_per_second: float) -> str:
    """`22 MB/s`."""
    return f"{size_text(round(bytes_per_second))}/s"


def _closed(found: Explanation) -> str:
    text = f"Round {found.round} took {span_text(found.seconds)}"
    if not found.shares:
        return text
    first, *others = found.shares
    text += f": {span_text(first.seconds)} of them {share_text(first)}"
    if others and others[0].share >= 0.1:
        text += f", {span_text(others[0].seconds)} {share_text(others[0])}"
    return text


def _waited(found: Explanation) -> str:
    return f"Round {found.round} has waited {span_text(found.seconds)}"


def _waits(found: Explanation) -> str:
    return f"{_waited(found)} for {found.site}"


def _of(found: Explanation) -> SiteNow:
    return next((each for each in found.sites if each.site == found.site), SiteNow(found.site, "training"))


def _training(found: Explanation) -> str:
    site = _of(found)
    rate = f" at {site.batches_per_second:,.1f} batches/s" if site.batches_per_second else ""
    lasts = f" for {span_text(site.seconds)}" if site.seconds and not rate else ""
    return f"{_waits(found)}: its ML process trains{rate}{lasts}{_left(site)}"


def _frozen(found: Explanation) -> str:
    site = _of(found)
    before = f" (before that {site.batches_per_second:,.1f} a second)" if site.batches_per_second else ""
    left = f", with {site.left:,} to go" if site.left else ""
    return f"{_waits(found)}: its ML process has trained no batch for {span_text(site.idle_seconds)}{before}{left}"


def _working(found: Explanation) -> str:
    return f"{_waits(found)}: it {_progress(_of(found))}"


def _transfer(found: Explanation) -> str:
    if found.site == found.leader:
        who = f"Round {found.round} has taken {span_text(found.seconds)}: its leader {found.site}"
        return f"{who} {_progress(_of(found))}"
    return _working(found)


def _merging(found: Explanation) -> str:
    site = _of(found)
    if found.way is not None and found.way.waits:
        count, left = sum(each.slices for each in found.way.mergers), found.way.waits.get(found.site, 0)
        doing = f": it {_progress(site)}" if site.doing not in (None, "wait") else ""
        what = "its models are surveyed" if found.way.survey else "it is merged"
        return (
            f"Round {found.round} has taken {span_text(found.seconds)}: {what} in {count} slices, of which "
            f"{sum(found.way.waits.values())} are still to come, {left} from {found.site}{doing}"
        )
    lasts = f" for {span_text(site.seconds)}" if site.doing == "merge" else ""
    return (
        f"Round {found.round} has taken {span_text(found.seconds)}: its leader {found.site} merges {found.have} "
        f"models{lasts}"
    )


def _submitting(found: Explanation) -> str:
    site = _of(found)
    return f"{_waits(found)}: a transaction of its SL has waited {span_text(site.seconds)} for a block of the ledger"


def _progress(each: SiteNow) -> str:
    """What a site does now, in the present tense."""
    lasts = f" for {span_text(each.seconds)}"
    if each.frozen:
        return f"has trained no batch for {span_text(each.idle_seconds)}"
    if each.doing == "train":
        rate = f" at {each.batches_per_second:,.1f} batches/s" if each.batches_per_second else lasts
        return f"trains{rate}" + (
            f", about {span_text(each.eta_seconds)} to go" if each.eta_seconds is not None else ""
        )
    if each.doing == "fetch":
        speed = f" ({rate_text(each.bytes / each.seconds)})" if each.seconds and each.bytes else ""
        of = f"{size_text(each.bytes)} of {size_text(each.total)}" if each.total else size_text(each.bytes)
        return f"fetches a model from {each.peer or 'others'}: {of} in {span_text(each.seconds)}{speed}{_left(each)}"
    return f"{DOING.get(each.doing or 'wait', 'works')}{lasts}"


def _left(each: SiteNow) -> str:
    return f", about {span_text(each.eta_seconds)} to go" if each.eta_seconds is not None else ""


def _away(found: Explanation) -> str:
    site = _of(found)
    since, at = (f" {word} {clock(site.since_ms)}" if site.since_ms is not None else "" for word in ("since", "at"))
    what = {
        "lost": f"which has been lost{since}: no SN hears its SL",
        "restarted": f"whose SL was started again{at}: its script has not come back",
        "ml-lost": f"whose SL has been without its script{since}",
        "left": f"which left{at}",
        "other-terms": "which has other terms than the others",
    }.get(site.reason or "", "which is not in")
    return f"{_waits(found)}, {what}; {found.have} models are in, minPeers {found.need}"


def _unreachable(found: Explanation) -> str:
    at = f", at {found.address}" if found.address else ""
    return f"{_waited(found)}: others cannot fetch the model of {found.site} from its file server{at}"


def _sessions(found: Explanation) -> str:
    if found.round is not None:
        return (
            f"Round {found.round} has waited {span_text(found.seconds)}: {found.have} models in, minPeers {found.need}"
        )
    count = found.need - found.have
    sites = f"{count} more site{'s' * (count != 1)}"
    away = f"; {found.site} {_absence(_of(found))}" if found.site else ""
    counts = f"{found.have} of minPeers {found.need} have a session"
    return f"Training {found.contract} waits for {sites}: {counts}{away}{_idle(found)}"


def _idle(found: Explanation) -> str:
    return f"; no script has connected to {listed(list(found.idle))}" if found.idle else ""


def _absence(site: SiteNow) -> str:
    since = f" since {clock(site.since_ms)}" if site.since_ms is not None else ""
    return f"({REASONS.get(site.reason or '', 'not there')}{since})"


def _organisations(found: Explanation) -> str:
    count = found.need_organisations - found.have_organisations
    what = _waited(found) if found.round is not None else "Round 0 waits"
    return (
        f"{what} for sites of {count} more organisation{'s' * (count != 1)}: {found.have_organisations} of "
        f"{found.need_organisations} have a part in it{_idle(found)}"
    )


def _ledger(found: Explanation) -> str:
    what = f"Round {found.round} waits" if found.round is not None else f"Training {found.contract} waits"
    return f"{what} for the ledger: no majority of the SNs that order blocks answers, so nothing can be written"


def _unknown(found: Explanation) -> str:
    why = _of(found).why or "it states no work that is under way"
    return f"{_waits(found)}: it is there, and its model is not in ({why})"


_HEADLINES: Final[dict[Cause, Callable[[Explanation], str]]] = {
    "over": lambda found: f"Training {found.contract} is over: {found.waiting}",
    "empty": lambda found: f"Training {found.contract} has not begun: no site has opened a session{_idle(found)}",
    "ledger": _ledger,
    "sessions": _sessions,
    "organisations": _organisations,
    "leaderless": lambda found: (
        f"{_waited(found)}: no member can lead it (all are lost, or started with SL_MAKE_ME_ADMIN=False)"
    ),
    "away": _away,
    "unreachable": _unreachable,
    "unusable": lambda found: f"{_waits(found)}: its model cannot be used, and without it minPeers are not reached",
    "no-base": lambda found: f"{_waits(found)}: nobody can give it the latest merged model",
    "frozen": _frozen,
    "training": _training,
    "hand-over": _working,
    "transfer": _transfer,
    "merging": _merging,
    "submitting": _submitting,
    "unknown": _unknown,
}
_REMEDIES: Final[dict[Cause, str]] = {
    "empty": "start the SLs of the sites with their scripts, and see that these name the contract {contract}",
    "ledger": "start the SNs that are missing (swarm status names them); if they are lost for good: swarm sn recover",
    "sessions": "start the SL and the script of one more site for each that is missing",
    "organisations": "start SLs of organisations that have no part in it yet, or have operators change the contract",
    "leaderless": "start one of the lost sites again, or one without SL_MAKE_ME_ADMIN=False",
    "unreachable": "see that the SL of {site} runs and that the other sites reach its file server {address} (firewall, "
    "--host-ip, --sl-fs-port; swarm doctor tries it), or start it with --relay",
    "unusable": "the log of {site} says what is wrong with its model",
    "no-base": "see that the sites which hold that model run and can be reached by it (swarm doctor tries it)",
    "frozen": "look at the output of the script at {site}: it hangs, or waits for data. SIGUSR1 has it write its "
    "stacks; once it is ended, the round goes on without it where minPeers are left",
    "transfer": "where that is slower than the link should be, swarm doctor measures it",
    "submitting": "see whether the SNs are well: swarm status",
}


def _remedy_of_absence(found: Explanation) -> str:
    match _of(found).reason:
        case "lost":
            return f"see whether the host of {found.site} and its network are up, and whether its SL runs; {AGAIN}"
        case "restarted" | "ml-lost":
            return f"start the script at {found.site} again: its SL waits for it. Its output says why it has ended"
        case "other-terms":
            return f"the log of {found.site} names the difference: start its script with the terms of the others"
    return "start another site, or this one again"
