"""The status of a network of any size, as an SN answers, for what shows it: always the same."""

from dataclasses import asdict
from typing import Any

import msgspec

from support.scripted_sn import STATUS
from swarmlearning.api.answers import Status
from swarmlearning.views.alerts import Alert
from swarmlearning.views.training import Awaited, MemberRounds, Participation, TrainingProgress, Waiting
from swarmlearning.views.vitals import Vitals

NOW_MS = 1_795_000_000_000
"""2026-11-18 11:06:40Z."""
MINUTE = 60_000
DAY = 24 * 60 * MINUTE
GB = 10**9


def site(number: int) -> str:
    return f"site-{number}"


def node(number: int, **changes: Any) -> dict[str, Any]:
    """An SL in the middle of its training."""
    vitals = Vitals((40 + number) * GB, 500 * GB, (8 + number % 5) * GB, 64 * GB, number - 30, 3, None, "3.0")
    training = TrainingProgress(2, 10, None, 900.0 + number, 60.0 * number)
    known = {"uid": site(number), "type": "SL", "name": site(number), "incarnation": 1, "alive": True, "left": False}
    known |= {"state": "alive", "version": "3.0", "addresses": {"fs": f"10.0.{number}.1:30305"}, "progress": 7}
    return known | {"training": asdict(training), "vitals": asdict(vitals), "expires_ms": NOW_MS + 300 * DAY} | changes


def sn(number: int) -> dict[str, Any]:
    known = node(number, type="SN", uid=f"sn-{number}", name=f"SN-{number}", training=None)
    return known | {"addresses": {"api": f"10.1.{number}.1:30304"}}


def voter(number: int, **changes: Any) -> dict[str, Any]:
    known = {"uid": f"sn-{number}", "name": f"SN-{number}", "part": "voter", "founder": number == 1, "witness": False}
    return known | {"height": 4711, "lag": 0, "present": True} | changes


def status(sites: int, lost: int = 0, submitted: int = 0, *alerts: Alert, **changes: Any) -> dict[str, Any]:
    """So many sites in round 12, of which the first have submitted and the last are lost, and three SNs."""
    numbers = range(1, sites + 1)
    gone = {site(number) for number in numbers[sites - lost :]}
    inside = [site(number) for number in numbers[:submitted]]
    awaited = [
        Awaited(uid, "lost", NOW_MS - 14 * MINUTE) if uid in gone else Awaited(uid, "expected")
        for uid in map(site, numbers)
        if uid not in inside
    ]
    members = tuple(MemberRounds(site(number), 12 - number % 2, 0) for number in numbers)
    waiting = Waiting(
        contract="mnist",
        phase="collecting",
        have=submitted,
        need=sites - lost + 1 if lost else sites // 2,
        participation=Participation(12, members),
        round=12,
        leader=site(7),
        since_ms=NOW_MS - 14 * MINUTE,
        awaited=tuple(awaited),
    )
    training = {
        "name": "mnist",
        "rounds": 12,
        "over": False,
        "min_peers": waiting.need,
        "members": [site(number) for number in numbers],
        "leader": site(7),
        "waiting_for": [each.uid for each in awaited],
        "text": "round 12 waits",
        "waiting": msgspec.to_builtins(waiting),
        "activities": {
            uid: "submitted" if uid in inside else "lost" if uid in gone else "training" for uid in map(site, numbers)
        },
        "taken_ms": [1000 * (38 + at * 7 % 11) for at in range(12)],
        "missed": {},
    }
    nodes = [node(number, **({"alive": False, "state": "lost"} if site(number) in gone else {})) for number in numbers]
    facts = STATUS | {
        "network": "hospitals",
        "height": 4711,
        "ordering": "etcd",
        "sns": [voter(1), voter(2), voter(3)],
        "nodes": [sn(1), sn(2), sn(3), *nodes],
        "trainings": [training],
        "alerts": [msgspec.to_builtins(each) for each in alerts],
        "time_ms": NOW_MS,
    }
    return as_read(facts | changes)


def as_read(facts: dict[str, Any]) -> dict[str, Any]:
    """The status as a client has it once it has checked every field."""
    found: dict[str, Any] = msgspec.to_builtins(msgspec.convert(facts, Status))
    return found
