"""What the documents at hand allow at a time: how many tokens of a feature may be lent, and until when. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from swarmlearning.license.documents import License, Revocations, Signed
from swarmlearning.license.features import Feature


@dataclass(frozen=True)
class Right:
    """`capacity` tokens may be lent, none beyond `until_ms`; `why_not` is the reason of those that may not."""

    capacity: int
    until_ms: int
    why_not: str = ""


@dataclass(frozen=True)
class Rights:
    """Verified licenses, and verified lists of revoked ones."""

    licenses: Collection[Signed[License]]
    revocations: Collection[Signed[Revocations]] = ()

    def of(self, feature: Feature, now_ms: int) -> Right:
        """The right to lend tokens of a feature at this time (Unix, milliseconds)."""
        capacity, until, reasons = 0, 0, list[str]()
        seen = set[tuple[str, str]]()
        for signed in self.licenses:
            found = signed.document
            if feature not in found.features or (signed.issuer, found.id) in seen:
                continue
            seen.add((signed.issuer, found.id))
            if fault := self.fault(signed, now_ms):
                reasons.append(fault)
            else:
                capacity += found.features[feature]
                until = max(until, found.expires_ms)
        if not capacity and not reasons:
            reasons.append("no license of this server has this feature")
        return Right(capacity, until, "; ".join(reasons))

    def fault(self, signed: Signed[License], now_ms: int) -> str:
        """Why a license is not in force at this time; empty when it is."""
        found = signed.document
        if self._revoked(signed.issuer, found.id):
            return f"license {found.id[:8]} is revoked"
        if now_ms < found.not_before_ms:
            return f"license {found.id[:8]} begins at {date_text(found.not_before_ms)}"
        if now_ms >= found.expires_ms:
            return f"license {found.id[:8]} has expired at {date_text(found.expires_ms)}"
        return ""

    def _revoked(self, issuer: str, license_id: str) -> bool:
        """An issuer revokes licenses of its own only."""
        return any(each.issuer == issuer and license_id in each.document.licenses for each in self.revocations)


def date_text(time_ms: int) -> str:
    """A Unix time in milliseconds, for people; the largest that can be told if it is beyond that."""
    try:
        return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError):
        return "the end of time"
