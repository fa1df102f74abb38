"""The links of hosts in network namespaces as sites have them: thin, long, lossy, and cut at times.

A link is what connects a host to the bridge of all. Its rate is kept by a token bucket at each end, whose bucket holds
what the kernel hands over at once (64 KiB). Kernels without netem have no delay of their own: it comes from `cable.py`.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from support.namespaces import Namespaces

BUCKET = 128 * 1024
QUEUE_SECONDS = 0.1
"""What a link holds back before it loses packets: about as much as routers of offices do."""
TUN = Path("/dev/net/tun")


class Moved(NamedTuple):
    """Bytes that a host has sent and received over its link since it was made, headers and all."""

    sent: int
    received: int


class End(NamedTuple):
    """One end of a link: a network namespace, and the device in it."""

    namespace: str
    device: str


class ThinLinks:
    """The links of these hosts; each is fast, short and whole until it is told otherwise."""

    def __init__(self, hosts: Namespaces) -> None:
        self._hosts = hosts

    def limit(self, host: int, up: float, down: float) -> None:
        """From now on a host sends `up` and receives `down` megabits a second at most."""
        for end, rate in ((self._near(host), up), (self._far(host), down)):
            kept = ["burst", str(BUCKET), "latency", f"{QUEUE_SECONDS * 1000:.0f}ms", "rate", f"{rate * 1e6:.0f}bit"]
            _run("tc", "-n", end.namespace, "qdisc", "replace", "dev", end.device, "root", "tbf", *kept)

    def lose(self, host: int, share: float) -> None:
        """From now on a host loses this share of the packets that come to it; packets are as large as on a wire."""
        for end in (self._near(host), self._far(host)):
            _set(end, "gso_max_segs", "1")
        at_random = ["-m", "statistic", "--mode", "random", "--probability", str(share)]
        rule = ["-A", "INPUT", "-i", "net", *at_random, "-j", "DROP"]
        _run(*self._hosts.command(host), "iptables", "--wait", *rule)

    def cut(self, host: int) -> None:
        """Packets from and to a host vanish, while it believes to be connected."""
        _set(self._far(host), "nomaster")

    def mend(self, host: int) -> None:
        """A cut link is whole again."""
        _set(self._far(host), "master", "net")

    @contextmanager
    def longer(self, hosts: Sequence[int], seconds: float) -> Iterator[None]:
        """Inside the block a packet takes so many seconds over each of these links; what else they are told comes
        after this. Raises OSError where the kernel has no TAP devices."""
        if not TUN.exists():
            raise OSError(f"{TUN} is missing: load the kernel's module tun")
        cables = []
        for host in hosts:
            near, far = self._near(host), self._far(host)
            _run("ip", "-n", near.namespace, "link", "delete", near.device)
            cables.append(f"{'/'.join(near)}={'/'.join(far)}")
        script = str(Path(__file__).with_name("cable.py"))
        command = [sys.executable, "-I", "-S", script, str(seconds), *cables]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0) as relay:
            assert relay.stdout is not None
            if not relay.stdout.readline():
                raise OSError("cables with a delay cannot be laid here: the error is above")
            for host in hosts:
                self._plug_in(host)
            yield

    def _plug_in(self, host: int) -> None:
        self._hosts.add_address(host, self._hosts.address(host))
        _set(self._near(host), "up")
        _set(self._far(host), "master", "net", "up")

    def moved(self, host: int) -> Moved:
        """What has gone over a host's link so far; only from the thread that made the hosts, on the bridge."""
        device = self._far(host).device
        for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
            name, _, counts = line.partition(":")
            if name.strip() == device:
                numbers = counts.split()
                return Moved(sent=int(numbers[0]), received=int(numbers[8]))
        raise LookupError(f"there is no link {device} on this thread's network")

    def processes(self, host: int) -> list[int]:
        """The IDs of the processes that run on a host."""
        command = ["ip", "netns", "pids", self._hosts.name(host)]
        return list(map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()))

    def _near(self, host: int) -> End:
        return End(self._hosts.name(host), "net")

    def _far(self, host: int) -> End:
        return End(self._hosts.name(0), f"to-{host}")


def _set(end: End, *words: str) -> None:
    _run("ip", "-n", end.namespace, "link", "set", end.device, *words)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
