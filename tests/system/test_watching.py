"""`swarm status --watch` and `--check` beside real nodes: a disk that fills, an SN that dies, one that takes over."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support.ports import fixed_port
from support.processes import COMMAND
from support.release import Release
from support.sns import Network
from support.swarm import Swarm, identity_options
from support.tools import needs
from swarmlearning.identity.identity import Identity

SECONDS = 120.0
FRAME = "\x1b[H"
"""The cursor goes to the first line."""
DISK = 64 * 2**20


class Screen:
    """What a command writes, to a terminal of 80 by 24 or, without one, to a pipe."""

    def __init__(self, process: "subprocess.Popen[bytes]", descriptor: int) -> None:
        self.process = process
        self.written = ""
        self._descriptor = descriptor

    def until(self, reached: Callable[[str], object]) -> str:
        """Reads until this is so of all that has been written; returns it."""
        deadline = time.monotonic() + SECONDS
        while not reached(self.written):
            left = max(0.0, deadline - time.monotonic())
            assert select.select([self._descriptor], [], [], left)[0], self.written
            part = os.read(self._descriptor, 65536)
            assert part, self.written
            self.written += part.decode(errors="replace")
        return self.written

    def shows(self, pattern: str) -> str:
        """Reads until a screen that is complete matches; returns it."""
        found = self.until(lambda written: any(re.search(pattern, each) for each in written.split(FRAME)[1:-1][-2:]))
        return next(each for each in found.split(FRAME)[1:-1][-2:] if re.search(pattern, each))


def status_command(identity: Identity, host: str, port: int, *flags: str) -> list[str]:
    words = [str(word) for option, value in identity_options(identity).items() for word in (f"--{option}", value)]
    return [*COMMAND, "status", "--sn-ip", host, "--sn-api-port", str(port), *words, *flags]


@contextmanager
def running(command: list[str], *, terminal: bool) -> Iterator[Screen]:
    reader, writer = pty.openpty() if terminal else os.pipe()
    if terminal:
        fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer, env=environment)
    os.close(writer)
    try:
        yield Screen(process, reader)
    finally:
        process.kill()
        process.wait()
        os.close(reader)


def check(swarm: Swarm, name: str) -> tuple[int, str]:
    command = status_command(swarm.identities["SL-2"], "127.0.0.1", swarm.port, "--check")
    done = swarm.processes.start(name, *command)
    return done.wait(), done.output


@needs("views")
def test_a_disk_that_fills_and_an_sn_that_dies_are_seen_while_they_last(swarm: Swarm) -> None:
    """Beside a node of the release before vitals, and an SN that withholds them."""
    port = fixed_port()
    old = Release("before-16", swarm.directory / "before")
    founder = swarm.start_sn("--sentinel", port=port, within=old.command)  # under the rules that it knows
    assert founder.ready
    founder.stop()
    swarm.start_sn("--sentinel", "--no-vitals", port=port)
    place = swarm.directory / "sl-1"
    place.mkdir()
    mount = f'mount -t tmpfs -o size={DISK} none {place} && exec "$@"'
    within = ("unshare", "--mount", "sh", "-c", mount, "sh")
    full = swarm.processes.node("SL-1", "sl", swarm.sl_options(1), within=within)
    earlier = swarm.processes.node("SL-2", "sl", swarm.sl_options(2), within=old.command)
    assert full.ready
    assert earlier.ready
    with running(status_command(swarm.identities["SL-3"], "127.0.0.1", port, "--watch"), terminal=True) as screen:
        shown = screen.shows("ALARM SL site-1 has")
        assert "1 ALARM" in shown
        assert "make room there now" in shown
        code, told = check(swarm, "critical")
        assert code == 2
        assert re.match(r"SWARM CRITICAL - SL site-1 has \d\d MB of 67 MB left on the disk .*\| critical=1 ", told)
        vitals = {node["name"]: node["vitals"] for node in swarm.status()["nodes"]}
        assert vitals["site-1"]["disk_total"] == DISK
        assert vitals["site-2"] is vitals["SN-1"] is None
        assert abs(vitals["site-1"]["clock_ms"]) <= vitals["site-1"]["clock_error_ms"] + 2
        swarm.sn.kill()
        assert "ALARM SL site-1 has" in screen.shows("NO SN ANSWERS since .* what follows was so before")
        code, told = check(swarm, "unknown")
        assert code == 3
        assert told.startswith(f"SWARM UNKNOWN - SN 127.0.0.1:{port} cannot be reached")
        swarm.start_sn(port=port)
        assert swarm.sn.ready
        screen.shows("^(?!.*NO SN ANSWERS)(?s:.*)site-1")
        screen.process.send_signal(signal.SIGINT)
        assert screen.until(lambda written: written.rstrip().endswith("\x1b[?1049l"))
        assert screen.process.wait(SECONDS) == 0


@needs("etcd")
def test_a_watch_goes_on_with_another_sn_and_tells_what_that_one_sees(net: Network, tmp_path: Path) -> None:
    sns = net.found(2)
    command = status_command(net.identities["SL-1"], net.hosts.address(1), net.ports[1], "--watch")
    with running(command, terminal=False) as screen:
        screen.until(lambda written: f"SN {net.api(1)} " in written)
        sns[0].kill()
        shown = screen.until(lambda written: "ALARM no majority of voters answers" in written)
        assert f"SN {net.api(2)} " in shown
        assert "\x1b" not in shown
        screen.process.terminate()
        assert screen.process.wait(SECONDS) == 0
