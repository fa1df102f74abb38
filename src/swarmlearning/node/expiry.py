"""Warnings in a node's log: before its certificates expire, and of a private key that others can read.

A node is refused by all others once its certificate has expired, or that of the authority which has issued it. So its
log warns 30 days, 7 days and 1 day ahead, and every hour of the last day: at the start of those that are near, then as
time passes, of whichever certificate it has by then. Of the last authority of an organisation it warns 60 days ahead
too, since a successor takes time.
"""

import asyncio
import logging
import stat
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from cryptography import x509

from swarmlearning.identity.identity import Identity
from swarmlearning.identity.source import IdentitySource
from swarmlearning.ledger.world import World
from swarmlearning.views.nodes import Expiry, authority_expiries
from swarmlearning.views.render import expiry_text

logger = logging.getLogger("swarm.identity")

HOUR: Final = 3600
DAY: Final = 24 * HOUR
AHEAD: Final = (30 * DAY, 7 * DAY)
"""Seconds before the end at which there is one warning each; from a day on there is one every hour."""

LAST_AHEAD: Final = (60 * DAY, *AHEAD)
"""The same for the last authority of an organisation."""

T = TypeVar("T")


async def warn_of_authorities(world: Callable[[], World], now: Callable[[], float] = time.time) -> None:
    """Warns until cancelled of authorities on the ledger that expire. `now`: Unix time in seconds."""
    warned: dict[Expiry, int] = {}
    while True:
        now_ms = int(now() * 1000)
        for expiry in authority_expiries(world()):
            due = _due(expiry, now_ms)
            if due > warned.get(expiry, 0):
                warned[expiry] = due
                text = expiry_text(expiry, now_ms)
                logger.warning("%s%s", text[:1].upper(), text[1:])
        await asyncio.sleep(HOUR)


def _due(expiry: Expiry, now_ms: int) -> int:
    if expiry.overdue_ms:
        return int(expiry.last and now_ms >= expiry.overdue_ms)
    return urgency((expiry.expires_ms - now_ms) / 1000, LAST_AHEAD if expiry.last else AHEAD)


async def warn_of_own(source: IdentitySource, now: Callable[[], float] = time.time) -> None:
    """Warns until cancelled of the node's own identity. `now`: Unix time in seconds.

    It looks every hour, since the clock may be set meanwhile and the machine may sleep.
    """
    warned: dict[x509.Certificate, int] = {}
    identity: Identity | None = None
    while True:
        if identity != source.current:
            identity = source.current
            for path in identity.secret_paths:
                _warn_of_secret(path)
        for certificate in identity.chain:
            left = seconds_left(certificate, now())
            due = overdue(certificate, left) if identity.bundles else urgency(left)
            if due > warned.get(certificate, 0):
                warned[certificate] = due
                logger.warning("%s", _text(certificate, left, identity))
        with suppress(TimeoutError):
            async with asyncio.timeout(_until_next_look(identity, now())):
                await source.changed(identity)


def overdue(certificate: x509.Certificate, left: float) -> int:
    """How late an agent is that renews certificates in the middle of their life: 0 until a third of that is `left`
    (seconds), 1 until the end, then 2."""
    return (left <= _life(certificate) / 3) + (left <= 0)


def _until_next_look(identity: Identity, now: float) -> float:
    """An hour, or less for the short lives of what an agent gives."""
    if not identity.bundles:
        return HOUR
    left, third = seconds_left(identity.certificate, now), _life(identity.certificate) / 3
    return min(HOUR, max(left - third if left > third else left, 1.0))


def _life(certificate: x509.Certificate) -> float:
    return (certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds()


async def while_working(work: Coroutine[Any, Any, T], *beside: Coroutine[Any, Any, None]) -> T:
    """The result of a node's work, beside which others run; they end with it."""
    async with asyncio.TaskGroup() as tasks:
        others = [tasks.create_task(each) for each in beside]
        result = await work
        for other in others:
            other.cancel()
    return result


def urgency(left: float, ahead: Sequence[int] = AHEAD) -> int:
    """0 while more than the longest time `ahead` is left (seconds), and 1 more whenever another warning is due."""
    if left > DAY:
        return sum(left <= time for time in ahead)
    return len(ahead) + 1 + int((DAY - left) // HOUR)


def seconds_left(certificate: x509.Certificate, now: float) -> float:
    """Until the certificate expires; negative afterwards. `now`: Unix time in seconds."""
    return certificate.not_valid_after_utc.timestamp() - now


def _text(certificate: x509.Certificate, left: float, identity: Identity) -> str:
    subject = repr(certificate.subject.rfc4514_string())
    end = datetime.fromtimestamp(certificate.not_valid_after_utc.timestamp(), UTC)
    when = f"{'expires in ' + _duration(left) if left > 0 else 'has expired'} ({end:%Y-%m-%d %H:%M} UTC)"
    if identity.bundles:
        return (
            f"The certificate of {identity.subject} from the SPIFFE agent at {identity.cert_path} {when}, and the "
            "agent has not renewed it: is it running, and does it reach its server? Others refuse this node from then "
            "on"
        )
    if certificate == identity.certificate:
        return (
            f"The certificate of this node, {subject} in {identity.cert_path}, {when}. Other nodes refuse it from then "
            "on: have it renewed, and put the new one in its place; this node uses it at once"
        )
    return (
        f"The CA certificate {subject} {when}. All certificates that it has issued are refused from then on: its "
        "organisation must renew it"
    )


def _duration(seconds: float) -> str:
    for size, name in ((DAY, "days"), (HOUR, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {name}"
    return "a minute"


def _warn_of_secret(path: Path) -> None:
    try:
        found = path.stat().st_mode
    except OSError:  # it is being replaced
        return
    if stat.S_ISREG(found) and found & (stat.S_IRWXO | stat.S_IWGRP):
        logger.warning(
            "The private key %s can be used by other users of this machine (mode %o), who could act as this node: "
            "chmod 600 it, and have a new certificate issued if somebody may have read it",
            path,
            stat.S_IMODE(found),
        )
