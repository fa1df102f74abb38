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

from swarmlearning.identity.certificates import CertificateError

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
    subject = _subject(name)
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
    common_name: str,
    dns: Sequence[str],
    ips: Sequence[str],
    days: int,
    begin: datetime | None = None,
) -> KeyPair:
    """A new certificate for TLS in both directions and for signing, issued by `authority`.

    Its names are the common name, `dns` and the addresses `ips`. It is valid for `days` from `begin` (five
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
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_subject(common_name), issuer.subject, key.public_key(), begin, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(_names([common_name, *dns], ips), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    return KeyPair(_signed(builder, authority), key)


def _signed(builder: x509.CertificateBuilder, by: KeyPair) -> x509.Certificate:
    return builder.sign(by.key, None if isinstance(by.key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


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


def _subject(common_name: str) -> x509.Name:
    """As the original's certificates: organisational unit Swarm-Learning, then the common name."""
    try:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Swarm-Learning"),
                x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            ]
        )
    except ValueError as error:
        raise CertificateError(f"{common_name!r} cannot be the name of a certificate: {error}") from error


def _names(dns: Sequence[str], ips: Sequence[str]) -> x509.SubjectAlternativeName:
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
