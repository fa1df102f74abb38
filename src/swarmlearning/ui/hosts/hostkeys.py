"""Keys of SSH servers: each is pinned once somebody has compared it, and from then on no other one is accepted."""

import base64
import binascii
import hashlib
from typing import NamedTuple, Protocol

from swarmlearning.errors import UserError
from swarmlearning.ui.hosts.addresses import Address


class HostKey(NamedTuple):
    """A server's public key: its algorithm, and the key in base64, as OpenSSH writes it."""

    algorithm: str
    encoded: str

    @property
    def line(self) -> str:
        """As in OpenSSH's files of public keys, without a comment."""
        return f"{self.algorithm} {self.encoded}"

    @property
    def fingerprint(self) -> str:
        """As OpenSSH prints it: `SHA256:` and the hash in base64. This is what people compare."""
        digest = hashlib.sha256(base64.b64decode(self.encoded)).digest()
        return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


class HostKeyError(UserError):
    """A host whose key is not (yet) the one that is pinned."""


class UnknownHostKey(HostKeyError):
    """A host that shows a key for the first time; somebody has to compare it before a secret goes there."""

    def __init__(self, address: Address, shown: HostKey) -> None:
        self.address, self.shown = address, shown
        super().__init__(
            f"{address} shows a host key that nobody has confirmed: {shown.algorithm} {shown.fingerprint}. Compare it "
            f"with what the host says itself, and confirm it: ssh-keygen -lf /etc/ssh/ssh_host_{_kind(shown)}_key.pub"
        )


class ChangedHostKey(HostKeyError):
    """A host that shows another key than the one that is pinned: nothing was sent to it."""

    def __init__(self, address: Address, pinned: HostKey, shown: HostKey) -> None:
        self.address, self.pinned, self.shown = address, pinned, shown
        super().__init__(
            f"{address} shows another host key than the one that was confirmed, so nothing was sent to it. Confirmed: "
            f"{pinned.algorithm} {pinned.fingerprint}; shown now: {shown.algorithm} {shown.fingerprint}. Either "
            "somebody else answers in its place, or the host was set up anew: only then forget the old key and "
            "confirm the new one"
        )


class HostKeys(Protocol):
    """Where pinned keys are kept."""

    async def pinned(self, address: Address) -> HostKey | None:
        """The key of this host; None where none has been confirmed."""

    async def pin(self, address: Address, key: HostKey) -> None:
        """Keeps a key that somebody has confirmed, in place of a former one."""

    async def forget(self, address: Address) -> None:
        """Forgets the key of this host, if there is one."""


class MemoryHostKeys:
    """Keeps them as long as it lives."""

    def __init__(self) -> None:
        self._keys: dict[Address, HostKey] = {}

    async def pinned(self, address: Address) -> HostKey | None:
        """See `HostKeys`."""
        return self._keys.get(address)

    async def pin(self, address: Address, key: HostKey) -> None:
        """See `HostKeys`."""
        self._keys[address] = key

    async def forget(self, address: Address) -> None:
        """See `HostKeys`."""
        self._keys.pop(address, None)


async def confirm(keys: HostKeys, address: Address, shown: HostKey, fingerprint: str) -> None:
    """Pins the key that a host shows now, if it is the one of the fingerprint that somebody has confirmed.

    Raises `HostKeyError` where another key is pinned, or the fingerprint is another one's.
    """
    pinned = await keys.pinned(address)
    if pinned is not None and pinned != shown:
        raise ChangedHostKey(address, pinned, shown)
    if fingerprint.strip() != shown.fingerprint:
        raise HostKeyError(
            f"{address} shows {shown.fingerprint} now, which is not the confirmed {fingerprint.strip()[:80]!r}: "
            "compare it again"
        )
    await keys.pin(address, shown)


def read_host_key(line: str) -> HostKey:
    """A key of such a line. Raises `HostKeyError`."""
    words = line.split()
    try:
        algorithm, encoded = words[:2]
        raw = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        raise HostKeyError(f"{line[:60]!r} is no public key as OpenSSH writes it") from None
    name = algorithm.encode()
    if raw[: 4 + len(name)] != len(name).to_bytes(4) + name:
        raise HostKeyError(f"{line[:60]!r} is no public key of the kind {algorithm[:30]!r}")
    return HostKey(algorithm, encoded)


def _kind(key: HostKey) -> str:
    """The part of the name of the server's key file."""
    return "ecdsa" if key.algorithm.startswith("ecdsa") else key.algorithm.removeprefix("ssh-")
