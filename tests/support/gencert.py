"""Certificates shaped exactly like the output of the original product's gen-cert, which users already have.

RSA-2048; subjects /OU=Swarm-Learning/CN=…; 30 days from now, no margin; node certificates with keyCertSign although
they are no CAs, and names that are DNS only; one certificate for all SLs of a host.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from swarmlearning.identity.ca import KeyPair
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.workspace import Workspace

COMPONENTS = ("SN", "SL", "SWOP", "SWCI")


def gen_cert(
    root: Path, index: int = 1, *, authority_key_identifier: bool = True, accumulate_names: bool = False
) -> dict[str, Identity]:
    """The files of host `index` below `root`, and the identities by name: SN-1, SL-1, SWOP-1, SWCI-1.

    Some versions left the authority key identifier out; in some each certificate has the names of those made
    before it too.
    """
    workspace = Workspace(root)
    authority = make_authority(f"CA-{index}")
    workspace.save_authority(f"CA-{index}", authority)
    nodes = [f"{component}-{index}" for component in COMPONENTS]
    for position, node in enumerate(nodes):
        names = nodes[: position + 1] if accumulate_names else [node]
        pair = make_node(authority, node, names, authority_key_identifier=authority_key_identifier)
        workspace.save_node(node, pair)
    serial = f"{pair.certificate.serial_number:040X}\n"
    (root / "ca" / f"ca-{index}-srl.srl").write_text(serial)
    return {node: workspace.identity(node) for node in nodes}


def make_authority(name: str) -> KeyPair:
    """The self-signed CA."""
    key = _key(name)
    builder = _builder(name, name, key, [name], ca=True)
    return KeyPair(builder.sign(key, hashes.SHA256()), key)


def make_node(authority: KeyPair, name: str, names: Sequence[str], *, authority_key_identifier: bool = True) -> KeyPair:
    """A node's certificate with the DNS `names`."""
    key = _key("node")
    assert isinstance(authority.key, rsa.RSAPrivateKey)
    issuer = authority.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    builder = _builder(name, str(issuer), key, names, ca=False)
    if authority_key_identifier:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    return KeyPair(builder.sign(authority.key, hashes.SHA256()), key)


@cache
def _key(label: str) -> rsa.RSAPrivateKey:
    """Slow to make: one a label and test session. So CAs of one name have one key; a stranger needs another."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _subject(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Swarm-Learning"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _builder(
    subject: str, issuer: str, key: rsa.RSAPrivateKey, names: Sequence[str], ca: bool
) -> x509.CertificateBuilder:
    begin = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(subject))
        .issuer_name(_subject(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    )
