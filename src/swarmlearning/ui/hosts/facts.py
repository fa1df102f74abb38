"""What a host says about itself, and the reader of that. Pure: whatever a host answers, the reader bounds it."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

import msgspec

from swarmlearning.views.names import displayed

LONGEST_LINE: Final = 400
MOST_LINES: Final = 4096
MOST_PORTS: Final = 4096

Version: TypeAlias = tuple[int, int]


class Python(msgspec.Struct, frozen=True):
    """An interpreter: its path, its version, and whether it can make environments."""

    path: str
    version: Version
    venv: bool


class Engine(msgspec.Struct, frozen=True):
    """A container engine: its name, its version, and whether it answers this user."""

    name: str
    version: str
    usable: bool


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What one round of commands has found. Sizes in bytes, -1 where unknown; the clock's offset in milliseconds, ahead
    of ours, give or take `clock_error_ms`."""

    system: str = ""
    kernel: str = ""
    machine: str = ""
    libc: str = ""
    hostname: str = ""
    user: str = ""
    root: bool = False
    home: str = ""
    cores: int = 0
    gpus: int = 0
    memory: int = -1
    memory_free: int = -1
    disk_free: int = -1
    clock_ahead_ms: int = 0
    clock_error_ms: int = 0
    addresses: tuple[str, ...] = ()
    pythons: tuple[Python, ...] = ()
    engines: tuple[Engine, ...] = ()
    ports: frozenset[int] = frozenset()
    systemd: bool = False
    user_units: bool = False
    lingers: bool = False
    selinux: str = ""
    writable: bool = False
    prefix: str = "absent"
    installed: str = ""
    etcd: bool = False

    @property
    def version(self) -> str:
        """The version of the product that is used there; empty without one."""
        return self.installed.partition("-")[0]

    @property
    def python(self) -> Python | None:
        """The newest interpreter that the product can use; None where there is none."""
        usable = [each for each in self.pythons if each.version >= NEEDED_PYTHON and each.venv]
        return max(usable, key=lambda each: each.version, default=None)


NEEDED_PYTHON: Final[Version] = (3, 11)


class Clock(NamedTuple):
    """Our Unix time in milliseconds when the host was asked, and when its answer was there."""

    asked: int
    answered: int


Lines: TypeAlias = Mapping[str, tuple[str, ...]]
"""By key: the values, in the order of the answer."""


def read_facts(answer: str, clock: Clock) -> Facts:
    """What the probe's answer says; what is missing, malformed or too much in it is left out."""
    lines = _lines(answer)
    one = _first(lines)
    ahead, error = _offset(_number(one("clock"), 0), _number(one("clock_end"), 0), clock)
    return Facts(
        system=one("system"),
        kernel=one("kernel"),
        machine=one("machine"),
        libc=one("libc"),
        hostname=one("hostname"),
        user=one("user"),
        root=one("uid") == "0",
        home=one("home"),
        cores=_number(one("cores"), 0),
        gpus=_number(one("gpus"), 0),
        memory=_kilobytes(one("memory")),
        memory_free=_kilobytes(one("memory_free")),
        disk_free=_kilobytes(one("disk_free")),
        clock_ahead_ms=ahead,
        clock_error_ms=error,
        addresses=tuple(one("addresses").split()[:64]),
        pythons=tuple(filter(None, map(_python, lines.get("python", ())[:32]))),
        engines=tuple(filter(None, map(_engine, lines.get("engine", ())[:8]))),
        ports=frozenset(_ports(lines.get("listens", ()))),
        systemd=one("systemd") in _RUNNING,
        user_units=one("user_units") in _RUNNING,
        lingers=one("lingers") == "yes",
        selinux=one("selinux"),
        writable=one("writable") == "yes",
        prefix=one("prefix") or "absent",
        installed=one("installed"),
        etcd=one("etcd") == "yes",
    )


_RUNNING: Final = ("running", "degraded", "starting")
"""Answers of `systemctl is-system-running` of a manager that works."""


def _lines(answer: str) -> Lines:
    found: dict[str, tuple[str, ...]] = {}
    for line in answer.splitlines()[:MOST_LINES]:
        key, is_one, value = line[: LONGEST_LINE * 2].partition("\t")
        if is_one and (key != "listens" or len(found.get(key, ())) < MOST_PORTS):
            found[key] = (*found.get(key, ()), displayed(value.strip(), LONGEST_LINE))
    return found


def _first(lines: Lines) -> Callable[[str], str]:
    return lambda key: lines.get(key, ("",))[0]


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else otherwise


def _kilobytes(text: str) -> int:
    number = _number(text, -1)
    return number * 1024 if number >= 0 else -1


def _offset(begin_ms: int, end_ms: int, clock: Clock) -> tuple[int, int]:
    """How far the host's clock is ahead of ours, and how exact that is: it read its clock between our two readings."""
    if not begin_ms or not end_ms:
        return 0, 0
    least, most = end_ms - clock.answered, begin_ms - clock.asked
    return (least + most) // 2, abs(most - least) // 2


def _python(line: str) -> Python | None:
    """`PATH MAJOR.MINOR yes|no`."""
    words = line.rsplit(" ", 2)
    if len(words) != 3:
        return None
    major, _, minor = words[1].partition(".")
    if not (words[0].startswith("/") and major.isdecimal() and minor.isdecimal() and len(words[1]) < 8):
        return None
    return Python(words[0], (int(major), int(minor)), words[2] == "yes")


def _engine(line: str) -> Engine | None:
    """`NAME VERSION yes|no`."""
    words = line.split()
    return (
        Engine(words[0], words[1], words[2] == "yes") if len(words) == 3 and words[0] in ("docker", "podman") else None
    )


def _ports(lines: tuple[str, ...]) -> set[int]:
    """The ports of `ADDRESS:PORT` in hexadecimal, as the kernel lists sockets that listen."""
    found = set()
    for line in lines:
        port = line.rpartition(":")[2]
        if len(port) == 4 and all(each in "0123456789ABCDEFabcdef" for each in port):
            found.add(int(port, 16))
    return found
