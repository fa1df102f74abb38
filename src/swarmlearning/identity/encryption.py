"""A private key encrypted by a passphrase: PKCS #8 with PBES2 (RFC 8018), which OpenSSL and others read, too.

`cryptography` writes the same form with 2,048 rounds of PBKDF2, and no way to ask for more: whoever has a copy of such
a file tries hundreds of passphrases in the time that one takes here. So it is put together of the library's parts.
"""

import base64
import secrets
import textwrap
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from swarmlearning.identity.ca import Key

ROUNDS: Final = 600_000
"""Of PBKDF2-HMAC-SHA256, as OWASP advises: 0.12 s of a core, as measured, each time that the key is opened."""
_SALT: Final = 16
_BLOCK: Final = 16

_INTEGER, _OCTETS, _NULL, _SEQUENCE = b"\x02", b"\x04", b"\x05", b"\x30"
_PBES2: Final = bytes.fromhex("06092a864886f70d01050d")
_PBKDF2: Final = bytes.fromhex("06092a864886f70d01050c")
_HMAC_SHA256: Final = bytes.fromhex("06082a864886f70d0209")
_AES256_CBC: Final = bytes.fromhex("060960864801650304012a")


def encrypted_pem(key: Key, passphrase: bytes) -> bytes:
    """The key as PEM, encrypted by the passphrase."""
    salt, vector = secrets.token_bytes(_SALT), secrets.token_bytes(_BLOCK)
    padding = PKCS7(8 * _BLOCK).padder()
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    cipher = Cipher(AES256(PBKDF2HMAC(SHA256(), 32, salt, ROUNDS).derive(passphrase)), CBC(vector)).encryptor()
    data = cipher.update(padding.update(plain) + padding.finalize()) + cipher.finalize()
    rounds = ROUNDS.to_bytes(ROUNDS.bit_length() // 8 + 1)  # of which the first bit is the sign
    derivation = _sequence(_der(_OCTETS, salt), _der(_INTEGER, rounds), _sequence(_HMAC_SHA256, _der(_NULL)))
    scheme = _sequence(_sequence(_PBKDF2, derivation), _sequence(_AES256_CBC, _der(_OCTETS, vector)))
    text = base64.b64encode(_sequence(_sequence(_PBES2, scheme), _der(_OCTETS, data))).decode("ascii")
    lines = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", *textwrap.wrap(text, 64), "-----END ENCRYPTED PRIVATE KEY-----"]
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def _sequence(*parts: bytes) -> bytes:
    return _der(_SEQUENCE, b"".join(parts))


def _der(tag: bytes, content: bytes = b"") -> bytes:
    """A value in DER form: tag, length, content."""
    size = len(content)
    if size < 0x80:
        return tag + bytes([size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return tag + bytes([0x80 | len(length)]) + length + content
