"""Alerts about the SNs: whether blocks can be ordered, and which SN is the reason where they cannot."""

from collections.abc import Iterator, Mapping
from typing import Final

from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Offence
from swarmlearning.views.alerts.alert import Alert, Facts, Ordering
from swarmlearning.views.names import displayed, name_of, node_names

LAG_BLOCKS: Final = 64
"""Blocks that an SN is late by after seconds in which it should have followed: a second or two of work, no more."""
LONGEST_FAULT: Final = 1000

_OFFENCES: Mapping[Offence, str] = {
    "void": "block %d, which it has sealed, is void",
    "ahead": "most SNs have refused block %d, which it has sealed, since its time was ahead of their clocks",
    "twice": "it has sealed two blocks of height %d",
}


def ordering_alerts(facts: Facts) -> Iterator[Alert]:
    """What stands in the way of ordering, or may soon."""
    yield from _quarantines(facts)
    if (ordering := facts.ordering) is None:
        return
    if ordering.majority is False:
        yield Alert(
            "no-majority",
            "critical",
            "ordering",
            "no majority of voters answers: nothing can be written",
            "start the SNs that are missing; only if they are lost for good, stop this one and run `swarm sn recover`",
        )
    yield from _absences(facts, ordering)
    yield from _lags(facts, ordering)
    for fault in filter(None, ordering.faults):
        yield Alert("sn-fault", "critical", "ordering", displayed(fault, LONGEST_FAULT), "")


def _absences(facts: Facts, ordering: Ordering) -> Iterator[Alert]:
    names = node_names(facts.world)
    gone = [uid for uid in ordering.voters if facts.present(uid) is False]
    spare = len(ordering.voters) - len(gone) - (len(ordering.voters) // 2 + 1)
    for uid in gone:
        yield Alert(
            "voter-away",
            "warning" if spare > 0 else "critical",
            name_of(names, uid),
            f"SN {name_of(names, uid)} is a voter and does not run",
            "start it again, or start another SN, which then replaces it"
            + ("" if spare > 0 else "; until then no other voter may fail"),
            (uid,),
        )


def _quarantines(facts: Facts) -> Iterator[Alert]:
    names = node_names(facts.world)
    for known in network.nodes(facts.world):
        if (entry := network.quarantine(facts.world, known)) is not None:
            yield Alert(
                "quarantine",
                "critical",
                name_of(names, known.uid),
                f"SN {name_of(names, known.uid)} is in quarantine: {_OFFENCES[entry.offence] % entry.height}",
                f"find out why, then operators lift that: swarm node lift-quarantine {displayed(known.uid)}",
                (known.uid,),
            )


def _lags(facts: Facts, ordering: Ordering) -> Iterator[Alert]:
    names = node_names(facts.world)
    for known in network.admitted(facts.world):
        heard = (facts.heard or {}).get(known.uid)
        lag = ordering.due_height - heard.progress if heard is not None and known.uid != facts.own else 0
        if lag >= LAG_BLOCKS:
            yield Alert(
                "lag",
                "warning",
                name_of(names, known.uid),
                f"SN {name_of(names, known.uid)} is {lag} blocks behind the others",
                "it may be starting; if that number grows, its host or its link to the other SNs is too slow",
                (known.uid,),
            )
