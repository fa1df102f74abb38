"""A node's certificate, key and CAs, as they are in its files: what does not fit, and what will not for long."""

import time
from datetime import UTC, datetime
from typing import Final

from cryptography import x509

from swarmlearning.doctor.findings import Report
from swarmlearning.identity.certificates import (
    CertificateError,
    is_issued_by,
    role_of,
    subject_of,
    thumbprint,
    verify_chain,
)
from swarmlearning.identity.files import IdentityFiles
from swarmlearning.identity.identity import Identity, IdentityError, read_anchors, read_certificates
from swarmlearning.identity.signing import SignatureError
from swarmlearning.views.names import displayed

DAY_MS: Final = 24 * 3600 * 1000
SOON_MS: Final = 30 * DAY_MS
RENEW: Final = (
    "have it renewed (the office that has its CA: `swarm ca sign`, `swarm ca renew`; for trying out: `swarm cert`) and "
    "put the new file in its place"
)


def examine_files(files: IdentityFiles, wanted: str = "", now_ms: int | None = None) -> tuple[Identity | None, Report]:
    """The identity that these files hold, None where they hold none that can be used, and what was found.

    `wanted`: the role that it has to be for, empty: any.
    """
    report = Report()
    identity = _read(files, report)
    if identity is not None:
        examine_identity(identity, wanted, time.time_ns() // 1_000_000 if now_ms is None else now_ms, report)
    return identity, report


def examine_identity(identity: Identity, wanted: str, now_ms: int, report: Report) -> None:
    """What is wrong with an identity whose key and certificate fit."""
    own = f"the certificate {identity.cert_path}"
    try:
        role, subject = role_of(identity.certificate), displayed(subject_of(identity.certificate))
    except CertificateError as error:
        report.find("wrong-role", own, str(error), "use a certificate that was made for a node: `swarm cert --node …`")
        return
    if wanted and role != wanted:
        report.find(
            "wrong-role",
            own,
            f"{subject!r} is for the role {role}, and this node needs one for {wanted}",
            f"name the certificate and key of this {wanted} (--cert, --key); its common name begins with {wanted}-",
        )
    try:
        verify_chain(identity.chain[0], identity.chain[1:], identity.anchors, now_ms)
    except CertificateError as error:
        _explain(identity, str(error), now_ms, report)
        return
    _tell_end(identity, now_ms, report)


def _read(files: IdentityFiles, report: Report) -> Identity | None:
    try:
        if files.cert is not None:
            read_certificates(files.cert)
        read_anchors(files.cacert, files.capath)
    except IdentityError as error:
        report.find("certificate-file", "the files of this node's identity", str(error), "correct the path or the file")
        return None
    try:
        return files.load(expired=True)
    except IdentityError as error:
        text, cause = str(error), error.__cause__
        if None in (files.cert, files.key) or (files.cacert, files.capath) == (None, None):
            first, _, rest = text.partition("\n")
            report.find("no-identity", "this node's identity", first, " ".join(rest.split()))
        elif isinstance(cause, SignatureError):
            remedy = "name the key that was made with this certificate, or have the certificate issued for this key"
            report.find("key-mismatch", f"the key {files.key}", text, remedy)
        elif isinstance(cause, TypeError) or "passphrase" in text:
            remedy = "name the file with the right passphrase by --key-passphrase-file"
            report.find("passphrase", f"the key {files.key}", text, remedy)
        else:
            remedy = "name the private key (PEM) of this certificate, readable by this node's user"
            report.find("key-file", f"the key {files.key}", text, remedy)
        return None


def _explain(identity: Identity, fault: str, now_ms: int, report: Report) -> None:
    """Why no path leads from the certificate to a CA now: a time, or the CAs."""
    own, leaf = f"the certificate {identity.cert_path}", identity.certificate
    issuers = [each for each in (*identity.chain[1:], *identity.anchors) if is_issued_by(leaf, each, _begins(each))]
    if not issuers:
        report.find(
            "wrong-ca",
            own,
            f"none of the CAs that this node is given has issued it: {fault}",
            "put the CA certificate that has issued it into --capath (or --cacert), or use a certificate by one of the "
            f"CAs there ({_names(identity.anchors)})",
        )
        return
    at_fault = next((each for each in (*issuers, leaf) if _state(each, now_ms)), leaf)  # a new leaf would not help
    what = own if at_fault is leaf else f"the CA {displayed(at_fault.subject.rfc4514_string())!r} above {own}"
    if _state(at_fault, now_ms) == "expired":
        ended = at_fault.not_valid_after_utc
        report.find("expired", what, f"expired on {_day(ended)}, {_ago(now_ms, ended)}", RENEW)
    else:
        begins = at_fault.not_valid_before_utc
        report.find(
            "not-yet-valid",
            what,
            f"is valid from {_day(begins)} on only, and this machine's clock says {_day(_time(now_ms))}",
            "set this machine's clock right if it is behind (NTP); else wait until then, or have one issued that is "
            "valid now",
        )


def _begins(certificate: x509.Certificate) -> int:
    return int(certificate.not_valid_before_utc.timestamp()) * 1000 + 1000


def _tell_end(identity: Identity, now_ms: int, report: Report) -> None:
    first = min((identity.certificate, *identity.chain[1:]), key=lambda each: each.not_valid_after_utc)
    left_ms = int(first.not_valid_after_utc.timestamp() * 1000) - now_ms
    line = (
        f"certificate {identity.cert_path} ({displayed(identity.subject)}): fits its key and a CA, valid until "
        f"{_day(first.not_valid_after_utc)}"
    )
    if left_ms < SOON_MS:
        report.notes.append(f"{line}, {left_ms // DAY_MS} days from now: {RENEW}")
    else:
        report.fine.append(line)


def _state(certificate: x509.Certificate, now_ms: int) -> str:
    if now_ms < certificate.not_valid_before_utc.timestamp() * 1000:
        return "early"
    return "expired" if now_ms >= certificate.not_valid_after_utc.timestamp() * 1000 + 1000 else ""


def _names(anchors: tuple[x509.Certificate, ...]) -> str:
    shown = [f"{displayed(each.subject.rfc4514_string())} {thumbprint(each)[:16]}" for each in anchors[:3]]
    return ", ".join(shown) + (f" and {len(anchors) - 3} more" if len(anchors) > 3 else "")


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _ago(now_ms: int, moment: datetime) -> str:
    hours = (now_ms / 1000 - moment.timestamp()) / 3600
    return f"{hours / 24:.0f} days ago" if hours >= 48 else f"{hours:.0f} hours ago"
