"""Alerts about trainings: a round that waits for longer than its own past makes plausible, for whom and why, and sites
that are left out of one round after another."""

from collections.abc import Iterator, Mapping
from shlex import quote
from typing import Final, NamedTuple

import msgspec

from swarmlearning.ledger.contracts.training.state import Training, present
from swarmlearning.views.alerts.alert import Alert, Facts
from swarmlearning.views.names import displayed, fetch_addresses, name_of, node_names
from swarmlearning.views.pace import Lately
from swarmlearning.views.render import HOUR_MS, MINUTE_MS, awaited_text, lasting, listed, without_script
from swarmlearning.views.training import Awaited, Reason, Waiting, waiting_in

FACTOR: Final = 5
"""A round that takes so many times as long as usual: slow sites, a busy link and one change of leader take less."""
LEAST_MS: Final = 2 * MINUTE_MS
"""Nobody need look at a shorter wait: lost leaders are followed, and short rounds vary most."""
FIRST_MS: Final = HOUR_MS
"""Where no round is closed yet, sites may still read their data, or train on it for their first interval."""
SOON_MS: Final = MINUTE_MS // 2
"""Where a round cannot go on without a site that is away: to start an SL and its script again takes less."""
CONNECT_MS: Final = 5 * MINUTE_MS
"""Where others have a session and an SL has none: its script imports its framework, and reads its data, in less."""
FAR: Final = 4
"""A wait that has lasted so many times longer than the time after which it is named does not end by itself."""
LEFT_OUT: Final = 3
"""Rounds in a row: one or two may pass a site by while it comes back or catches up."""

IN_TIME: Final[frozenset[Reason]] = frozenset(("expected", "joining"))
"""Reasons that may end by themselves."""

REMEDIES: Final[Mapping[Reason, str]] = {
    "lost": "check its process, its host and its network, then start it again",
    "restarted": "its SL is back, its script is not: start the script again",
    "ml-lost": "its script has ended: see its output, and start it again beside its SL",
    "left": "its SL has left: start SL and script again",
    "other-terms": "its script was started with other terms than the others': see its SL's log",
    "unreachable": "open the way to that address, or start that SL with --relay",
    "unusable": "see its SL's log for what is wrong with its model",
    "no-base": "open the way between it and those named",
    "no-start": "a site whose privacy lock gives a first model has to take part",
    "joining": "see its SL's log",
    "expected": "see what it does: swarm explain, or swarm logs NAME",
}
RANKING: Final = list(REMEDIES)
"""Who needs help to be in again stands first."""


class _Wait(NamedTuple):
    """A wait since a time, and after how long it is named."""

    since_ms: int
    named_after_ms: int


def round_alerts(facts: Facts) -> Iterator[Alert]:
    """What is wrong with trainings, one by one."""
    for state in facts.world.area("training/", Training):
        if state.over or state.terms is None:
            continue
        lately, waits = facts.lately.get(state.name), waiting_in(facts.world, state)
        if waits.phase == "leaderless" and not present(state):  # it is the sites that are missing
            waits = msgspec.structs.replace(waits, phase="collecting")
        yield from _stuck(facts, state, waits, lately)
        yield from _left_out(facts, state, waits, lately)


def _stuck(facts: Facts, state: Training, waits: Waiting, lately: Lately | None) -> Iterator[Alert]:
    if all(one.attendance == "left" for one in state.members.values()):
        yield _at_rest(state)
        return
    found = _wait(state, waits, lately.usual_ms if lately else None)
    waited_ms = facts.now_ms - found.since_ms
    if waited_ms < found.named_after_ms:
        return
    name = displayed(state.name)
    names, culprits = node_names(facts.world), _culprits(waits)
    yield Alert(
        "round-waits",
        "critical" if waits.phase == "leaderless" or waited_ms >= FAR * found.named_after_ms else "warning",
        name,
        f"training {name} has waited for {lasting(waited_ms)}{_usual(lately)} {_for_whom(facts, waits)}",
        _remedy(state, waits, [name_of(names, each.uid) for each in culprits[:1]], culprits),
        (*(each.uid for each in culprits), *waits.idle) or ((waits.leader,) if waits.leader else ()),
        found.since_ms,
    )


def _at_rest(state: Training) -> Alert:
    name = displayed(state.name)
    return Alert(
        "at-rest",
        "info",
        name,
        f"training {name} rests in round {state.round.number if state.round else 0}: all its sites have left",
        f"start sites again to go on, or end it: swarm contract reset {quote(name)} --force",
    )


def _wait(state: Training, waits: Waiting, usual_ms: int | None) -> _Wait:
    patience = FIRST_MS if usual_ms is None else max(LEAST_MS, FACTOR * usual_ms)
    away = [each.since_ms for each in waits.awaited if each.since_ms is not None]
    hoped = sum(each.reason in IN_TIME for each in waits.awaited)
    if waits.phase == "opening":
        joined = [one.since_ms for one in state.members.values()]
        return _Wait(max(joined, default=0), SOON_MS if away else CONNECT_MS if waits.idle else patience)
    if waits.phase == "collecting" and (waits.have + hoped < waits.need or waits.retired or waits.to_join):
        return _Wait(max([waits.since_ms or 0, *away]), SOON_MS)
    return _Wait(waits.since_ms or 0, LEAST_MS if waits.phase == "leaderless" else patience)


def _culprits(waits: Waiting) -> list[Awaited]:
    """Those that keep the round waiting; of a merge its leader, where others do not reach it."""
    found = [each for each in waits.awaited if waits.phase != "merging" or each.uid == waits.leader]
    return sorted(found, key=lambda each: (RANKING.index(each.reason), each.uid))


def _usual(lately: Lately | None) -> str:
    usual = lately.usual_ms if lately else None
    return "" if usual is None else f" (its rounds take about {lasting(usual)})"


def _for_whom(facts: Facts, waits: Waiting) -> str:
    names, addresses = node_names(facts.world), fetch_addresses(facts.world)
    whom = awaited_text(waits, names, addresses)
    number = f"in round {waits.round}"
    models = f"{waits.have} model{'s' * (waits.have != 1)}"
    counts = f"{models} in, minPeers {waits.need}"
    match waits.phase:
        case "opening":
            count = max(0, waits.need - waits.have)
            more = f"for {count} more site{'s' * (count != 1)} to begin"
            missing = (f"; missing: {whom}" if whom else "") + without_script(waits.idle, names)
            return f"{more}: {waits.have} of {waits.need} sessions are open{missing}"
        case "leaderless":
            return f"for a leader {number}: no member can lead (all lost, or SL_MAKE_ME_ADMIN=False)"
        case "merging" if waits.slices is not None and waits.slices.waits:
            left = [f"{name_of(names, uid)} ({count})" for uid, count in waits.slices.waits.items()]
            return f"for slices {number}: {listed(left)}"
        case "merging":
            return f"for {name_of(names, waits.leader)}, which merges {models} {number}"
    if not whom:
        return f"for {name_of(names, waits.leader)}, which leads {number}: {counts}, and it has not merged them"
    return f"for {whom} {number}: {counts}"


def _remedy(state: Training, waits: Waiting, first: list[str], culprits: list[Awaited]) -> str:
    reset = f"operators can end this training: swarm contract reset {quote(displayed(state.name))} --force"
    if waits.retired or waits.to_join:
        return f"it needs sites of {waits.need_organisations} organisations, and never gets them; {reset}"
    if waits.phase == "leaderless":
        return "start a site again whose SL may lead"
    if waits.phase == "opening" and not culprits:
        missing = "start the scripts of the sites that are missing"
        return "see the output of the scripts there" if waits.idle else missing
    if waits.phase == "merging" or not culprits:
        return "see the log of that leader: swarm logs NAME; another one follows if it makes no progress"
    lost = f"{first[0]}: {REMEDIES[culprits[0].reason]}"
    return lost if present(state) else f"{lost}; or {reset}"


def _left_out(facts: Facts, state: Training, waits: Waiting, lately: Lately | None) -> Iterator[Alert]:
    names = node_names(facts.world)
    for uid, member in sorted(state.members.items()):
        missed = lately.missed(uid) if lately else 0
        if missed < LEFT_OUT or not member.present or member.finished:
            continue
        reason: Reason = next((each.reason for each in waits.awaited if each.uid == uid), "expected")
        late = ", late for some" if member.late else ""
        name = name_of(names, uid)
        yield Alert(
            "left-out",
            "warning",
            name,
            f"{name} has not contributed to the last {missed} rounds of training {displayed(state.name)}{late}",
            REMEDIES[reason].replace("NAME", name),
            (uid,),
        )
