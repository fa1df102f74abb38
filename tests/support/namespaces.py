"""Hosts with a network of their own, made of Linux network namespaces: for what can happen between machines.

Each host is a namespace with one address; all hang on a bridge in one more namespace, so nothing of the machine's own
network, firewall or names is touched. The thread that makes them looks on from the bridge: it reaches every host, also
while they do not reach each other. Hosts may be behind another one, their router: its NAT lets connections out, and
none in. Needs root, `ip` and `iptables`.
"""

import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
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
    `behind`: host to its router, one of the others. `ipv6`: they have no addresses of IPv4 but that of loopback.
    """

    def __init__(
        self,
        count: int,
        names: Mapping[str, int] | None = None,
        behind: Mapping[int, int] | None = None,
        *,
        ipv6: bool = False,
    ) -> None:
        self._ipv6 = ipv6
        self._behind = dict(behind or {})
        self._prefix = f"swarm-{os.getpid()}-{secrets.token_hex(3)}"
        self._hosts = range(1, count + 1)
        self._names = dict(names or {})
        self._home = -1

    def address(self, host: int) -> str:
        """A host's address: one of those that are set aside for tests of networks (RFC 2544), or a private one."""
        if self._ipv6:
            return f"fd00:198:18::{host or 254}"
        router = self._behind.get(host)
        return f"198.18.0.{host or 254}" if router is None else f"10.0.{router}.{host}"

    def command(self, host: int) -> list[str]:
        """Returns the command prefix with which a command runs on a host."""
        return ["ip", "netns", "exec", self.name(host)]

    def name(self, host: int) -> str:
        """The namespace of a host, for commands as `tc -n NAME`; its interface is `net`."""
        return f"{self._prefix}-{host}"

    @contextmanager
    def within(self, host: int) -> Iterator[None]:
        """Inside the block this thread is on a host: the sockets that it makes are there, also after the block."""
        with Path("/proc/thread-self/ns/net").open() as home, Path("/run/netns", self.name(host)).open() as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def add_address(self, host: int, address: str) -> None:
        """Gives a host one more address of the network of all."""
        length, at_once = (64, ["nodad"]) if ":" in address else (MASK, [])
        _ip("-n", self.name(host), "address", "add", f"{address}/{length}", "dev", "net", *at_once)

    def remove_address(self, host: int, address: str) -> None:
        """Takes an address from a host; connections on it are as good as cut."""
        _ip("-n", self.name(host), "address", "delete", f"{address}/{64 if ':' in address else MASK}", "dev", "net")

    def rename(self, name: str, address: str) -> None:
        """From now on all hosts that look up a name find this address; what others they know is gone."""
        self._write_names({name: address})

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
        for host in sorted(self._hosts, key=self._behind.__contains__):  # routers before those behind them
            _ip("netns", "add", self.name(host))
            if host in self._behind.values():
                _ip("-n", self.name(host), "link", "add", "inside", "type", "bridge")
            self._connect(host)
            self._set_up(host)
        for router in set(self._behind.values()):
            self._route(router)
        if self._names:
            self._write_names({name: self.address(host) for name, host in self._names.items()})

    def _connect(self, host: int) -> None:
        """To the bridge of all, or to that of its router."""
        name, router = self.name(host), self._behind.get(host)
        beyond, bridge = (self.name(0), "net") if router is None else (self.name(router), "inside")
        _ip("-n", name, "link", "add", "net", "type", "veth", "peer", "name", f"to-{host}", "netns", beyond)
        _ip("-n", beyond, "link", "set", f"to-{host}", "master", bridge, "up")

    def _route(self, router: int) -> None:
        """Makes a host the router of those behind it: they go out under its address, and nobody comes in."""
        inside = f"10.0.{router}.254"
        _ip("-n", self.name(router), "address", "add", f"{inside}/{MASK}", "dev", "inside")
        _ip("-n", self.name(router), "link", "set", "inside", "up")
        self._run(router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        rules = ("-t nat -A POSTROUTING -o net -j MASQUERADE", "-A FORWARD -i inside -j ACCEPT", "-P FORWARD DROP")
        answers = "-A FORWARD -i net -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"
        for rule in (*rules, answers):
            self._run(router, "iptables", "--wait", *rule.split())
        for host in (host for host, its in self._behind.items() if its == router):
            _ip("-n", self.name(host), "route", "add", "default", "via", inside)

    def _set_up(self, host: int) -> None:
        self.add_address(host, self.address(host))
        for link in ("lo", "net"):
            _ip("-n", self.name(host), "link", "set", link, "up")

    def _write_names(self, addresses: Mapping[str, str]) -> None:
        """`ip netns exec` shows a command these files in place of those in /etc: the same files, which are changed."""
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in addresses.items())]
        for host in self._hosts:
            folder = _etc(self.name(host))
            folder.mkdir(parents=True, exist_ok=True)
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


def etc_of(name: str) -> str:
    """The folder of the files that `ip netns exec` shows a command in place of those in /etc; empty without any."""
    return str(folder) if (folder := _etc(name)).is_dir() else ""


def _etc(name: str) -> Path:
    return Path("/etc/netns", name)


def _enter(namespace: int) -> None:
    """This thread, and what it starts from now on, uses the network namespace of this descriptor."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot enter a network namespace: {os.strerror(number)}")
