"""Requests that change something have to come from this UI's own pages: by a token, and by what browsers state."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

FIELD: Final = "csrf"
HEADER: Final = "x-csrf-token"
SAFE: Final = frozenset({"GET", "HEAD"})


def token_of(session: str) -> str:
    """The token that pages of this session send along. It follows from the session's own token, and not vice versa."""
    return hmac.new(session.encode(), b"swarmlearning-ui csrf", hashlib.sha256).hexdigest()


def is_token(given: str, session: str) -> bool:
    """Whether this is the session's token."""
    return hmac.compare_digest(given.encode(errors="replace"), token_of(session).encode())


def is_from_here(headers: Mapping[str, str], scheme: str, host: str) -> bool:
    """Whether a request can come from a page of this UI at `scheme://host`; clients that are no browsers state nothing.

    Header names are in lower case.
    """
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or _origin(origin) == _origin(f"{scheme}://{host}")


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of an origin; ports that a scheme implies are left out."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ("", url, None)
    implied = {"http": 80, "https": 443}.get(parts.scheme)
    return (parts.scheme, (parts.hostname or url).lower(), None if port == implied else port)
