"""License servers as real processes, with an issuer of their own, and the options by which nodes find them."""

import re
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support.ports import fixed_port
from support.processes import Process, Processes
from support.sns import Hosts, ThisHost
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
    """A primary and a secondary on ports that they keep, each on the host of this number."""

    def __init__(
        self,
        processes: Processes,
        issuer: Issuer,
        identity: Identity,
        hosts: Hosts | None = None,
        numbers: tuple[int, int] = (1, 2),
    ) -> None:
        self._processes = processes
        self._issuer = issuer
        self._identity = identity
        self._hosts = hosts or ThisHost()
        self._numbers = dict(zip(("primary", "secondary"), numbers, strict=True))
        self.ports = {"primary": fixed_port(), "secondary": fixed_port()}

    def host(self, name: str) -> str:
        """The IP address of one of them."""
        return self._hosts.address(self._numbers[name])

    def start(self, name: str = "primary", *flags: str, lease_seconds: float = 60) -> Process:
        """Starts one of them, or starts it again with the same data; it serves when this returns."""
        options = {
            "license": self._issuer.license,
            "issuer": self._issuer.public,
            "revoked": self._issuer.revoked,
            "bind-ip": self.host(name),
            "port": str(self.ports[name]),
            "lease-seconds": str(lease_seconds),
            "data-dir": self._issuer.folder / name,
            **identity_options(self._identity),
        }
        words = [str(word) for option, value in options.items() for word in (f"--{option}", value)]
        within = self._hosts.command(self._numbers[name])
        process = self._processes.node(f"license-{name}", "license", {}, ["serve", *words, *flags], within=within)
        assert process.ready["api"] == f"{self.host(name)}:{self.ports[name]}"
        return process

    def start_pair(self, lease_seconds: float = 60) -> tuple[Process, Process]:
        """Starts both, each of which knows the other."""
        primary = self.start("primary", "--other", self._address("secondary"), lease_seconds=lease_seconds)
        flags = ("--secondary", "--other", self._address("primary"))
        return primary, self.start("secondary", *flags, lease_seconds=lease_seconds)

    @property
    def options(self) -> dict[str, str]:
        """A node's options for both."""
        named = (("apls", "primary"), ("secondary-apls", "secondary"))
        return {
            f"{option}-{part}": value
            for option, name in named
            for part, value in (("ip", self.host(name)), ("port", str(self.ports[name])))
        }

    @property
    def flags(self) -> list[str]:
        """The same as words of a command."""
        return [word for option, value in self.options.items() for word in (f"--{option}", value)]

    def variables(self, *names: str) -> dict[str, str]:
        """A node's variables for these servers, by default for both."""
        return {
            f"SWARM_LICENSE_AUTOPASSJ_SERVER_{name.upper()}_{part}": value
            for name in names or tuple(self.ports)
            for part, value in (("IP", self.host(name)), ("PORT", str(self.ports[name])))
        }

    @property
    def locator(self) -> dict[str, Any]:
        """The `apls` of a profile, for the primary."""
        return {"locator": {"host": self.host("primary"), "port": self.ports["primary"]}}

    def _address(self, name: str) -> str:
        return f"{self.host(name)}:{self.ports[name]}"


def tokens(server: Process) -> Counter[str]:
    """How many tokens of each feature a server has lent so far, by the feature's number."""
    return Counter(re.findall(r"INFO : (\d+):1: a token for ", server.output))
