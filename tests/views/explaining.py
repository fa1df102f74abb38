"""Trainings that are explained: contracts played by hand, and what nodes state of themselves."""

from collections.abc import Mapping
from typing import Any

from support.play import Play
from swarmlearning.ledger.chain import Chain
from swarmlearning.views.evidence import Account, Evidence
from swarmlearning.views.explain import explain_closed, explain_now
from swarmlearning.views.explanation import Explanation
from swarmlearning.views.timeline import Moments
from swarmlearning.views.times import RoundTimes, Script, Span, Times

MINUTE = 60_000
SECRET = "its site, of organisation b, does not share how it spends its rounds with a"


def stated(play: Play, *spans: Span, now: int, script: Script | None = None) -> Account:
    """What a node states of the round in progress, `now` milliseconds after it has opened."""
    begun = play.round.opened_ms
    record = RoundTimes(play.state.name, play.state.run, play.round.number, begun, spans)
    return Account(Times(begun + now, record, script))


def asked(play: Play, after: int, accounts: Mapping[str, Account] | None = None, **more: Any) -> Explanation:
    """The explanation so many milliseconds after the round has opened."""
    current = play.state.round
    opened = current.opened_ms if current else 0
    models = {uid: entry.at_ms for uid, entry in current.submissions.items()} if current else {}
    frozen = opened + 1000 if current and current.phase == "frozen" else None
    moments = Moments(opened, models, [(opened, current.leader)] if current else [], frozen)
    facts = {"moments": moments if current else None, "accounts": accounts or {}, **more}
    return explain_now(Evidence(Chain().world, play.state, now_ms=opened + after, **facts))


def three() -> Play:
    """Round 1 of three sites; b has its model in."""
    play = Play("a", "b", "c", min_peers=3)
    play.complete_round("a", "b", "c")
    play.submit("b", "c")
    return play


def closed(accounts: Mapping[str, Account], leaders: tuple[tuple[int, str], ...] = ((0, "a"),)) -> Explanation:
    """Round 11 of a, b, c: from 0 to 42 s; b was in first, c last after 8 s; frozen then."""
    play = Play("a", "b", "c")
    moments = Moments(0, {"a": 5000, "b": 3000, "c": 8000}, list(leaders), 8000, 42_000)
    return explain_closed(Evidence(Chain().world, play.state, moments, 99_000, accounts), 11)


def record(*spans: Span) -> Account:
    return Account(Times(99_000, rounds=(RoundTimes("contract", 1, 11, 500, spans, ended=41_900),)))
