"""One reader of bytes that others have written, as the fuzzers run it."""

from collections.abc import Callable
from typing import NamedTuple

from swarmlearning.identity.signing import base64url


class Target(NamedTuple):
    """`read` returns, or raises one of `errors`, whatever the bytes; `seeds` are examples, most of which it accepts."""

    name: str
    read: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    seeds: tuple[bytes, ...]

    def attack(self, data: bytes) -> None:
        """Reads the bytes. Whatever this raises is a fault that the fuzzers have found."""
        try:
            self.read(data)
        except self.errors:
            pass
        except BaseException as error:
            error.add_note(f"{self.name} was given: {data!r}")
            raise


def jws(header: str, payload: bytes) -> str:
    """A JWS with this header and payload; its signature fits nothing. Fuzzers would never find base64url of JSON."""
    return f"{header}.{base64url(payload)}.{'A' * 86}"
