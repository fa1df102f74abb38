"""X.509 certificates: reading them, their subject and role, and whether a trusted CA vouches for one at a given time.

Path validation follows RFC 5280 section 6.1 as far as this system needs it: names, signatures, validity,
basic constraints, path length, key usage, name constraints; an unknown critical extension is refused. It is written out
here because the verifier of the cryptography library refuses the certificates that users of the original
product have (node certificates with keyCertSign and a DNS-only name); and it never reads the present
time, because the ledger judges a certificate at *block time*.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Literal, TypeAlias, TypeVar, get_args

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID, NameOID

from swarmlearning.errors import UserError
from swarmlearning.identity.constraints import violation

Role = Literal["SN", "SL", "SWOP", "SWCI", "UI", "OPERATOR", "OBSERVER"]
ROLES: tuple[Role, ...] = get_args(Role)
OPERATORS: frozenset[Role] = frozenset({"SWCI", "UI", "OPERATOR"})
"""The roles of people who act for their organisation."""

MAX_INTERMEDIATES = 8
"""CA certificates between a node's certificate and a trusted one: bounds the work a stranger can cause."""

_UNDERSTOOD = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,  # is about TLS, where OpenSSL checks it
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.NAME_CONSTRAINTS,
}
_SOUND_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_TRUST_DOMAIN_ID = re.compile(r"spiffe://[a-z0-9._-]{1,255}")
_SPIFFE_ID = re.compile(_TRUST_DOMAIN_ID.pattern + r"(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._-]+)+")
_ROLE_PREFIX = re.compile(rf"({'|'.join(ROLES)})-", re.IGNORECASE | re.ASCII)

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_Loaded = TypeVar("_Loaded")


class CertificateError(UserError):
    """A certificate that cannot be read, names no role, or is not to be trusted; the text contains which and why."""


class UnknownIssuerError(CertificateError):
    """A certificate of an authority that is not among those trusted; the caller adds how to trust it."""


def load_certificate(pem: bytes | str) -> x509.Certificate:
    """The one certificate in `pem`. Raises `CertificateError` when there is none, or more than one."""
    found = load_bundle(pem)
    if len(found) > 1:
        raise CertificateError(f"{len(found)} certificates where one is expected")
    return found[0]


def load_bundle(pem: bytes | str) -> tuple[x509.Certificate, ...]:
    """All certificates in `pem`, in their order, at least one; other text between them is ignored.

    Raises `CertificateError` when there is none, or one is malformed.
    """
    data = pem.encode("ascii", "replace") if isinstance(pem, str) else pem
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise CertificateError("no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
    found = _load(x509.load_pem_x509_certificates, data)
    for certificate in found:
        _check_readable(certificate)
    return tuple(found)


def load_leaf(pem: str) -> x509.Certificate:
    """The first certificate of a bundle; the others are not looked at. Raises `CertificateError` if malformed."""
    first, end, _ = pem.partition("-----END CERTIFICATE-----")
    return load_bundle(first + end)[0]


def load_der(der: bytes) -> x509.Certificate:
    """The certificate with this DER encoding, as TLS shows it. Raises `CertificateError` if malformed."""
    certificate = _load(x509.load_der_x509_certificate, der)
    _check_readable(certificate)
    return certificate


def to_pem(certificate: x509.Certificate) -> str:
    """The certificate in PEM form, with a final newline."""
    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def thumbprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER encoding, lower-case hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def thumbprint_of_der(der: bytes) -> str:
    """SHA-256 of a DER encoding, lower-case hex: the `thumbprint` of the certificate it encodes."""
    return hashlib.sha256(der).hexdigest()


def authority_of(certificate: x509.Certificate) -> str:
    """The authority whose certificate this is: SHA-256 over its name and public key, lower-case hex.

    It stays the same when the certificate is renewed; another authority of an equal name has another.
    """
    name, key = certificate.subject.public_bytes(), certificate.public_key()
    encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(hashlib.sha256(name).digest() + hashlib.sha256(encoded).digest()).hexdigest()


def subject_of(certificate: x509.Certificate) -> str:
    """Returns the identity that a certificate states: its SPIFFE ID if it has one, else its subject in RFC 4514 form.

    Raises `CertificateError` when it names nobody, or its SPIFFE ID is malformed or not the only URI.
    """
    subject = spiffe_id(certificate) or certificate.subject.rfc4514_string()
    if not subject:
        raise CertificateError(f"{_name(certificate)} has neither a subject nor a SPIFFE ID")
    return subject


def spiffe_id(certificate: x509.Certificate) -> str | None:
    """The SPIFFE ID of a certificate, that of a trust domain for an authority; None where it has none.

    Raises `CertificateError` when it is malformed or not the only URI.
    """
    names = _extension(certificate, x509.SubjectAlternativeName)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names is not None else []
    if not any(uri.startswith("spiffe://") for uri in uris):
        return None
    domain_alone = is_authority(certificate) and _TRUST_DOMAIN_ID.fullmatch(uris[0])
    if len(uris) > 1 or not (domain_alone or _SPIFFE_ID.fullmatch(uris[0])):
        raise CertificateError(
            f"{_name(certificate)} does not follow SPIFFE: its only URI must be of the form "
            f"spiffe://trust.domain/path, but it has {', '.join(map(repr, uris[:3]))}"
        )
    return uris[0]


def trust_domain_of(certificate: x509.Certificate) -> str:
    """The trust domain of a certificate's SPIFFE ID; empty where it has none. Raises `CertificateError`."""
    return _domain_and_path(certificate)[0]


def role_of(certificate: x509.Certificate) -> Role:
    """The role a certificate is made for: from its SPIFFE ID if it has one, else from its common name.

    Raises `CertificateError` naming the forms that are understood.
    """
    word = _domain_and_path(certificate)[1].rpartition("/")[2] or _common_name_prefix(certificate)
    for role in ROLES:
        if role == word.upper():
            return role
    raise CertificateError(
        f"{_name(certificate)} names no role. Understood are a common name that begins with "
        f"{', '.join(f'{role}-' for role in ROLES)} (such as CN=SL-1), and a SPIFFE ID whose last path "
        f"segment is one of {', '.join(ROLES).lower()} (such as spiffe://example.org/sl)"
    )


def common_name(certificate: x509.Certificate) -> str:
    """The one common name of the subject, empty when there is none or several."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


def name_in(certificate: x509.Certificate) -> str:
    """The common name, else the path of the SPIFFE ID, else empty. Raises `CertificateError` for a malformed ID."""
    return common_name(certificate) or _domain_and_path(certificate)[1]


def expires_ms(certificates: Iterable[x509.Certificate]) -> int:
    """Returns the Unix time in milliseconds at which the first of these certificates expires."""
    return min(_unix_ms(certificate.not_valid_after_utc) for certificate in certificates)


def is_authority(certificate: x509.Certificate) -> bool:
    """Returns True for a CA certificate (basic constraints CA:TRUE)."""
    constraints = _extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def name_constraints(certificate: x509.Certificate) -> x509.NameConstraints | None:
    """Returns the names for which a CA certificate limits what it issues; None where it has no such limits."""
    return _extension(certificate, x509.NameConstraints)


def verify_chain(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    at_ms: int,
) -> x509.Certificate:
    """The trusted one of `anchors` to which the first path leads; see `anchors_reached`, which raises."""
    return next(iter(anchors_reached(leaf, intermediates, anchors, at_ms)))


def anchors_reached(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    at_ms: int,
) -> dict[x509.Certificate, int]:
    """The trusted ones of `anchors` to which paths lead from `leaf`, and the number of `intermediates` on each path.

    These may come in any order, and each is tried once at most. `at_ms` is the Unix time in milliseconds at which every
    certificate of a path must be valid, the anchor included. The same arguments always give the same answer.

    Raises `CertificateError` naming the certificate at fault, what is wrong with it and what to do.
    """
    if len(intermediates) > MAX_INTERMEDIATES:
        raise CertificateError(
            f"{_name(leaf)} comes with {len(intermediates)} intermediate certificates; "
            f"at most {MAX_INTERMEDIATES} are allowed"
        )
    if is_authority(leaf):
        raise CertificateError(f"{_name(leaf)} is a CA certificate; a node needs one of its own, issued by it")
    if fault := _fault(leaf, at_ms):
        raise CertificateError(fault)

    refused: list[str] = []

    def issues(issuer: x509.Certificate, path: _Path) -> bool:
        if issuer.subject != path[-1].issuer:
            return False
        fault = (
            _signature_fault(issuer, path[-1])
            or _issuer_fault(issuer, path)
            or _fault(issuer, at_ms)
            or _names_fault(issuer, path)
        )
        if fault is not None and fault not in refused:
            refused.append(fault)
        return fault is None

    untried = list(intermediates)
    reached: list[_Path] = [(leaf,)]
    found: dict[x509.Certificate, int] = {}
    while reached:
        path = reached.pop()
        found |= {anchor: len(path) - 1 for anchor in anchors if issues(anchor, path)}
        issuers = [candidate for candidate in untried if issues(candidate, path)]
        untried = [candidate for candidate in untried if candidate not in issuers]
        reached += [(*path, issuer) for issuer in issuers]
    if not found:
        raise CertificateError("; ".join(refused)) if refused else _unknown_issuer(path[-1], anchors)
    return found


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate, at_ms: int) -> bool:
    """Returns True if a CA certificate, valid at this time, has issued this other certificate."""
    return (
        certificate.issuer == issuer.subject
        and _fault(issuer, at_ms) is None
        and _issuer_fault(issuer, (certificate,)) is None
        and _signature_fault(issuer, certificate) is None
    )


def _load(load: Callable[[bytes], _Loaded], data: bytes) -> _Loaded:
    with _malformed():
        return load(data)


def _check_readable(certificate: x509.Certificate) -> None:
    """Decodes every part that this system reads, so that none can fail later: the library does so on first use only."""
    with _malformed():
        certificate.extensions, certificate.version, certificate.public_key()
        certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string()
        _unix_ms(certificate.not_valid_before_utc), _unix_ms(certificate.not_valid_after_utc)


@contextmanager
def _malformed() -> Iterator[None]:
    """Raises `CertificateError` for whatever the library raises.

    The bytes may be a stranger's, and the library's exceptions for them have no common base: `InvalidVersion`,
    `TypeError` and `DuplicateExtension` are no `ValueError`. One that got through would end every node that meets
    the certificate.
    """
    try:
        yield
    except Exception as error:
        raise CertificateError(f"malformed certificate: {str(error) or type(error).__name__}") from error


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _domain_and_path(certificate: x509.Certificate) -> tuple[str, str]:
    """The parts of its SPIFFE ID, without slashes at their ends; empty where it has none."""
    domain, _, path = (spiffe_id(certificate) or "").removeprefix("spiffe://").partition("/")
    return domain, path


def _common_name_prefix(certificate: x509.Certificate) -> str:
    """The role before the hyphen of the one common name; empty when there is none."""
    prefix = _ROLE_PREFIX.match(common_name(certificate))
    return prefix[1] if prefix else ""


def _name(certificate: x509.Certificate) -> str:
    """For messages; quoted, since a stranger may have chosen it."""
    return f"certificate {certificate.subject.rfc4514_string() or thumbprint(certificate)!r}"


def _fault(certificate: x509.Certificate, at_ms: int) -> str | None:
    """Returns why this certificate must not be used at this time, wherever it is in the path; None if it may."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if at_ms < _unix_ms(begin):
        return f"{_name(certificate)} is not yet valid before {begin:%Y-%m-%d %H:%M:%S} UTC: check the clocks"
    if at_ms >= _unix_ms(end) + 1000:  # the last second belongs to the validity
        return f"{_name(certificate)} expired at {end:%Y-%m-%d %H:%M:%S} UTC: its organisation must renew it"
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            return (
                f"{_name(certificate)} has the critical extension {extension.oid.dotted_string}, "
                "which is not supported here: it needs one without"
            )
    return None


_Path: TypeAlias = tuple[x509.Certificate, ...]
"""Certificates from the leaf upwards, each issued by the next."""


def _issuer_fault(issuer: x509.Certificate, path: _Path) -> str | None:
    """Returns why this certificate may not be the issuer of the last one of `path`; None if it may."""
    # A self-issued certificate (a CA changes its key) does not count, RFC 5280 section 4.2.1.9.
    below = sum(certificate.subject != certificate.issuer for certificate in path[1:])
    constraints = _extension(issuer, x509.BasicConstraints)
    usage = _extension(issuer, x509.KeyUsage)
    if constraints is None or not constraints.ca:
        return f"{_name(issuer)} is no CA certificate, yet it has issued another one"
    if usage is not None and not usage.key_cert_sign:
        return f"{_name(issuer)} may not issue certificates: its key usage lacks keyCertSign"
    if constraints.path_length is not None and below > constraints.path_length:
        return f"{_name(issuer)} allows {constraints.path_length} CA certificates below it, not {below}"
    return None


def _names_fault(issuer: x509.Certificate, path: _Path) -> str | None:
    """Returns why this CA may not vouch for the names in `path`, below it; it may for self-issued CA certificates."""
    constraints = _extension(issuer, x509.NameConstraints)
    if constraints is None:
        return None
    for certificate in path:
        if certificate is path[0] or certificate.subject != certificate.issuer:
            try:
                with _malformed():
                    found = violation(constraints, certificate)
            except CertificateError as error:
                found = str(error)
            if found:
                return f"{_name(issuer)} may not issue {_name(certificate)} by its name constraints: {found}"
    return None


def _signature_fault(issuer: x509.Certificate, certificate: x509.Certificate) -> str | None:
    """Returns the fault of the signature of `certificate`, which names `issuer` as its issuer; None if it is valid."""
    try:
        with _malformed():
            digest = certificate.signature_hash_algorithm  # None for Ed25519, which has its own
            if digest is not None and not isinstance(digest, _SOUND_HASHES):
                return f"{_name(certificate)} is signed with {digest.name}, which can be forged: it needs SHA-256"
            certificate.verify_directly_issued_by(issuer)
    except CertificateError as error:
        if not isinstance(error.__cause__, InvalidSignature):
            return f"{_name(certificate)} has a signature that cannot be checked: {error}"
        return (
            f"{_name(certificate)} has a bad signature: it is not from the CA "
            f"{issuer.subject.rfc4514_string()!r} known here ({thumbprint(issuer)[:16]}…); "
            "if another CA uses that name too, trust its certificate or rename it"
        )
    return None


def _unknown_issuer(certificate: x509.Certificate, anchors: Sequence[x509.Certificate]) -> UnknownIssuerError:
    trusted = ", ".join(repr(anchor.subject.rfc4514_string()) for anchor in anchors[:5]) or "none"
    more = f" and {len(anchors) - 5} more" if len(anchors) > 5 else ""
    return UnknownIssuerError(
        f"{_name(certificate)} has the unknown issuer {certificate.issuer.rfc4514_string()!r}; "
        f"trusted CAs: {trusted}{more}"
    )


def _unix_ms(time: datetime) -> int:
    return int(time.timestamp()) * 1000
