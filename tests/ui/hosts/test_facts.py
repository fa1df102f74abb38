"""What hosts say about themselves, and what is made of it."""

from collections.abc import Collection

import msgspec
import pytest

from swarmlearning.errors import UserError
from swarmlearning.ui.hosts.facts import MOST_PORTS, Clock, Engine, Facts, Python, read_facts
from swarmlearning.ui.hosts.judging import Plan, faults, judge
from swarmlearning.ui.hosts.layout import DEFAULT_PREFIX, Layout
from swarmlearning.ui.hosts.nodes import How, how_for

ANSWER = """clock\t1000000
system\tDebian GNU/Linux 12 (bookworm)
kernel\tLinux 6.1.0
machine\tx86_64
libc\tglibc 2.36
user\tswarm
uid\t1001
memory\t16000000
memory_free\t8000000
disk_free\t9000000
addresses\t10.0.0.7 fd00::7
python\t/usr/bin/python3.11 3.11 yes
python\t/usr/bin/python3 3.9 yes
engine\tpodman 4.3.1 yes
listens\t0100007F:1F90
listens\t00000000000000000000000000000000:7660
systemd\trunning
writable\tyes
prefix\tours
installed\t0.1.0-1a2b3c4d
clock_end\t1000400
"""
LAYOUT = Layout()
GOOD = read_facts(ANSWER, Clock(999_900, 1_000_500))


def test_an_answer_is_read() -> None:
    assert GOOD.system == "Debian GNU/Linux 12 (bookworm)"
    assert (GOOD.root, GOOD.user, GOOD.version, GOOD.prefix) == (False, "swarm", "0.1.0", "ours")
    assert GOOD.memory_free == 8_000_000 * 1024
    assert GOOD.python == Python("/usr/bin/python3.11", (3, 11), True)
    assert GOOD.engines == (Engine("podman", "4.3.1", True),)
    assert GOOD.ports == {8080, 30304}
    assert GOOD.addresses == ("10.0.0.7", "fd00::7")


@pytest.mark.parametrize(("ahead_ms", "way_there", "way_back"), [(0, 5, 5), (7_000, 300, 10), (-90_000, 10, 400)])
def test_the_offset_of_a_clock_is_known_within_half_the_ways(ahead_ms: int, way_there: int, way_back: int) -> None:
    began, took = 1_000_000, 700
    asked, answered = began - ahead_ms - way_there, began - ahead_ms + took + way_back
    found = read_facts(f"clock\t{began}\nclock_end\t{began + took}\n", Clock(asked, answered))
    assert abs(found.clock_ahead_ms - ahead_ms) <= found.clock_error_ms + 1
    assert found.clock_error_ms == (way_there + way_back) // 2


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "nonsense",
        "\t\t\t\n" * 50_000,
        "clock\t" + "9" * 5000,
        "python\t/x 3.x yes\npython\tx 3.11 yes\npython\t3.11\npython\t/x 99999999.1 yes",
        "engine\tevil 1 yes\nengine\tdocker",
        "listens\tx\nlistens\t:12\nlistens\t:GGGG",
        "disk_free\t-5\nmemory\t1e9",
        "system\t" + "\x1b[31m" * 1000,
    ],
)
def test_a_hostile_answer_gives_facts_that_are_bounded_and_safe_to_show(answer: str) -> None:
    found = read_facts(answer, Clock(0, 1))
    assert found.python is None
    assert found.engines == ()
    assert found.ports == frozenset()
    assert len(msgspec.json.encode(found)) < 5000
    assert "\x1b" not in found.system


def test_many_ports_are_bounded() -> None:
    lines = "".join(f"listens\t0:{port:04X}\n" for port in range(65536))
    assert len(read_facts(lines, Clock(0, 1)).ports) <= MOST_PORTS


def codes(facts: Facts, layout: Layout = LAYOUT, ports: Collection[int] = ()) -> list[str]:
    return [each.code for each in judge(facts, Plan(layout, ports))]


def test_a_good_host_has_no_findings() -> None:
    assert codes(GOOD) == []


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"pythons": ()}, "python-missing", "Nothing was copied"),
        ({"pythons": (Python("/usr/bin/python3", (3, 9), True),)}, "python-missing", "this host has 3.9"),
        ({"pythons": (Python("/p", (3, 12), False),)}, "python-incomplete", "python3-venv"),
        ({"pythons": ()}, "python-missing", "podman works"),
        ({"kernel": "Darwin 23"}, "no-linux", "Darwin 23"),
        ({"machine": "riscv64"}, "machine", "riscv64"),
        ({"libc": "glibc 2.17"}, "libc", "glibc 2.17"),
        ({"libc": "/lib/ld-musl-x86_64.so.1"}, "libc", "containers"),
        ({"prefix": "foreign"}, "prefix-foreign", "not installed from here"),
        ({"writable": False}, "prefix-readonly", f"sudo install -d -o swarm {DEFAULT_PREFIX}"),
        ({"disk_free": 10 * 2**20}, "disk", "10 MB are free"),
        ({"memory_free": 10 * 2**20}, "memory", "10 MB of memory"),
        ({"clock_ahead_ms": -8000, "clock_error_ms": 50}, "clock", "8.0 s behind"),
        ({"root": True}, "root", "rather log in as a user"),
        ({"user_units": True}, "linger", "loginctl enable-linger swarm"),
    ],
)
def test_what_is_wrong_with_a_host_is_found_alone_and_says_what_to_do(
    change: dict[str, object], code: str, says: str
) -> None:
    found = judge(msgspec.structs.replace(GOOD, **change), Plan())
    assert [each.code for each in found] == [code]
    assert says in found[0].text


def test_a_clock_that_cannot_be_told_apart_is_no_finding() -> None:
    assert codes(msgspec.structs.replace(GOOD, clock_ahead_ms=3000, clock_error_ms=2000)) == []


def test_taken_ports_are_a_fault_and_faults_come_first() -> None:
    found = judge(msgspec.structs.replace(GOOD, root=True), Plan(ports=(8080, 30305)))
    assert [each.code for each in found] == ["ports", "root"]
    assert [each.code for each in faults(found)] == ["ports"]
    assert "8080" in found[0].text
    assert "30305" not in found[0].text


def test_selinux_and_a_home() -> None:
    facts = msgspec.structs.replace(GOOD, selinux="Enforcing")
    assert codes(facts, Layout("/home/swarm/product")) == ["selinux"]
    assert codes(facts, Layout("/opt/product")) == []


@pytest.mark.parametrize(
    ("change", "how"),
    [
        ({"root": True, "systemd": True}, "system"),
        ({"root": True, "systemd": False}, "detached"),
        ({"user_units": True, "lingers": True}, "user"),
        ({"user_units": True}, "detached"),
        ({}, "detached"),
    ],
)
def test_what_nodes_run_under(change: dict[str, bool], how: How) -> None:
    assert how_for(msgspec.structs.replace(GOOD, **change)) == how


@pytest.mark.parametrize("prefix", ["/opt/swarm", "/home/a.b/x-1", DEFAULT_PREFIX, "/usr/local/swarm"])
def test_a_place(prefix: str) -> None:
    assert Layout(prefix).swarm == f"{prefix}/current/bin/swarm"


@pytest.mark.parametrize(
    "prefix",
    ["", "opt", "/", "/etc", "/usr/local", "/usr", "/opt/../x", "/opt//x", "/opt/x/", "/opt/a b", "/opt/$x", "/o" * 150]
)  # fmt: skip
def test_what_is_no_place_of_the_product_alone(prefix: str) -> None:
    with pytest.raises(UserError):
        Layout(prefix)
