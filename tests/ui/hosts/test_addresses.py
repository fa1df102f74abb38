"""Lists of hosts as people type them."""

import pytest

from swarmlearning.ui.hosts.addresses import MOST_HOSTS, Address, HostsError, read_addresses


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("10.0.0.11", ["10.0.0.11"]),
        ("127.1.1.11-13, 127.2.1.1", ["127.1.1.11", "127.1.1.12", "127.1.1.13", "127.2.1.1"]),
        ("10.0.0.9 - 11", ["10.0.0.9", "10.0.0.10", "10.0.0.11"]),
        ("10.0.0.1-2:2222", ["10.0.0.1:2222", "10.0.0.2:2222"]),
        ("West.Example.org, west.example.org.", ["west.example.org"]),
        ("a;b\nc\td", ["a", "b", "c", "d"]),
        ("gpu-1:2022", ["gpu-1:2022"]),
        ("host_with_underscore", ["host_with_underscore"]),
        ("fd00::7", ["fd00::7"]),
        ("[fd00::0007]", ["fd00::7"]),
        ("[FD00::7]:2222", ["[fd00::7]:2222"]),
        ("10.0.0.1,,10.0.0.1", ["10.0.0.1"]),
        ("10.0.0.0-255", [f"10.0.0.{last}" for last in range(256)]),
    ],
)
def test_hosts_are_read(text: str, wanted: list[str]) -> None:
    assert [str(each) for each in read_addresses(text)] == wanted


def test_the_port_of_those_that_name_none() -> None:
    assert read_addresses("a, b:22", 2222) == (Address("a", 2222), Address("b", 22))


@pytest.mark.parametrize(
    ("text", "part", "why"),
    [
        ("", "", "no host is named"),
        (" , ", "", "no host is named"),
        ("10.0.0.1, 10.0.0.20-11", "'10.0.0.20-11'", "ends before it begins; did you mean 10.0.0.11-20"),
        ("10.0.0.1-300", "'10.0.0.1-300'", "from 0 to 255"),
        ("10.0.0.1-10.0.0.5", "'10.0.0.1-10.0.0.5'", "of the last part alone, such as 10.0.0.1-20"),
        ("300.0.0.1-3", "'300.0.0.1-3'", "from 0 to 255"),
        ("256.1.1.1", "'256.1.1.1'", "four parts"),
        ("10.0.1", "'10.0.1'", "four parts"),
        ("a:0", "'a:0'", "'0' is no port"),
        ("a:65536", "'a:65536'", "no port"),
        ("a:ssh", "'a:ssh'", "no port"),
        ("a:١٢", "'a:١٢'", "no port"),
        ("fd00::7:x", "'fd00::7:x'", "has the form [fd00::7]:22"),
        ("[fd00::z]:22", "'[fd00::z]:22'", "no IPv6 address"),
        ("fe80::1%eth0", "'fe80::1%eth0'", "no port"),
        ("root@10.0.0.1", "'root@10.0.0.1'", "the user has a field of its own"),
        ("ssh://a", "'ssh://a'", "the address alone"),
        ("0.0.0.0", "'0.0.0.0'", "no single host"),
        ("::", "'::'", "no single host"),
        ("224.0.0.1", "'224.0.0.1'", "no single host"),
        ("-oProxyCommand=x", "'-oProxyCommand=x'", "neither an address nor the name"),
        ("a..b", "'a..b'", "neither an address nor the name"),
        ("a$(id)", "'a$(id)'", "neither an address nor the name"),
        ("x" * 254, "xxx", "neither an address nor the name"),
        ("10.0.0.0-255, 10.0.1.1-9", "'10.0.1.1-9'", f"more than {MOST_HOSTS} hosts"),
        ("a," * 9000, "", "at most 16384 characters"),
    ],
)
def test_what_is_no_host_is_named_with_its_part(text: str, part: str, why: str) -> None:
    with pytest.raises(HostsError) as caught:
        read_addresses(text)
    assert part in str(caught.value)
    assert why in str(caught.value)
