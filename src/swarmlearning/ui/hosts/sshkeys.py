"""Private keys for SSH as somebody has entered them, opened within bounds.

An encrypted key says itself how much work its passphrase takes, up to days of it, and a key's numbers are checked in a
time that grows with their length. So keys are opened one after the other in a thread of their own, which no key keeps
for longer than some seconds: other work of the UI never waits for it.
"""

import asyncio
import binascii
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import asyncssh
from asyncssh.asn1 import ASN1DecodeError, der_decode

from swarmlearning.ui.hosts.logins import Login, LoginError

LONGEST: Final = 16 * 1024
"""Characters of a key: one of 16,384 bits, the longest that ssh-keygen makes, has about 13,000."""
MOST_BCRYPT: Final = 1024
"""Rounds of an OpenSSH key (ssh-keygen -a): about 10 s; ssh-keygen takes 16 or 24 by itself."""
MOST_HASHES: Final = 2_000_000
"""Rounds of a PKCS #8 key: some seconds."""

_BLOCK: Final = re.compile(
    r"-----BEGIN (?P<kind>[A-Z0-9 ]*)PRIVATE KEY-----[ \t\r]*\n(?P<headers>(?:[A-Za-z-]+: [^\n]*\n)*)"
    r"(?P<body>[A-Za-z0-9+/=\s]+)-----END (?P=kind)PRIVATE KEY-----"
)
_MAGIC: Final = b"openssh-key-v1\0"
_opening: Final = ThreadPoolExecutor(1, "ssh-key")


async def private_key(login: Login) -> asyncssh.SSHKey:
    """The login's key. Raises `LoginError`, which does not show it."""
    return await asyncio.get_running_loop().run_in_executor(_opening, opened, login)


def opened(login: Login) -> asyncssh.SSHKey:
    """The same in this thread."""
    text = login.key.reveal()
    if len(text) > LONGEST:
        raise LoginError(
            f"the private key of {login.user} is none in OpenSSH's or PEM form: it has {len(text)} characters, and "
            f"{LONGEST} are the most"
        )
    try:
        found = _BLOCK.search(text)
        if found is None:
            raise ValueError
        _require_cheap(found, login.user)
        return asyncssh.import_private_key(found[0], login.passphrase.reveal() or None)
    except asyncssh.KeyEncryptionError:
        raise LoginError(f"the passphrase does not decrypt the private key of {login.user}") from None
    except (asyncssh.KeyImportError, ASN1DecodeError, ValueError, RecursionError):
        wants = "" if login.passphrase else ", or it is encrypted: then give its passphrase too"
        raise LoginError(f"the private key of {login.user} is none in OpenSSH's or PEM form{wants}") from None


def _require_cheap(found: re.Match[str], user: str) -> None:
    """Raises `LoginError` for a key whose passphrase takes too long, and `ValueError` for what is no key."""
    if found["kind"] not in ("OPENSSH ", "ENCRYPTED "):
        return
    if found["headers"]:  # which these kinds do not have
        raise ValueError
    data = binascii.a2b_base64(found["body"])
    openssh = found["kind"] == "OPENSSH "
    rounds, most = (_bcrypt_rounds(data), MOST_BCRYPT) if openssh else (_hash_rounds(data), MOST_HASHES)
    if rounds > most:
        change = "ssh-keygen -p -a 100 -f KEY" if openssh else "openssl pkcs8 -topk8 -iter 600000 -in KEY"
        raise LoginError(
            f"the private key of {user} is encrypted with {rounds} rounds, which takes too long: {most} are the most. "
            f"Encrypt it anew: {change}"
        )


def _bcrypt_rounds(data: bytes) -> int:
    """The rounds that an OpenSSH key names; 0 where it is not encrypted by a passphrase."""
    if not data.startswith(_MAGIC):
        raise ValueError
    _, at = _string(data, len(_MAGIC))
    derivation, at = _string(data, at)
    options, _ = _string(data, at)
    if derivation != b"bcrypt":
        return 0
    _, at = _string(options, 0)
    return int.from_bytes(options[at : at + 4])


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    """A string of SSH's encoding, and where the next one begins."""
    end = at + 4 + int.from_bytes(data[at : at + 4])
    if end > len(data) or at + 4 > len(data):
        raise ValueError
    return data[at + 4 : end], end


def _hash_rounds(data: bytes) -> int:
    """The largest number in what a PKCS #8 key says of its encryption: the rounds, or the length of a key."""
    whole = der_decode(data)
    numbers, left = [0], [whole[0]] if isinstance(whole, tuple) and whole else []
    while left:
        each = left.pop()
        if isinstance(each, tuple):
            left += each
        elif isinstance(each, int):
            numbers.append(each)
    return max(numbers)
