"""What an SN's status tells, made safe to show: it is another organisation's word, and may be of an earlier release."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from swarmlearning.views.alerts import Alert, Severity
from swarmlearning.views.names import displayed
from swarmlearning.views.nodes import Expiry
from swarmlearning.views.render import DAY_MS, expiry_parts
from swarmlearning.views.sizes import size_text

LONGEST_LINE: Final = 1000
SEVERITIES: Final[Sequence[Severity]] = ("critical", "warning", "info")


def alerts_of(found: Mapping[str, Any], now_ms: int) -> list[Alert]:
    """The alerts of a status, the worst first; of an SN that finds none, what its alarms and expiries say."""
    told = found.get("alerts")
    shown = [_alert(each) for each in told] if told is not None else [*_alarms(found), *_expiries(found, now_ms)]
    return sorted(shown, key=lambda each: SEVERITIES.index(each.severity))


def counts(found: Mapping[str, Any], now_ms: int) -> dict[Severity, int]:
    """The number of alerts of each severity."""
    severities = [each.severity for each in alerts_of(found, now_ms)]
    return {severity: severities.count(severity) for severity in SEVERITIES}


def machine_text(node: Mapping[str, Any], now_ms: int) -> str:
    """A few words about a node's machine, as it says itself: free disk and memory, the days that its certificate
    lasts; what is not known is left out."""
    vitals = node.get("vitals") or {}
    parts = [
        f"{size_text(vitals[field])} {name}"
        for field, name in (("disk_free", "disk"), ("memory_free", "memory"))
        if vitals.get(field) is not None
    ]
    if (ends_ms := node.get("expires_ms")) is not None:
        parts.append(f"certificate {max(0, ends_ms - now_ms) // DAY_MS} d")
    return ", ".join(parts)


def _alert(told: Mapping[str, Any]) -> Alert:
    severity: Severity = told["severity"] if told["severity"] in SEVERITIES else "warning"
    return Alert(
        code=displayed(told["code"]),
        severity=severity,
        subject=displayed(told["subject"]),
        text=displayed(told["text"], LONGEST_LINE),
        remedy=displayed(told["remedy"], LONGEST_LINE),
        nodes=tuple(told["nodes"]),
        since_ms=told["since_ms"],
    )


def _alarms(found: Mapping[str, Any]) -> list[Alert]:
    return [Alert("alarm", "critical", "", displayed(text, LONGEST_LINE), "") for text in found["alarms"]]


def _expiries(found: Mapping[str, Any], now_ms: int) -> list[Alert]:
    shown = []
    for each in found["expiries"]:
        organisation = displayed(each.get("organisation", ""))
        expiry = Expiry(displayed(each["of"]), each["expires_ms"], organisation, bool(each.get("last")))
        if (parts := expiry_parts(expiry, now_ms)) is not None:
            shown.append(Alert("certificate", "warning", expiry.of, *parts))
    return shown
