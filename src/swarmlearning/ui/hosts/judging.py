"""What a host's facts mean for what is planned there: each finding says what to do. Pure, a table of rules."""

from collections.abc import Callable, Collection, Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from swarmlearning.ui.hosts.facts import NEEDED_PYTHON, Facts
from swarmlearning.ui.hosts.layout import Layout

Weight: TypeAlias = Literal["fault", "warning", "note"]

DISK: Final = 1_500 * 2**20
"""Bytes that an installation needs, with the bundle and the version before it."""
MEMORY: Final = 512 * 2**20
CLOCK_MS: Final = 2_000
"""Clocks that differ by less are as good as each other, as nodes judge it."""
GLIBC: Final = (2, 28)
"""What the wheels of dependencies are built for (manylinux_2_28)."""
MACHINES: Final = ("x86_64", "aarch64")


class Finding(msgspec.Struct, frozen=True):
    """Something about a host. A `fault` is in the way of the plan; `code` is a key of texts, `text` the English one."""

    code: str
    weight: Weight
    text: str


class Plan(NamedTuple):
    """What is to be on the host: the place, and the ports that its nodes will listen on."""

    layout: Layout = Layout()
    ports: Collection[int] = ()


def judge(facts: Facts, plan: Plan) -> tuple[Finding, ...]:
    """The findings, faults first."""
    found = [finding for rule in _RULES for finding in rule(facts, plan)]
    order = ("fault", "warning", "note")
    return tuple(sorted(found, key=lambda each: order.index(each.weight)))


def faults(findings: Collection[Finding]) -> tuple[Finding, ...]:
    """Those that are in the way."""
    return tuple(each for each in findings if each.weight == "fault")


def _python(facts: Facts, plan: Plan) -> Iterator[Finding]:
    if facts.python is not None:
        return
    wanted = ".".join(map(str, NEEDED_PYTHON))
    new = [each for each in facts.pythons if each.version >= NEEDED_PYTHON]
    if new:
        text = f"{new[0].path} lacks venv, ssl or zlib: install what your system calls python3-venv"
        yield Finding("python-incomplete", "fault", text)
        return
    has = ", ".join(sorted({".".join(map(str, each.version)) for each in facts.pythons})) or "none"
    text = f"Python {wanted} or later is needed, and this host has {has}: install python{wanted} beside it"
    if usable := [each.name for each in facts.engines if each.usable]:
        text += f"; or run the nodes in containers, which need no Python here: {usable[0]} works (docs/containers.md)"
    yield Finding("python-missing", "fault", f"{text}. Nothing was copied")


def _system(facts: Facts, plan: Plan) -> Iterator[Finding]:
    if facts.kernel and not facts.kernel.startswith("Linux"):
        yield Finding("no-linux", "fault", f"this host runs {facts.kernel}; nodes are for Linux")
    if facts.machine and facts.machine not in MACHINES:
        text = f"a processor of the kind {facts.machine}: packages are made for {' and '.join(MACHINES)}"
        yield Finding("machine", "fault", text)
    if facts.libc and _glibc(facts.libc) < GLIBC:
        text = f"{facts.libc} does not suit the packages (glibc 2.28 or later): run nodes in containers here"
        yield Finding("libc", "fault", text)


def _glibc(libc: str) -> tuple[int, ...]:
    numbers = libc.removeprefix("glibc ").split(".")
    return tuple(map(int, numbers)) if libc.startswith("glibc ") and all(map(str.isdecimal, numbers)) else (0,)


def _place(facts: Facts, plan: Plan) -> Iterator[Finding]:
    prefix = plan.layout.prefix
    if facts.prefix == "foreign":
        text = f"{prefix} holds files that were not installed from here; choose another folder, or move them away"
        yield Finding("prefix-foreign", "fault", text)
    if not facts.writable:
        owner = facts.user or "USER"
        text = (
            f"{owner} may not write to {prefix}: have an administrator make the folder once, "
            f"`sudo install -d -o {owner} {prefix}`, or choose one in {facts.home or 'its home'}"
        )
        yield Finding("prefix-readonly", "fault", text)
    if 0 <= facts.disk_free < DISK:
        text = f"{facts.disk_free // 2**20} MB are free for {prefix}, and {DISK // 2**20} MB are needed"
        yield Finding("disk", "fault", text)


def _memory(facts: Facts, plan: Plan) -> Iterator[Finding]:
    if 0 <= facts.memory_free < MEMORY:
        text = f"only {facts.memory_free // 2**20} MB of memory are free; a node with a model may need more"
        yield Finding("memory", "warning", text)


def _clock(facts: Facts, plan: Plan) -> Iterator[Finding]:
    off = abs(facts.clock_ahead_ms)
    if off - facts.clock_error_ms > CLOCK_MS:
        side = "ahead of" if facts.clock_ahead_ms > 0 else "behind"
        text = f"its clock is {off / 1000:.1f} s {side} this one's: switch on time synchronisation (NTP) on both"
        yield Finding("clock", "warning", text)


def _ports(facts: Facts, plan: Plan) -> Iterator[Finding]:
    if taken := sorted(set(plan.ports) & facts.ports):
        which = ", ".join(map(str, taken))
        text = f"something listens on {which} already: stop it, or give the node another port"
        yield Finding("ports", "fault", text)


def _service(facts: Facts, plan: Plan) -> Iterator[Finding]:
    if facts.root:
        text = "nodes will run as root: rather log in as a user of their own, who needs no rights but to its folder"
        yield Finding("root", "warning", text)
    elif facts.user_units and not facts.lingers:
        text = (
            f"systemd ends the units of {facts.user} with its last login, so nodes run without it; "
            f"`sudo loginctl enable-linger {facts.user}` lets systemd watch over them"
        )
        yield Finding("linger", "note", text)
    if facts.selinux == "Enforcing" and plan.layout.prefix.startswith(("/home/", "/root/")):
        text = f"SELinux may keep systemd from programs in {plan.layout.prefix}: a folder in /opt is no such place"
        yield Finding("selinux", "warning", text)


Rule: TypeAlias = Callable[[Facts, Plan], Iterator[Finding]]

_RULES: Final[tuple[Rule, ...]] = (_python, _system, _place, _memory, _clock, _ports, _service)
