"""Hosts with a network of their own, made of Linux network namespaces: for what can happen between machines.

Each host is a namespace with one address; all hang on a bridge in one more namespace, so nothing of the machine's own
network, firewall or names is touched. The thread that makes them looks on from the bridge: it reaches every host, also
while they do not reach each other. Needs root, `ip` and `iptables`.
"""

import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

CLONE_NEWNET = 0x40000000
MASK = 24
SLOW_QDISC = ["root", "tbf", "burst", "32kb", "latency", "50ms"]
"""The kernel's options for a slow link, except for its rate (a token bucket)."""


class Namespaces:
    """Hosts 1 to `count` and the bridge between them (0). Use as a context manager, from one thread.

    `names` (name to host) are what the hosts can look up, beside `localhost`; without any they see the machine's names.
    """

    def __init__(self, count: int, names: Mapping[str, int] | None = None) -> None:
        self._prefix = f"swarm-{os.getpid()}-{secrets.token_hex(3)}"
        self._hosts = range(1, count + 1)
        self._names = dict(names or {})
        self._home = -1

    def address(self, host: int) -> str:
        """A host's address: one of those that are set aside for tests of networks (RFC 2544)."""
        return f"198.18.0.{host or 254}"

    def command(self, host: int) -> list[str]:
        """Returns the command prefix with which a command runs on a host."""
        return ["ip", "netns", "exec", self.name(host)]

    def name(self, host: int) -> str:
        """The namespace of a host, for commands as `tc -n NAME`; its interface is `net`."""
        return f"{self._prefix}-{host}"

    def partition(self, *sides: Collection[int]) -> None:
        """Cuts the sides off from each other: packets between them vanish, connections stay open."""
        for side in sides:
            beyond = [host for other in sides if other is not side for host in other]
            for host in side:
                for hidden in beyond:
                    self._run(host, "iptables", "--wait", "-A", "INPUT", "-s", self.address(hidden), "-j", "DROP")

    def slow_down(self, host: int, megabits: int) -> None:
        """From now on a host sends only so many megabits per second."""
        rate = f"{megabits}mbit"
        self._run(host, "tc", "qdisc", "replace", "dev", "net", *SLOW_QDISC, "rate", rate)

    def heal(self) -> None:
        """Everybody reaches everybody again."""
        for host in self._hosts:
            self._run(host, "iptables", "--wait", "-F", "INPUT")

    def __enter__(self) -> Self:
        try:
            self._create()
            self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            with Path("/run/netns", self.name(0)).open() as bridge:
                _enter(bridge.fileno())
        except BaseException:
            self._delete()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._delete()

    def _create(self) -> None:
        _ip("netns", "add", self.name(0))
        _ip("-n", self.name(0), "link", "add", "net", "type", "bridge")
        self._set_up(0)
        for host in self._hosts:
            name = self.name(host)
            _ip("netns", "add", name)
            _ip("-n", name, "link", "add", "net", "type", "veth", "peer", "name", f"to-{host}", "netns", self.name(0))
            _ip("-n", self.name(0), "link", "set", f"to-{host}", "master", "net", "up")
            self._set_up(host)
        if self._names:
            self._write_names()

    def _set_up(self, host: int) -> None:
        _ip("-n", self.name(host), "address", "add", f"{self.address(host)}/{MASK}", "dev", "net")
        for link in ("lo", "net"):
            _ip("-n", self.name(host), "link", "set", link, "up")

    def _write_names(self) -> None:
        """`ip netns exec` shows a command these files in place of those in /etc."""
        lines = ["127.0.0.1 localhost", *(f"{self.address(host)} {name}" for name, host in self._names.items())]
        for host in self._hosts:
            folder = _etc(self.name(host))
            folder.mkdir(parents=True)
            (folder / "hosts").write_text("\n".join(lines) + "\n")

    def _delete(self) -> None:
        if self._home >= 0:
            _enter(self._home)
            os.close(self._home)
            self._home = -1
        for host in (*self._hosts, 0):
            with suppress(subprocess.CalledProcessError):  # it was not made yet
                _ip("netns", "delete", self.name(host))
            shutil.rmtree(_etc(self.name(host)), ignore_errors=True)

    def _run(self, host: int, *command: str) -> None:
        subprocess.run([*self.command(host), *command], check=True, capture_output=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _etc(name: str) -> Path:
    return Path("/etc/netns", name)


def _enter(namespace: int) -> None:
    """This thread, and what it starts from now on, uses the network namespace of this descriptor."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot enter a network namespace: {os.strerror(number)}")
