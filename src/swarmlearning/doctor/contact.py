"""The way from here to an SN, step by step, and the license servers: where it ends, and why."""

import asyncio
import os
import ssl
import time
from collections.abc import Sequence
from typing import Final

from swarmlearning.address import AddressError, split
from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.api.peertls import role_fault
from swarmlearning.doctor.certificates import examine_identity
from swarmlearning.doctor.findings import Report
from swarmlearning.doctor.wording import here
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.license.client import LicenseClient, NoAnswerError, NoTokenError
from swarmlearning.license.servers import LicenseServers
from swarmlearning.node.outcomes import Outcome
from swarmlearning.node.probing import Target, probe
from swarmlearning.proxies import proxy_to

CLOCK_MS: Final = 10_000
"""Clocks that differ by more are worth a word; nodes refuse what is a minute off."""
STATUS_SECONDS: Final = 6.5
NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL: a certificate is checked but for its validity in time."""


async def examine_way(address: str, identity: Identity, report: Report) -> Outcome | None:
    """Whether the SN at an address can be reached and used from here; None for what is no address."""
    try:
        host, port = split(address)
    except AddressError as error:
        report.find("settings", "the SN's address", str(error), "correct --sn-ip and --sn-api-port")
        return None
    context = client_context(identity)
    target = Target("", "api", host, port, "/openapi.json", lambda credential: not role_fault(credential))
    outcome = await asyncio.to_thread(probe, target, context)
    if outcome.code == "ok":
        report.fine.append(f"SN {address}: reached, its round trip takes {outcome.rtt_ms} ms")
        return outcome
    if outcome.code in ("expired", "not-yet-valid") and await _is_clock(address, identity, report):
        return outcome
    report.find(*here(outcome.code, address, proxy_to(host, os.environ)))
    return outcome


async def _is_clock(address: str, identity: Identity, report: Report) -> bool:
    """Whether the SN's certificate is not valid here since the clocks of both sides differ."""
    async with _timeless(address, identity) as client:
        return await compare_clocks(client, report) is not None


async def excuse_certificate(address: str, identity: Identity, report: Report) -> None:
    """Where the clock here is why the certificate is not valid, the clock is the finding."""
    found = Report()
    async with _timeless(address, identity) as client:
        there_ms = await compare_clocks(client, found)
    if there_ms is None:
        return
    judged = Report()
    examine_identity(identity, "", there_ms, judged)
    if not judged.has("expired", "not-yet-valid"):
        report.drop("expired", "not-yet-valid")
        report.add(found)


def _timeless(address: str, identity: Identity) -> SnClient:
    """A client that takes certificates of any time."""
    context = client_context(identity)
    context.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
    return SnClient(address, context, STATUS_SECONDS)


async def compare_clocks(client: SnClient, report: Report) -> int | None:
    """The SN's time (Unix, in milliseconds), with a finding, where this machine's clock differs from it; else None."""
    begun, here_ms = time.monotonic(), time.time_ns() // 1_000_000
    try:
        there_ms = await client.clock()
    except (Unavailable, Refusal):
        return None
    took_ms = (time.monotonic() - begun) * 1000
    ahead_ms = here_ms + took_ms / 2 - there_ms
    if abs(ahead_ms) <= CLOCK_MS + took_ms / 2:
        report.fine.append(f"clock: within {max(1, round(abs(ahead_ms) + took_ms / 2))} ms of the SN's")
        return None
    how = "ahead of" if ahead_ms > 0 else "behind"
    text = f"is {abs(ahead_ms) / 1000:.0f} s {how} that of the SN {client.address}"
    remedy = "set it right (NTP: timedatectl set-ntp true); if other nodes agree with this one, set the SN's right"
    report.find("clock", "this machine's clock", text, remedy)
    return there_ms


async def examine_licenses(servers: LicenseServers, identity: Identity, report: Report) -> None:
    """Whether one of the license servers of a node answers."""
    found = await asyncio.gather(*(_license_fault(each, identity) for each in servers.addresses))
    if not found:
        return
    faults = [fault for fault in found if fault]
    if len(faults) < len(found):
        report.fine.append(f"license server: {len(found) - len(faults)} of {len(found)} answer")
        report.notes.extend(f"license server {fault}" for fault in faults)
        return
    report.find(
        "license",
        "the license server",
        "; ".join(faults),
        "start it (swarm license serve), open its port, or correct --apls-ip and --apls-port: nodes start with it only",
    )


async def _license_fault(address: str, identity: Identity) -> str:
    async with LicenseClient(address, client_context(identity)) as client:
        try:
            await client.changes("", 0)
        except NoTokenError as error:
            return f"{address}: {error}"
        except NoAnswerError as error:
            return "" if error.final and "(not-allowed)" in str(error) else f"{address} does not answer: {error}"
    return ""


def addresses(sn: str, more: Sequence[str]) -> list[str]:
    """The SNs to try, the one that was named first."""
    return list(dict.fromkeys(each for each in (sn, *more) if each))
