"""Finds private keys in what is uploaded: node keys are made on their host and stay there.

A key in another disguise (in an archive, encrypted under another name) is not found: this keeps people from a
mistake, not from a purpose.
"""

import re
from typing import BinaryIO, Final

from cryptography.hazmat.primitives.serialization import load_der_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

CHUNK: Final = 1024 * 1024
LARGEST_BINARY: Final = 64 * 1024
"""Bytes of a key in a binary form; a larger file is looked through for texts only."""
MADE_THERE: Final = (
    "Keys are made on the host that uses them, and stay there: run `swarm cert request` there, or let the UI do it "
    "when it deploys; only requests and certificates travel"
)

_LONGEST: Final = 80
_TEXT: Final = re.compile(
    rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----|PuTTY-User-Key-File-[0-9]: |AGE-SECRET-KEY-1[A-Z0-9]{20}"
)
_ENDS: Final = (".p12", ".pfx", ".jks", ".keystore", ".key", "-key.pem")


def named_as_key(name: str) -> bool:
    """Whether a file's name says that it holds a private key."""
    return name.lower().endswith(_ENDS)


def holds_key(source: BinaryIO) -> bool:
    """Whether a private key is in these bytes; they are read to their end, a piece at a time. Raises `OSError`."""
    kept, first, size = b"", b"", 0
    while chunk := source.read(CHUNK):
        if _TEXT.search(kept + chunk):
            return True
        kept, size = (kept + chunk)[-_LONGEST:], size + len(chunk)
        first += chunk if size <= LARGEST_BINARY else b""
    return size <= LARGEST_BINARY and _is_binary_key(first)


def text_holds_key(data: bytes) -> bool:
    """The same for a value that is in memory."""
    return _TEXT.search(data) is not None


def _is_binary_key(data: bytes) -> bool:
    """A key in DER form, encrypted or not, or a PKCS #12 file with any password."""
    if data[:1] != b"\x30":
        return False
    try:
        load_der_private_key(data, None)
    except TypeError:  # how the library says that it is encrypted
        return True
    except Exception:  # noqa: BLE001 - whatever the library says of bytes that are no key
        return _is_pkcs12(data)
    return True


def _is_pkcs12(data: bytes) -> bool:
    try:
        load_pkcs12(data, None)
    except ValueError as error:
        return "password" in str(error).lower()
    except Exception:  # noqa: BLE001 - as above
        return False
    return True
