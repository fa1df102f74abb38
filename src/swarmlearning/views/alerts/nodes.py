"""Alerts about single nodes and the machines that they run on, as far as they say: nobody is believed about others."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from swarmlearning.identity.certificates import load_bundle
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.views.alerts.alert import Alert, Facts, Severity
from swarmlearning.views.names import displayed, name_of, node_names
from swarmlearning.views.nodes import Expiry, authority_expiries
from swarmlearning.views.render import DAY_MS, WARNING_DAYS, clock, expiry_parts
from swarmlearning.views.sizes import size_text
from swarmlearning.views.vitals import Vitals

GIB: Final = 2**30
LOW_SHARE: Final = 0.1
LOW_DISK: Final = 20 * GIB
"""A disk that has less than a tenth free, and less than this: some days of logs and models of any size in use."""
LEAST_DISK: Final = GIB
"""With less, what keeps a system alive (its log, a package, a core file) may take the rest within minutes."""
LOW_MEMORY: Final = 0.05
"""With less free, the kernel begins to end processes."""
CLOCK_MS: Final = 2_000
"""As `node.clocks.TOLERATED_MS`: what a clock without NTP drifts in weeks, and no rule of the ledger minds."""
SOON_DAYS: Final = 7
LONG_SHARE, SHORT_SHARE = 3, 10
"""Of a certificate that is not made for long: a third, a tenth of its life. Agents renew in the middle of it."""


def node_alerts(facts: Facts) -> Iterator[Alert]:
    """What is wrong with nodes, one by one."""
    yield from _away(facts)
    yield from _expiries(facts)
    sizes = _model_bytes(facts)
    for known in network.nodes(facts.world):
        heard = (facts.heard or {}).get(known.uid)
        if known.left or heard is None:
            continue
        name = f"{known.type} {name_of(node_names(facts.world), known.uid)}"
        if known.type != "SN":  # those compare their clocks among themselves
            yield from _clock(known, name, heard.ahead_ms, heard.vitals)
        if heard.vitals is not None:
            yield from _disk(known, name, heard.vitals, sizes.get(known.uid, 0))
            yield from _memory(known, name, heard.vitals)


def _away(facts: Facts) -> Iterator[Alert]:
    """Nodes other than SNs that are gone without having left: they were killed, or nobody reaches them."""
    since: dict[str, int] = {}
    for state in facts.world.area("training/", Training):
        since |= {uid: one.since_ms for uid, one in state.members.items() if one.attendance == "lost"}
    for known in network.nodes(facts.world):
        if known.type not in ("SL", "SWOP") or known.left or known.alive or _revoked(facts, known):
            continue
        name = f"{known.type} {name_of(node_names(facts.world), known.uid)}"
        at = f" since {clock(since[known.uid])}" if known.uid in since else ""
        yield Alert(
            "node-away",
            "warning",
            name,
            f"{name} is lost{at}: it sends no heartbeats",
            "check its process, its host and its network, then start it again; if it is not to come back: "
            f"swarm node revoke {displayed(known.uid)}",
            (known.uid,),
            since.get(known.uid),
        )


def _revoked(facts: Facts, known: Node) -> bool:
    found = network.certificate(facts.world, known.certificate)
    return found is not None and bool(found.revoked)


def _expiries(facts: Facts) -> Iterator[Alert]:
    world, names = facts.world, node_names(facts.world)
    for known in network.nodes(world):
        certificate = network.certificate(world, known.certificate)
        if known.left or certificate is None or certificate.revoked:
            continue
        begins_ms, ends_ms = _life(certificate.pem)
        ahead_ms = min(WARNING_DAYS * DAY_MS, (ends_ms - begins_ms) // LONG_SHARE)
        if facts.now_ms >= ends_ms - ahead_ms:
            soon_ms = min(SOON_DAYS * DAY_MS, (ends_ms - begins_ms) // SHORT_SHARE)
            expiry = Expiry(names[known.uid], ends_ms)
            yield from _expiry(expiry, facts.now_ms, soon_ms, ends_ms - ahead_ms, (known.uid,))
    for each in authority_expiries(world):
        yield from _expiry(each, facts.now_ms, SOON_DAYS * DAY_MS, None, ())


def _expiry(expiry: Expiry, now_ms: int, soon_ms: int, since_ms: int | None, nodes: tuple[str, ...]) -> Iterator[Alert]:
    if (parts := expiry_parts(expiry, now_ms)) is not None:
        severity: Severity = "critical" if expiry.expires_ms - now_ms <= soon_ms else "warning"
        yield Alert("certificate", severity, expiry.of, *parts, nodes, since_ms)


@lru_cache(maxsize=4096)
def _life(pem: str) -> tuple[int, int]:
    """Unix milliseconds of the beginning and the first end of these certificates."""
    found = load_bundle(pem)
    begin = max(each.not_valid_before_utc.timestamp() for each in found)
    end = min(each.not_valid_after_utc.timestamp() for each in found)
    return int(1000 * begin), int(1000 * end)


def _clock(known: Node, name: str, ahead_ms: int, vitals: Vitals | None) -> Iterator[Alert]:
    """Its heartbeats carry a time, late by their journey; its own comparison is nearer, and says how near."""
    off, severity = ahead_ms, "critical"
    if abs(ahead_ms) <= network.DOUBT_MS:
        own, error = (vitals.clock_ms or 0, vitals.clock_error_ms or 0) if vitals else (0, 0)
        off, severity = own, "warning"
        if abs(own) - error <= CLOCK_MS:
            return
    how = "ahead of" if off > 0 else "behind"
    seconds = f"{abs(off) / 1000:.{0 if abs(off) >= 10_000 else 1}f}"
    yield Alert(
        "clock",
        "critical" if severity == "critical" else "warning",
        name,
        f"the clock of {name} is {seconds} s {how} the SNs'",
        "set it right (NTP)",
        (known.uid,),
    )


def _model_bytes(facts: Facts) -> dict[str, int]:
    """The bytes of a model of the training that each member is in, as far as the ledger shows."""
    found: dict[str, int] = {}
    for state in facts.world.area("training/", Training):
        if not state.over and state.result is not None:
            found |= dict.fromkeys(state.members, state.result.size)
    return found


def _disk(known: Node, name: str, vitals: Vitals, model: int) -> Iterator[Alert]:
    free, total = vitals.disk_free, vitals.disk_total
    if free is None or not total:
        return
    if full := free < max(LEAST_DISK, model):
        reason = ", and a model has " + size_text(model) if model > free else ""
        severity: Severity = "critical"
    elif free < min(LOW_DISK, LOW_SHARE * total):
        reason, severity = "", "warning"
    else:
        return
    yield Alert(
        "disk",
        severity,
        name,
        f"{name} has {size_text(free)} of {size_text(total)} left on the disk of its data directory{reason}",
        "make room there" + (" now: rounds wait for it once it is full" if full else " before it is full"),
        (known.uid,),
    )


def _memory(known: Node, name: str, vitals: Vitals) -> Iterator[Alert]:
    free, total = vitals.memory_free, vitals.memory_total
    if free is None or not total or free >= LOW_MEMORY * total:
        return
    yield Alert(
        "memory",
        "warning",
        name,
        f"{name} has {size_text(free)} of {size_text(total)} memory left",
        "end what else uses it, or give it more: the system ends processes when none is left",
        (known.uid,),
    )
