"""Certificates of any shape, valid round noon of a day in 2030, whenever a test runs."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from swarmlearning.identity.ca import Key, KeyPair
from swarmlearning.identity.certificates import verify_chain

NOON = datetime(2030, 6, 15, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)


def craft(
    subject: str,
    issuer: KeyPair | None = None,
    *,
    ca: bool | None = True,
    path_length: int | None = None,
    usage: x509.KeyUsage | None = None,
    begin: datetime = NOON - DAY,
    end: datetime = NOON + DAY,
    uris: Sequence[str] = (),
    extra: x509.ExtensionType | None = None,
    key: Key | None = None,
) -> KeyPair:
    """A certificate of any shape, self-signed unless an issuer is given; `ca=None` has no constraints at all."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string(subject))
        .issuer_name(issuer.certificate.subject if issuer else x509.Name.from_rfc4514_string(subject))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length if ca else None), critical=True)
    if usage is not None:
        builder = builder.add_extension(usage, critical=True)
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, critical=False)
    if extra is not None:
        builder = builder.add_extension(extra, critical=True)
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA384()
    return KeyPair(builder.sign(signer, digest), key)


def check_path(leaf: KeyPair, *path: KeyPair, anchors: Sequence[KeyPair], at: datetime = NOON) -> None:
    verify_chain(
        leaf.certificate,
        [pair.certificate for pair in path],
        [pair.certificate for pair in anchors],
        ms(at),
    )
