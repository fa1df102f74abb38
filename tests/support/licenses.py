"""License servers as real processes, with an issuer of their own, and the options by which nodes find them."""

import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support.ports import fixed_port
from support.processes import Process, Processes
from support.swarm import identity_options
from swarmlearning.identity.identity import Identity
from swarmlearning.license.documents import License, Revocations, sign
from swarmlearning.license.features import Feature

DAY_MS = 24 * 3600 * 1000
PLENTY = {
    Feature.SN: 5,
    Feature.SL: 5,
    Feature.SWOP: 5,
    Feature.SWCI: 5,
}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def license_of(features: Mapping[Feature, int], begins_ms: int | None = None, lasts_ms: int = DAY_MS) -> License:
    """A license that begins a minute ago, or at this time."""
    begin = now_ms() - 60_000 if begins_ms is None else begins_ms
    return License(secrets.token_hex(16), "Example", dict(features), begin, begin + lasts_ms)


class Issuer:
    """Whoever issues licenses; its files are in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.key = Ed25519PrivateKey.generate()
        self.public = folder / "issuer.pub"
        self.public.write_bytes(self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        self.license = folder / "license"
        self.revoked = folder / "revoked"
        self.revoke()

    def issue(self, features: Mapping[Feature, int], lasts_ms: int = DAY_MS) -> License:
        """Writes a license for these tokens, in place of the one before."""
        made = license_of(features, lasts_ms=lasts_ms)
        self._write(self.license, sign(made, self.key))
        return made

    def revoke(self, *licenses: str) -> None:
        """Writes the list of revoked licenses."""
        self._write(self.revoked, sign(Revocations(now_ms(), licenses), self.key))

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        new = path.with_name(f"{path.name}.new")
        new.write_bytes(data)
        new.replace(path)


class Servers:
    """A primary and a secondary on ports that they keep, on this host."""

    def __init__(self, processes: Processes, issuer: Issuer, identity: Identity) -> None:
        self._processes = processes
        self._issuer = issuer
        self._identity = identity
        self.ports = {"primary": fixed_port(), "secondary": fixed_port()}

    def start(self, name: str = "primary", *flags: str, lease_seconds: float = 60, wait: bool = True) -> Process:
        """Starts one of them, or starts it again with the same data."""
        options = {
            "license": self._issuer.license,
            "issuer": self._issuer.public,
            "revoked": self._issuer.revoked,
            "bind-ip": "127.0.0.1",
            "port": str(self.ports[name]),
            "lease-seconds": str(lease_seconds),
            "data-dir": self._issuer.folder / name,
            **identity_options(self._identity),
        }
        words = [str(word) for option, value in options.items() for word in (f"--{option}", value)]
        process = self._processes.node(f"license-{name}", "license", {}, ["serve", *words, *flags])
        if wait:
            assert process.ready["api"] == f"127.0.0.1:{self.ports[name]}"
        return process

    def start_pair(self, lease_seconds: float = 60) -> tuple[Process, Process]:
        """Starts both, each of which knows the other."""
        primary = self.start("primary", "--other", f"127.0.0.1:{self.ports['secondary']}", lease_seconds=lease_seconds)
        secondary = self.start(
            "secondary", "--secondary", "--other", f"127.0.0.1:{self.ports['primary']}", lease_seconds=lease_seconds
        )
        return primary, secondary

    @property
    def flags(self) -> list[str]:
        """A node's options for both."""
        named = (("apls", "primary"), ("secondary-apls", "secondary"))
        return [
            word
            for option, name in named
            for word in (f"--{option}-ip", "127.0.0.1", f"--{option}-port", str(self.ports[name]))
        ]

    def variables(self, *names: str) -> dict[str, str]:
        """A node's variables for these servers, by default for both."""
        return {
            f"SWARM_LICENSE_AUTOPASSJ_SERVER_{name.upper()}_{part}": value
            for name in names or tuple(self.ports)
            for part, value in (("IP", "127.0.0.1"), ("PORT", str(self.ports[name])))
        }
