"""Four sites and three SNs in memory, and the facts from which alerts about them follow."""

from collections.abc import Mapping
from typing import Any

import msgspec

from support.network import CONTRACT, Ledger, session
from swarmlearning.ledger.bodies import Announce, Lost, Submit
from swarmlearning.ledger.contracts import network
from swarmlearning.views.alerts import Alert, Facts, Heard, Ordering, alerts
from swarmlearning.views.pace import Lately

SITES = ("site-1", "site-2", "site-3", "site-4")
VOTERS = ("sn-1", "sn-2", "sn-3")
MINUTE = 60_000


def four_sites() -> Ledger:
    """Three SNs, and four sites in round 0, of which three are enough."""
    made = Ledger()
    for uid in ("sn-2", "sn-3"):
        made.join(uid, "SN")
        made.send(uid, Announce({"p2p": f"{uid}:30303", "api": f"{uid}:30304"}), network.CONTRACT)
    for site in SITES:
        made.join(site)
    for site in SITES:
        made.send(site, session(min_peers=3, epochs=5))
    return made


def facts(ledger: Ledger, after_ms: int = 0, **changes: Any) -> Facts:
    """All nodes are present, so long after round 0 has opened."""
    current = ledger.training.round
    now_ms = (current.opened_ms if current else ledger.clock) + after_ms
    heard: Mapping[str, Heard] = {known.uid: Heard() for known in network.nodes(ledger.chain.world)}
    ordering = Ordering(alone=False, voters=VOTERS)
    return msgspec.structs.replace(Facts(ledger.chain.world, "sn-1", now_ms, heard, ordering), **changes)


def found(known: Facts, code: str = "") -> list[Alert]:
    """The alerts of this code, by default all that are more than information."""
    return [each for each in alerts(known) if each.code == code or (not code and each.severity != "info")]


def submit(ledger: Ledger, *sites: str) -> None:
    for site in sites:
        current = ledger.training.round
        assert current is not None
        digest = f"{int(site.removeprefix('site-')):064x}"
        ledger.send(site, Submit(current.number, current.base, "trained", digest, 1, 1))


def lose(ledger: Ledger, *uids: str) -> None:
    """Two of the three SNs report that these nodes are gone."""
    for uid in uids:
        for sn in VOTERS[:2]:
            ledger.send(sn, Lost(uid, 1), network.CONTRACT)


def usually(seconds: int) -> dict[str, Lately]:
    return {CONTRACT: Lately(1, 5, (seconds * 1000,) * 5)}


def without(known: Facts, *uids: str) -> dict[str, Heard]:
    return {uid: heard for uid, heard in (known.heard or {}).items() if uid not in uids}
