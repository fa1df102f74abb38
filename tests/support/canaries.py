"""Secrets in the forms in which they could have got into a text."""

import base64
import urllib.parse

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def forms_of_text(secret: str) -> set[str]:
    """A password as it is, escaped, and encoded, alone."""
    data = secret.encode()
    encoded = {base64.b64encode(data).decode().rstrip("="), base64.urlsafe_b64encode(data).decode().rstrip("=")}
    return {secret, urllib.parse.quote(secret, safe=""), repr(data), data.hex(), *encoded}


def forms_of_key(key: EllipticCurvePrivateKey | Ed25519PrivateKey) -> set[str]:
    """A private key: each full line of its PEM form, and its number or seed in hexadecimal, decimal and base64."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    lines = {line for line in pem.splitlines() if not line.startswith("-") and len(line) >= 40}
    if isinstance(key, Ed25519PrivateKey):
        data = key.private_bytes_raw()
    else:
        number = key.private_numbers().private_value
        data = number.to_bytes((key.key_size + 7) // 8, "big")
        lines.add(str(number))
    assert lines, "a key has at least one long line"
    return {*lines, data.hex(), base64.b64encode(data).decode().rstrip("="), repr(data)}


def leaks(text: str, secrets: dict[str, set[str]]) -> list[str]:
    """The names of the secrets of which a form is in the text; hexadecimal digits of any case."""
    lower = text.lower()
    return [name for name, forms in secrets.items() if any(form in text or form.lower() in lower for form in forms)]
