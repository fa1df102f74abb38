"""The key of an authority in a file: each guess of its passphrase costs much, and others read it as well."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from swarmlearning.identity.ca import Key, create_authority
from swarmlearning.identity.encryption import encrypted_pem
from swarmlearning.identity.workspace import Workspace

PASSPHRASE = "richtig Pferd Batterie Ähre".encode()
LEAST = 600_000
"""Rounds of PBKDF2-HMAC-SHA256 that OWASP's cheat sheet on the storage of passwords advises."""


def rounds(pem: bytes) -> int:
    """How often a guess is hashed, as OpenSSL reads it."""
    shown = subprocess.run(["openssl", "asn1parse"], input=pem, capture_output=True, check=True).stdout.decode()
    number = next(line for line in shown.splitlines() if "INTEGER" in line).rpartition(":")[2]
    return int(number, 16)


def test_a_guess_costs_as_much_as_is_advised_and_openssl_reads_the_key(tmp_path: Path) -> None:
    workspace, made = Workspace(tmp_path), create_authority("north", 1)
    workspace.save_authority("north", made, PASSPHRASE)
    path = workspace.authority_key("north")
    assert rounds(path.read_bytes()) >= LEAST
    assert (path.stat().st_mode & 0o777, workspace.load_authority("north", PASSPHRASE).certificate) == (
        0o600,
        made.certificate,
    )
    (tmp_path / "passphrase").write_bytes(PASSPHRASE)
    read: list[str | Path] = ["openssl", "pkey", "-in", path, "-passin", f"file:{tmp_path / 'passphrase'}", "-pubout"]
    assert b"BEGIN PUBLIC KEY" in subprocess.run(read, capture_output=True, check=True).stdout


def test_a_key_that_was_encrypted_by_the_library_stays_readable(tmp_path: Path) -> None:
    workspace, made = Workspace(tmp_path), create_authority("north", 1)
    workspace.save_authority("north", made)
    former = BestAvailableEncryption(PASSPHRASE)
    pem = made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, former)
    assert rounds(pem) < LEAST
    workspace.authority_key("north").write_bytes(pem)
    assert workspace.load_authority("north", PASSPHRASE).certificate == made.certificate


@pytest.mark.parametrize(
    "make",
    [
        lambda: ec.generate_private_key(ec.SECP256R1()),
        ed25519.Ed25519PrivateKey.generate,
        lambda: rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-256", "Ed25519", "RSA"],
)
def test_each_kind_of_key_comes_back_by_its_passphrase_alone(
    make: Callable[[], Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmlearning.identity.encryption.ROUNDS", 2048)
    key = make()
    pem = encrypted_pem(key, PASSPHRASE)
    found = load_pem_private_key(pem, PASSPHRASE)
    assert isinstance(found, Key)
    assert found.public_key() == key.public_key()
    assert encrypted_pem(key, PASSPHRASE) != pem
    with pytest.raises(ValueError, match=r"Incorrect password|could not decrypt"):
        load_pem_private_key(pem, b"another")
