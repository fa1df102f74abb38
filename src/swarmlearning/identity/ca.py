"""A development CA: makes certificate authorities and node certificates for trying things out.

EC P-256 throughout. Nothing here touches a file; where the results lie is the matter of `workspace`.
"""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from swarmlearning.identity.certificates import CertificateError, common_name

CLOCK_SKEW = timedelta(minutes=5)
"""Certificates begin this long ago, so that a host whose clock is behind accepts them at once."""

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


class KeyPair(NamedTuple):
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: Key


def create_authority(name: str, days: int) -> KeyPair:
    """A new self-signed CA with the common name `name`. It issues node certificates only, no further CAs."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = subject_named(name)
    begin = datetime.now(UTC) - CLOCK_SKEW
    builder = (
        _builder(subject, subject, key.public_key(), begin, begin + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
    )
    return KeyPair(builder.sign(key, hashes.SHA256()), key)


def cross_certificate(successor: x509.Certificate, by: KeyPair) -> x509.Certificate:
    """A certificate for the name and key of another authority, with which `by` vouches for it as its successor.

    It is valid as long as both are.
    """
    begin = max(successor.not_valid_before_utc, by.certificate.not_valid_before_utc)
    end = min(successor.not_valid_after_utc, by.certificate.not_valid_after_utc)
    builder = _builder(successor.subject, by.certificate.subject, successor.public_key(), begin, end)
    for extension in successor.extensions:
        if not isinstance(extension.value, x509.SubjectKeyIdentifier):  # every certificate here has one already
            builder = builder.add_extension(extension.value, extension.critical)
    return _signed(builder, by)


def issue(
    authority: KeyPair,
    name: str,
    dns: Sequence[str],
    ips: Sequence[str],
    days: int,
    begin: datetime | None = None,
) -> KeyPair:
    """A new key, and a certificate for it as `certify` makes it. Raises `CertificateError` as that does."""
    key = ec.generate_private_key(ec.SECP256R1())
    return KeyPair(certify(authority, key.public_key(), name, dns, ips, days, begin), key)


def certify(
    authority: KeyPair,
    key: CertificatePublicKeyTypes,
    name: str,
    dns: Sequence[str],
    ips: Sequence[str],
    days: int,
    begin: datetime | None = None,
) -> x509.Certificate:
    """A new certificate for TLS in both directions and for signing, issued by `authority` for the owner of `key`.

    Its names are the common name `name`, `dns` and the addresses `ips`. It is valid for `days` from `begin` (five
    minutes ago unless given), but not longer than the authority's own certificate.

    Raises `CertificateError` when a name or address is not one, or the authority has expired.
    """
    issuer = authority.certificate
    begin = begin or datetime.now(UTC) - CLOCK_SKEW
    end = min(begin + timedelta(days=days), issuer.not_valid_after_utc)
    if end <= begin:
        raise CertificateError(
            f"the CA {issuer.subject.rfc4514_string()!r} expired at {issuer.not_valid_after_utc:%Y-%m-%d} "
            "and can issue no more: make a new one under another name, and have every organisation trust it"
        )
    builder = (
        _builder(subject_named(name), issuer.subject, key, begin, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(alternative_names([name, *dns], ips), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    return _signed(builder, authority)


def revocation_list(
    authority: KeyPair, revoked: Sequence[x509.RevokedCertificate], days: int
) -> x509.CertificateRevocationList:
    """The list (CRL) of the certificates of `authority` that are revoked; its successor is due in `days`."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now)
        .next_update(now + timedelta(days=days))
        .add_extension(x509.CRLNumber(int(now.timestamp() * 1000)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    for each in revoked:
        builder = builder.add_revoked_certificate(each)
    return builder.sign(authority.key, signature_hash(authority.key))


def revoked_now(certificate: x509.Certificate) -> x509.RevokedCertificate:
    """An entry of a revocation list: from now on."""
    builder = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
    return builder.revocation_date(datetime.now(UTC)).build()


def _signed(builder: x509.CertificateBuilder, by: KeyPair) -> x509.Certificate:
    return builder.sign(by.key, signature_hash(by.key))


def signature_hash(key: Key) -> hashes.SHA256 | None:
    """The hash with which this key signs; Ed25519 has its own."""
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: CertificatePublicKeyTypes, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def subject_named(name: str) -> x509.Name:
    """A subject as the original's certificates have it: organisational unit Swarm-Learning, then the common name."""
    try:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Swarm-Learning"),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
    except ValueError as error:
        raise CertificateError(f"{name!r} cannot be the name of a certificate: {error}") from error


def names_of(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    """The host names and IP addresses of a certificate, without its common name."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [], []
    dns = found.get_values_for_type(x509.DNSName)
    ips = map(str, found.get_values_for_type(x509.IPAddress))
    return [name for name in dns if name != common_name(certificate)], list(ips)


def alternative_names(dns: Sequence[str], ips: Sequence[str]) -> x509.SubjectAlternativeName:
    """Host names and IP addresses, each once. Raises `CertificateError` for what is none."""
    try:
        return x509.SubjectAlternativeName(
            [
                *(x509.DNSName(name) for name in dict.fromkeys(dns)),
                *(x509.IPAddress(ipaddress.ip_address(ip)) for ip in dict.fromkeys(ips)),
            ]
        )
    except ValueError as error:
        raise CertificateError(f"not a host name or IP address: {error}") from error


def _key_usage(digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
