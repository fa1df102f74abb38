"""One-time keys: an invitation's holder signs one statement with one (Ed25519), and everybody can check it.

A key is its 32 bytes, and its public half is 64 hexadecimal digits, as the ledger has it.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


def new_key() -> bytes:
    """A random private key."""
    return Ed25519PrivateKey.generate().private_bytes_raw()


def public_half(key: bytes) -> str:
    """The public half of a private key."""
    return Ed25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw().hex()


def sign(key: bytes, statement: bytes) -> str:
    """The signature of a statement: 128 hexadecimal digits."""
    return Ed25519PrivateKey.from_private_bytes(key).sign(statement).hex()


def is_signed(public: str, statement: bytes, signature: str) -> bool:
    """True if the private half of this key has signed the statement."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), statement)
    except (InvalidSignature, ValueError):
        return False
    return True
