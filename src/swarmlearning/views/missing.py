"""Whose facts are missing in an explanation, why, and what to do: without them it is true, and says less."""

from collections.abc import Iterable
from typing import Final

from swarmlearning.views.evidence import Account, Evidence
from swarmlearning.views.explanation import Missing
from swarmlearning.views.names import displayed
from swarmlearning.views.shares import record_of
from swarmlearning.views.times import RoundTimes

AGAIN: Final = "ask again in a moment"
BEHIND: Final = f"{AGAIN}; if it stays so, that SL is cut off from the SNs: swarm doctor"


def missing(evidence: Evidence, uids: Iterable[str], number: int, *, closed: bool) -> tuple[Missing, ...]:
    """Those of these sites whose facts of a round are missing, by name; none before any site was asked."""
    if not evidence.accounts:
        return ()
    found = [each for uid in uids if (each := missing_of(evidence, uid, number, closed=closed))]
    return tuple(sorted(found, key=lambda each: (len(each.site), each.site)))


def missing_of(evidence: Evidence, uid: str, number: int, *, closed: bool) -> Missing | None:
    """What is missing of the facts of this site; None where nothing is, or it was not asked with all others."""
    account, record = evidence.account(uid), record_of(evidence, uid, number)
    if account.times is None:
        return Missing(evidence.name(uid), account.why, account.remedy) if evidence.accounts else None
    if record is None:
        why, remedy = _without_record(evidence, account, number, closed=closed)
        return Missing(evidence.name(uid), why, remedy)
    why, remedy = _of_part(record, closed=closed)
    return Missing(evidence.name(uid), why, remedy, part=True) if why else None


def _without_record(evidence: Evidence, account: Account, number: int, *, closed: bool) -> tuple[str, str]:
    assert account.times is not None
    state, now = evidence.state, account.times.now
    if closed:
        return (
            "its SL has no record of this round: it had no part in it, has lost its data, or keeps later rounds only",
            "",
        )
    if now is None:
        return "no script has connected since its SL was started", "start its script"
    if now.contract != state.name:
        return f"its SL takes part in contract {displayed(now.contract)} now", ""
    if (now.run, now.round) < (state.run, number):
        return f"its SL is in round {now.round} still, and has not seen this one begin", BEHIND
    return f"its SL is in round {now.round} already", AGAIN


def _of_part(record: RoundTimes, *, closed: bool) -> tuple[str, str]:
    """What a record lacks; empty where that is nothing."""
    if record.restarted:
        return "its SL was started in the middle of this round, and states what it has done since", ""
    if closed and record.ended is None:
        return "its SL has not seen the end of this round yet", BEHIND
    if record.dropped:
        return f"{record.dropped} pieces of its work had no room in its record", ""
    return "", ""
