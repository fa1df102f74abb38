"""One byte representation of a value, for hashing: JSON with sorted keys, no spaces, shortest float form."""

import hashlib
import json
from typing import Any

import msgspec


def canonical(value: Any) -> bytes:
    """Canonical bytes of a structure of this room. Raises `ValueError` for NaN or infinity."""
    plain = msgspec.to_builtins(value)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256(data: bytes) -> str:
    """SHA-256 as lower-case hex."""
    return hashlib.sha256(data).hexdigest()
