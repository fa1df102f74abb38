"""Who reaches whom, and from that where a fault is: with a node, with its own way out, or between two. Pure.

What a node needs: every node the API of SNs, SNs each other's port, SLs each other's file servers. Only such tries are
faults where they fail by packets that vanish; a process that does not answer, or an address that leads to somebody
else, is a fault whoever finds it.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from swarmlearning.doctor.findings import Report, Way
from swarmlearning.doctor.wording import MEANINGS
from swarmlearning.node.outcomes import Code, Outcome
from swarmlearning.views.explaintext import rate_text
from swarmlearning.views.names import displayed

HERE: Final = ""
"""Stands for this machine among the UIDs of those who try."""
SLOW: Final = 0.25e6
"""Bytes a second: a model of 100 MB takes seven minutes then."""
MEASURED: Final = 50e6
"""Bytes a second: so few bytes as a try may cost do not tell what is faster from what is faster still."""
SURE: Final[frozenset[Code]] = frozenset(
    (
        *("forbidden", "no-tls", "closed", "stalled", "large-lost", "another", "no-service"),
        *("expired", "not-yet-valid", "expired-there"),
    )
)
"""Outcomes that are faults whoever finds them."""
VANISHED: Final[frozenset[Code]] = frozenset(("silent", "refused", "no-route"))

Pair: TypeAlias = tuple[str, str, Outcome]
"""UIDs of who tries and of whom, and what came of it."""


class Known(NamedTuple):
    """A node: its type, the name to show, its announced addresses, and whether it is present."""

    type: str
    name: str
    addresses: Mapping[str, str]
    alive: bool

    @property
    def shown(self) -> str:
        """For people."""
        return called(self.type, self.name)


def called(type: str, name: str) -> str:
    """A node for people: `SL site-1`, and `SN-1` where the name says what it is."""
    return name if name.upper().startswith(f"{type}-") else f"{type} {name}"


Nodes: TypeAlias = Mapping[str, Known]
Rows: TypeAlias = Mapping[str, Sequence[Outcome]]
"""UID of who has tried to what came of it."""


def needs(type: str, service: str) -> bool:
    """Whether a node of this type has to reach this service of others."""
    return service == "api" or (type, service) in (("SL", "fs"), ("SN", "p2p"))


def diagnose(rows: Rows, nodes: Nodes) -> Report:
    """What is wrong between the nodes."""
    report = Report()
    tries = [(who, each.uid, each) for who, row in rows.items() for each in row if each.uid in nodes]
    tries = [each for each in tries if each[2].code != "untried"]
    at_work = {uid for _, uid, outcome in tries if outcome.code == "ok"}  # whatever its lease says
    nodes = {uid: known._replace(alive=known.alive or uid in at_work) for uid, known in nodes.items()}
    slow = _tell_slow(tries, nodes, report)
    bad = [each for each in tries if _counts(each, nodes) and not (each[2].code == "stalled" and each[1] in slow)]
    bad = _without_origins(bad, tries, nodes, report)
    bad = _without_targets(bad, tries, nodes, report)
    reached = {(who, uid) for who, uid, outcome in tries if outcome.code == "ok"}
    for who, uid, outcome in bad:
        _tell_pair(who, uid, outcome, (uid, who) in reached, nodes, report)
    report.ways = [
        Way(_name(who, nodes), nodes[uid].shown, each.service, each.code, each.rtt_ms, each.rate)
        for who, uid, each in tries
    ]
    good = sum(outcome.code == "ok" for _, _, outcome in tries)
    if tries:
        report.fine.append(
            f"reachability: {good} of {len(tries)} ways from {len(rows)} places are open{_extremes(report.ways)}"
        )
    return report


def _extremes(ways: Sequence[Way]) -> str:
    """The longest round trip, and the slowest link on which models travel, as far as they were measured."""
    far = max((way for way in ways if way.rtt_ms is not None), key=lambda way: way.rtt_ms or 0.0, default=None)
    slow = min((way for way in ways if way.service == "fs" and way.rate), key=lambda way: way.rate or 0.0, default=None)
    text = f"; the longest round trip takes {far.rtt_ms:.1f} ms, {far.origin} to {far.target}" if far else ""
    return text + (f"; {slow.target} sends to {slow.origin} the slowest, {_speed(slow.rate or 0.0)}" if slow else "")


def _speed(rate: float) -> str:
    return rate_text(rate) if rate < MEASURED else f"{rate_text(MEASURED)} or more"


def _counts(pair: Pair, nodes: Nodes) -> bool:
    """Whether this is a failure that matters."""
    who, uid, outcome = pair
    if outcome.code == "ok" or (not nodes[uid].alive and outcome.code in VANISHED | {"relay", "closed"}):
        return False
    return outcome.code in SURE or needs(nodes[who].type if who in nodes else "", outcome.service)


def _without_targets(bad: list[Pair], tries: list[Pair], nodes: Nodes, report: Report) -> list[Pair]:
    """Tells of the nodes that nobody reaches who has to; returns the other failures."""
    failing: defaultdict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in bad:
        failing[pair[1], pair[2].service].append(pair)
    left = list[Pair]()
    for (uid, service), pairs in sorted(failing.items()):
        others = [each for each in tries if each[1] == uid and each[2].service == service and each not in pairs]
        code = Counter(outcome.code for _, _, outcome in pairs).most_common(1)[0][0]
        if any(outcome.code == "ok" for _, _, outcome in others):
            left += pairs
        else:
            _tell_target(nodes[uid], service, code, len(pairs), report)
    return left


def _tell_target(known: Known, service: str, code: Code, count: int, report: Report) -> None:
    address = displayed(known.addresses.get(service, ""), 200)
    what = SERVICES.get(service, service)
    meaning = MEANINGS[code]
    named = {"at": f"{address} ({what})", "host": address.rpartition(":")[0].strip("[]"), "proxy": "in use"}
    if code in VANISHED:
        how = {"silent": "what is sent there vanishes", "refused": "nothing listens there", "no-route": "no way there"}
        text = (
            f"is at work, and nobody who needs it reaches its {what} at {address}, the address that it announces "
            f"({how[code]}; {count} tried): NAT or a firewall lets nobody in, or the address is wrong"
        )
        report.find("no-way-in", known.shown, text, _way_in(known.type))
    else:
        report.find(meaning.code, known.shown, meaning.text.format(**named), meaning.remedy.format(**named))


def _way_in(type: str) -> str:
    if type == "SL":
        return (
            "open its port and forward it, or announce the address that leads there (--host-ip, --sl-fs-port, "
            "--sl-fs-service); where nobody can connect to it, use a relay: start an SN with --sn-relay-port, and "
            "this SL with --relay"
        )
    return "open and forward its port, or announce the address that leads there (--host-ip, --sn-…-service)"


SERVICES: Final = {"fs": "file server", "api": "API", "p2p": "port for other SNs", "relay": "relay"}


def _without_origins(bad: list[Pair], tries: list[Pair], nodes: Nodes, report: Report) -> list[Pair]:
    """Tells of the nodes that reach nobody; returns the other failures."""
    left = list(bad)
    for who in sorted({pair[0] for pair in bad}):
        own = [each for each in tries if each[0] == who]
        failed = [each for each in bad if each[0] == who]
        targets = {uid for _, uid, _ in own}
        reached = {uid for one, uid, outcome in tries if one != who and outcome.code == "ok"}
        if any(outcome.code == "ok" for _, _, outcome in own) or len(targets & reached) < 2:
            continue
        code = Counter(outcome.code for _, _, outcome in failed).most_common(1)[0][0]
        meaning, name = MEANINGS[code], _name(who, nodes)
        if code == "large-lost":
            text, remedy = f"large packets between {name} and all others vanish", meaning.remedy
        else:
            text = f"reaches none of the {len(targets)} nodes that it needs ({code}), although others do"
            remedy = "look at its own firewall, route, DNS and proxy: the fault is with its way out"
        found = {"proxy": "proxy", "unknown-host": "unknown-host", "large-lost": "large-lost"}.get(code, "link")
        report.find(found, name, text, remedy.format(at="others", host="…", proxy=""))
        left = [each for each in left if each[0] != who]
    return left


def _tell_pair(who: str, uid: str, outcome: Outcome, reverse: bool, nodes: Nodes, report: Report) -> None:
    known, name = nodes[uid], _name(who, nodes)
    address = displayed(known.addresses.get(outcome.service, ""), 200)
    meaning = MEANINGS[outcome.code]
    named = {"at": f"{known.shown} at {address}", "host": address.rpartition(":")[0].strip("[]"), "proxy": ""}
    if outcome.code not in VANISHED:
        subject = name if outcome.code in ("proxy", "unknown-host", "distrusted-here") else f"{name} to {known.shown}"
        report.find(meaning.code, subject, meaning.text.format(**named), meaning.remedy.format(**named))
        return
    subject = f"the way from {name} to {known.shown}"
    how = {"silent": "vanishes", "refused": "is refused", "no-route": "finds no route"}[outcome.code]
    text = f"what {name} sends to {address} {how}, while others reach that address"
    if reverse:
        text += f", and {known.shown} reaches {name}: a firewall is closed in one direction"
    remedy = f"let TCP from {name} to {address} pass: in the firewalls of both hosts, and of both sites"
    report.find("one-way" if reverse else "link", subject, text, remedy)


def _tell_slow(tries: list[Pair], nodes: Nodes, report: Report) -> set[str]:
    """Tells of links that are slow for models: all from one node, all to one, or one between two.

    Returns the UIDs of those that send slowly: several that ask them at a time may get nothing.
    """
    rates = {(who, uid): each.rate for who, uid, each in tries if each.service == "fs" and each.rate is not None}
    own_is_fast = any(rate >= SLOW for (who, _), rate in rates.items() if who == HERE)
    told = set[tuple[str, str]]()
    senders = set[str]()
    for at, text in ((1, "sends models to nobody faster than"), (0, "gets models from nobody faster than")):
        for uid in sorted({pair[at] for pair in rates if at == 1 or _is_sl(pair[0], nodes)}):
            pairs = [pair for pair in rates if pair[at] == uid and pair not in told]
            sure = len(pairs) > 1 or (own_is_fast and (HERE, uid) in pairs)
            if sure and all(rates[pair] < SLOW for pair in pairs):
                told.update(pairs)
                senders.update([uid] if at == 1 else ())
                best = max(rates[pair] for pair in pairs)
                report.find("slow-link", _name(uid, nodes), f"{text} {rate_text(best)}: {_minutes(best)}", SPEED_UP)
    for pair, rate in sorted(rates.items()):
        if rate < SLOW and pair not in told and _is_sl(pair[0], nodes):
            way = f"the link from {_name(pair[1], nodes)} to {_name(pair[0], nodes)}"
            report.find("slow-link", way, f"carries {rate_text(rate)}: {_minutes(rate)}", SPEED_UP)
    return senders


def _is_sl(uid: str, nodes: Nodes) -> bool:
    """Whether this is an SL: what this machine gets slowly says nothing about the others' links."""
    return uid in nodes and nodes[uid].type == "SL"


SPEED_UP: Final = (
    "look for what limits or uses that link (VPN, shaping, Wi-Fi, another transfer); rounds wait for the slowest site: "
    "a larger syncFrequency makes them rarer"
)


def _minutes(rate: float) -> str:
    return f"100 MB take {100e6 / rate / 60:.0f} minutes"


def _name(uid: str, nodes: Nodes) -> str:
    return nodes[uid].shown if uid in nodes else "this machine"
