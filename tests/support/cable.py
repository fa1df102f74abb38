"""Cables with a delay, where the kernel has none: `python -I -S cable.py SECONDS NAMESPACE/DEVICE=NAMESPACE/DEVICE …`.

Makes two TAP devices a cable, each in its network namespace, and carries every frame from one to the other, so many
seconds later. Prints a line once all are made, and ends with its standard input. Needs root. It moves some thousands of
frames a second at a tenth of a core: enough for links of 30 Mbit/s.
"""

import ctypes
import fcntl
import os
import select
import struct
import sys
import time
from collections import deque
from pathlib import Path

TUNSETIFF = 0x400454CA
TAP_WITHOUT_HEADER = 0x0002 | 0x1000
CLONE_NEWNET = 0x40000000
LARGEST = 2**16
AT_ONCE = 64
"""Frames read from one end before another's turn."""
MOST_UNDER_WAY = 50_000
"""Frames on all cables; what is more is lost, as in a full switch."""


def make_end(place: str) -> int:
    """The descriptor of a TAP device that it makes at `NAMESPACE/DEVICE`. Raises OSError."""
    namespace, device = place.split("/")
    with Path("/run/netns", namespace).open() as there:
        if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {namespace}")
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", device.encode(), TAP_WITHOUT_HEADER))
    return end


def carry(others: dict[int, int], seconds: float) -> None:
    """Carries frames until standard input ends. `others`: the other end of each end."""
    under_way: deque[tuple[float, int, bytes]] = deque()
    poll = select.epoll()
    for descriptor in (sys.stdin.fileno(), *others):
        poll.register(descriptor, select.EPOLLIN)
    while True:
        wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else -1
        for descriptor, _ in poll.poll(wait):
            if descriptor not in others:
                return
            due = time.monotonic() + seconds
            under_way.extend((due, others[descriptor], frame) for frame in frames(descriptor))
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, descriptor, frame = under_way.popleft()
            try:
                os.write(descriptor, frame)
            except OSError:  # the device is down: the frame is lost
                continue
        while len(under_way) > MOST_UNDER_WAY:
            under_way.pop()


def frames(end: int) -> list[bytes]:
    """What has come to an end, `AT_ONCE` frames at most."""
    found: list[bytes] = []
    try:
        while len(found) < AT_ONCE:
            found.append(os.read(end, LARGEST))
    except OSError:  # nothing more, or the device is down
        pass
    return found


def main() -> None:
    others: dict[int, int] = {}
    for cable in sys.argv[2:]:
        one, other = map(make_end, cable.split("="))
        others |= {one: other, other: one}
    print("ready", flush=True)
    carry(others, float(sys.argv[1]))


if __name__ == "__main__":
    main()
