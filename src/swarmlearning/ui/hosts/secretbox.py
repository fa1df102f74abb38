"""Secrets at rest: sealed under a key that is in the environment only, so that a copy of the files opens nothing.

A sealed text is `1.` and base64url of salt, nonce and ciphertext. scrypt (RFC 7914) makes a key of what the environment
gives, which may be a passphrase, and of the salt; HKDF (RFC 5869) makes of it one for each purpose; ChaCha20-Poly1305
(RFC 8439) seals, with the purpose as associated data: what was sealed for one host cannot be put in another's place.
"""

import base64
import os
import secrets
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from swarmlearning.errors import UserError

VARIABLE: Final = "SLM_UI_SECRETS_KEY"
SHORTEST: Final = 16
"""Characters of that key: fewer could be found by trying."""
LONGEST: Final = 64 * 1024
"""Bytes of a secret: the largest is a private key for SSH."""

_VERSION: Final = "1."
_SALT: Final = 16
_NONCE: Final = 12
_COST: Final = 2**15
"""scrypt's N, with r = 8: 32 MiB and about 0.1 s a key, once for each process that has sealed."""


class SecretBoxError(UserError):
    """Secrets that cannot be kept or opened: no key, another one, or a damaged text."""


class SecretBox:
    """Seals and opens under the key of the environment. Raises `SecretBoxError` for one that is too short."""

    def __init__(self, key: str) -> None:
        if len(key) < SHORTEST:
            raise SecretBoxError(
                f"{VARIABLE} has {len(key)} characters, and needs {SHORTEST} at least: make one with "
                "`openssl rand -base64 32`, and keep it apart from this folder and its backups"
            )
        self._key = key.encode("utf-8", "surrogateescape")
        self._salt = secrets.token_bytes(_SALT)
        self._master = lru_cache(maxsize=64)(self._derived)

    def __repr__(self) -> str:
        return "SecretBox()"

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self | None:
        """The box of this environment; None where it has no key, so that secrets have to be asked for each time."""
        key = environ.get(VARIABLE, "").strip()
        return cls(key) if key else None

    def seal(self, secret: str, purpose: str) -> str:
        """The secret sealed for this purpose, such as `ssh 10.0.0.7`. Raises `SecretBoxError` for one too long."""
        data = secret.encode("utf-8", "surrogateescape")
        if len(data) > LONGEST:
            raise SecretBoxError(f"a secret of {len(data)} bytes: at most {LONGEST} are kept")
        nonce = os.urandom(_NONCE)
        sealed = self._cipher(self._salt, purpose).encrypt(nonce, data, purpose.encode())
        return _VERSION + base64.urlsafe_b64encode(self._salt + nonce + sealed).decode("ascii")

    def open(self, sealed: str, purpose: str) -> str:
        """The secret that was sealed for this purpose. Raises `SecretBoxError`."""
        if not sealed.startswith(_VERSION) or len(sealed) > 2 * LONGEST:
            raise SecretBoxError("this is no sealed secret of this version; enter the secret anew")
        try:
            data = base64.b64decode(sealed[len(_VERSION) :], altchars=b"-_", validate=True)
            salt, nonce, text = data[:_SALT], data[_SALT : _SALT + _NONCE], data[_SALT + _NONCE :]
            return self._cipher(salt, purpose).decrypt(nonce, text, purpose.encode()).decode("utf-8", "surrogateescape")
        except (ValueError, InvalidTag):
            raise SecretBoxError(
                f"the secret for {purpose} was sealed under another key than that in {VARIABLE}, or is damaged; start "
                "the UI with the former key, or enter the secret anew"
            ) from None

    def _cipher(self, salt: bytes, purpose: str) -> ChaCha20Poly1305:
        info = b"swarm ui secret 1: " + purpose.encode()
        return ChaCha20Poly1305(HKDF(SHA256(), length=32, salt=salt, info=info).derive(self._master(salt)))

    def _derived(self, salt: bytes) -> bytes:
        return Scrypt(salt=salt, length=32, n=_COST, r=8, p=1).derive(self._key)
