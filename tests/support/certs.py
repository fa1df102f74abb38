"""Identities for tests, made by the development CA. All files lie in the folder given (a test's `tmp_path`)."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from swarmlearning.identity.ca import Key, KeyPair, create_authority, issue
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.workspace import Workspace

DAYS = 90
KINDS: dict[str, Callable[[], Key]] = {
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}


def make_workspace(
    directory: Path, nodes: Sequence[str], authority: KeyPair | None = None, ca_name: str = "CA-1"
) -> dict[str, Identity]:
    """A certificate for each of `nodes` by the CA given, else by the one there, else by a new one.

    Returns their identities, by name.
    """
    workspace = Workspace(directory)
    if authority is None and workspace.authority_key(ca_name).exists():
        authority = workspace.load_authority(ca_name)
    authority = authority or create_authority(ca_name, DAYS)
    workspace.save_authority(ca_name, authority)
    for node in nodes:
        workspace.save_node(node, issue(authority, node, [], ["127.0.0.1"], DAYS))
    return {node: workspace.identity(node) for node in nodes}


def with_key(directory: Path, node: str, kind: str, ends: datetime | None = None, ca_name: str = "CA-1") -> Identity:
    """A new certificate for a node by the CA there, with a key of one of `KINDS`; by default valid for `DAYS`."""
    workspace, authority, key = Workspace(directory), authority_in(directory, ca_name), KINDS[kind]()
    like = issue(authority, node, [], ["127.0.0.1"], DAYS).certificate
    builder = x509.CertificateBuilder(
        authority.certificate.subject,
        like.subject,
        key.public_key(),
        like.serial_number,
        like.not_valid_before_utc,
        ends or like.not_valid_after_utc,
    )
    for extension in like.extensions:
        if not isinstance(extension.value, x509.SubjectKeyIdentifier):
            builder = builder.add_extension(extension.value, extension.critical)
    workspace.save_node(node, KeyPair(builder.sign(authority.key, hashes.SHA256()), key))
    return workspace.identity(node)


def authority_in(directory: Path, ca_name: str = "CA-1") -> KeyPair:
    """The CA that `make_workspace` has put there."""
    return Workspace(directory).load_authority(ca_name)


def stranger(directory: Path, node: str) -> Identity:
    """An identity of that name from a CA of the same name that nobody else knows."""
    return make_workspace(directory / "stranger", [node])[node]


def expired(directory: Path, node: str) -> Identity:
    """An identity of the CA in `directory` that ended yesterday; `Identity.load` would refuse it."""
    return _valid_from(directory, node, timedelta(days=-10), days=9)


def not_yet_valid(directory: Path, node: str) -> Identity:
    """An identity of the CA in `directory` that begins tomorrow; `Identity.load` would refuse it."""
    return _valid_from(directory, node, timedelta(days=1), days=9)


def _valid_from(directory: Path, node: str, begin: timedelta, days: int) -> Identity:
    workspace = Workspace(directory)
    authority = authority_in(directory)
    pair = issue(authority, node, [], ["127.0.0.1"], days, datetime.now(UTC) + begin)
    workspace.save_node(node, pair)
    return Identity(
        chain=(pair.certificate,),
        anchors=(authority.certificate,),
        cert_path=workspace.certificate(node),
        key_path=workspace.key(node),
        private_key=pair.key,
    )
